"""Counters straight from pods or a proxy: nothing has to be installed for them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from pipeline_step.errors import HttpError
from pipeline_step.gates import exposition, pods
from pipeline_step.gates.exposition import Sample
from pipeline_step.gates.placeholders import SIDES, check, fill, sides
from pipeline_step.gates.presets import Series
from pipeline_step.model import Backend
from pipeline_step.settings import LABEL_PATTERN, Port, says

if TYPE_CHECKING:
    from pipeline_step.gates import Sources, Subject


@dataclass(frozen=True, slots=True)
class Scraped:
    """The samples of one side by pod, how many ready pods there are, what could not be read.

    `offered` names the counters of pods that have none of the wanted ones; `staleness` is how many seconds old these
    samples may be.
    """

    samples: Mapping[str, list[Sample]]
    pods: int
    failures: tuple[str, ...]
    offered: tuple[str, ...] = ()
    staleness: float = 0.0


class Scraping(Series, frozen=True):
    """Where the text with the counters is: by default at `path` of all ready pods of both sides.

    `proxy` (NAMESPACE/SERVICE) names pods that count the requests of both sides instead, such as an ingress
    gateway's; `url` one address that does. `port` is that of the metrics where it is not the Service's own.
    """

    url: Annotated[str, says("one address that counts the requests of both sides")] = ""
    proxy: Annotated[
        str, says("NAMESPACE/SERVICE of pods that count the requests of both sides, such as an ingress gateway")
    ] = ""
    port: Annotated[Port | None, says("the port of the metrics, where it is not the Service's")] = None
    path: Annotated[str, says("the path of the metrics")] = "/metrics"

    def __post_init__(self) -> None:
        super().__post_init__()
        check(self.url, SIDES)
        if self.url and not self.url.startswith(("http://", "https://")):
            raise ValueError(f"url {self.url!r} must begin with http:// or https://")
        namespace, _, service = self.proxy.partition("/")
        if self.proxy and not (re.match(LABEL_PATTERN, namespace) and re.match(LABEL_PATTERN, service)):
            raise ValueError(f"proxy {self.proxy!r} is not NAMESPACE/SERVICE")
        if self.url and self.proxy:
            raise ValueError("give url or proxy, not both")
        if (self.url or self.proxy) and not self.metrics.tells_sides:
            raise ValueError(
                "one source for both sides needs labels in `where` that tell them apart by ${service} or ${namespace}"
            )


def read(settings: Scraping, subject: Subject, sources: Sources) -> dict[str, Scraped]:
    """The samples of `preview` and `stable`, in a few seconds at most."""
    metrics = settings.metrics
    if settings.url:
        answers = _from_url(fill(settings.url, sides(subject)), sources)
    elif settings.proxy:
        namespace, _, service = settings.proxy.partition("/")
        proxy = {"proxy": Backend(service=service, namespace=namespace)}
        answers = pods.read(sources.clusters, proxy, settings.port, settings.path)
    else:
        both = {"preview": subject.preview, "stable": subject.stable}
        answers = pods.read(sources.clusters, both, settings.port, settings.path)
    scraped = {key: _scraped(answer, metrics, settings.url or settings.path) for key, answer in answers.items()}
    if "proxy" in scraped:
        return {"preview": scraped["proxy"], "stable": scraped["proxy"]}
    return scraped


def _from_url(url: str, sources: Sources) -> dict[str, pods.Answers]:
    try:
        text = sources.http.get(url, headers={"Accept": "text/plain"}).text
    except HttpError as error:
        return {"proxy": pods.Answers(pods=1, failures=[str(error)])}
    return {"proxy": pods.Answers({"proxy": text}, pods=1)}


def _scraped(answers: pods.Answers, metrics: exposition.Metrics, where: str) -> Scraped:
    samples: dict[str, list[Sample]] = {}
    failures = list(answers.failures)
    offered: set[str] = set()
    for pod, text in answers.texts.items():
        try:
            samples[pod] = exposition.parse(text, metrics.names)
        except ValueError as error:
            failures.append(f"{pod} answered at {where} with something {error}")
            continue
        if not any(sample.name == metrics.requests for sample in samples[pod]):
            offered.update(exposition.counter_names(text))
    return Scraped(samples, answers.pods, tuple(failures), tuple(sorted(offered)))
