"""Alert `apprise`: Slack, Teams, Discord, Mattermost, PagerDuty, e-mail and over a hundred more.

The address is an apprise URL, which holds a secret, so it stands in a variable or a file and never in the
configuration: https://github.com/caronc/apprise. Needs the extra `alerts`.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from urllib.parse import parse_qsl, urlencode

import msgspec

from pipeline_step.alerts.settings import ENDS, Transition
from pipeline_step.errors import ConfigError, HttpError
from pipeline_step.redaction import Redaction
from pipeline_step.report import headline
from pipeline_step.settings import Strict, says

if TYPE_CHECKING:
    from pipeline_step.alerts import News, Tell
    from pipeline_step.config import Config

GOOD = (Transition.PROMOTED, Transition.HELD, Transition.UNCHANGED)
WARNINGS = (
    Transition.INTERRUPTED,
    Transition.SUPERSEDED,
    Transition.UNDOING,
    Transition.PAUSED,
    Transition.RETURNING,
    Transition.RETURNED,
    Transition.REFUSED,
)
INFORMATION = (
    Transition.SHIFTED,
    Transition.RESUMED,
    Transition.REASSERTED,
    Transition.SKIPPED,
    Transition.WAITING,
    Transition.PROMOTING,
    Transition.READY,
    Transition.DELETED,
    Transition.FROZEN,
    Transition.UNFROZEN,
)
TOGETHER = {
    "pagerduty": {"dedup": "{key}", "action": "map"},
    "gchat": {"thread": "{key}"},
}
"""By service, what keeps the messages of one pull request together: PagerDuty's incident, which a promotion resolves,
and Google Chat's thread."""

VariableName = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]


class Settings(Strict, frozen=True, kw_only=True):
    """Which transitions are told to whom, by apprise."""

    url_env: Annotated[
        VariableName | None, says("the environment variable that holds apprise's URLs, separated by spaces or lines")
    ] = None
    url_file: Annotated[str, says("or the file that holds them")] = ""
    on: Annotated[tuple[Transition, ...], msgspec.Meta(min_length=1, description="the transitions that are told")] = (
        ENDS
    )

    def __post_init__(self) -> None:
        if bool(self.url_env) == bool(self.url_file):
            raise ValueError("give url_env or url_file: the address holds a secret, which has no place in this file")


def wanted(settings: Settings, kind: Transition) -> bool:
    """Only what was chosen."""
    return kind in settings.on


def connect(settings: Settings, config: Config, secrets: Mapping[str, str]) -> Tell:
    """One message for each transition."""

    def tell(news: News) -> None:
        key = f"pipeline-step-{config.file.app}-{config.pull.number}"
        _notify([together(url, key) for url in _urls(settings, secrets)], *text(config, news), news.kind)

    return tell


def text(config: Config, news: News) -> tuple[str, str]:
    """Pure: title and body, in which nothing that users wrote mentions anyone."""
    weight = news.event.weight
    lines = [
        news.event.reason,
        f"production {100 - weight} %, this pull request {weight} %",
        *(f"{word}: {url}" for word, url in (("preview", news.preview), ("pipeline run", news.run_url)) if url),
    ]
    title = f"{config.file.app} #{config.pull.number} {headline(news.event)}"
    return title, "\n".join(lines).replace("@", "@\u200b").replace("<!", "<\u200b!")


def together(url: str, key: str) -> str:
    """Pure: the URL with what keeps messages together, where the service has that and the user said nothing else."""
    added = TOGETHER.get(url.partition("://")[0].lower(), {})
    given = {name for name, _ in parse_qsl(url.partition("?")[2], keep_blank_values=True)}
    more = {name: value.format(key=key) for name, value in added.items() if name not in given}
    return f"{url}{'&' if '?' in url else '?'}{urlencode(more)}" if more else url


def _urls(settings: Settings, secrets: Mapping[str, str]) -> list[str]:
    if settings.url_env:
        found = secrets.get(settings.url_env, "").split()
        where = f"url_env: the environment variable {settings.url_env}"
    else:
        where = f"url_file: {settings.url_file}"
        try:
            found = Path(settings.url_file).read_text(encoding="utf-8").split()
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"alerts.apprise.{where} can't be read: {error}") from None
    if not found:
        raise ConfigError(f"alerts.apprise.{where} holds no URL")
    return found


def _notify(urls: Sequence[str], title: str, body: str, kind: Transition) -> None:
    """Tell all of them, one after the other; raises `HttpError` with what those said that could not be told."""
    try:
        import apprise
    except ModuleNotFoundError as error:
        raise ConfigError(
            "alerts.apprise needs apprise, which is not installed: pip install 'pipeline-step[alerts]', or build the "
            "image with EXTRAS=alerts"
        ) from error
    logging.getLogger("apprise").propagate = False
    asset = apprise.AppriseAsset(async_mode=False, app_id="pipeline-step", app_desc="pipeline-step", app_url="")
    trouble = []
    for url in urls:
        with apprise.LogCapture(level=logging.WARNING, fmt="%(message)s") as said:  # type: ignore[no-untyped-call]
            service = apprise.Apprise.instantiate(url, asset=asset)
            told = service is not None and service.notify(body=body, title=title, notify_type=_type(kind))
            if not told:
                name = service.service_name if service else "an address that apprise does not understand"
                trouble.append(f"{name}: {' '.join(said.getvalue().split()) or 'no reason given'}")
    if trouble:
        raise HttpError(
            Redaction([*urls, *(part for url in urls for part in _secret_parts(url))]).redact("; ".join(trouble))
        )


def _type(kind: Transition) -> str:
    """Apprise's word for how good the news is."""
    if kind in GOOD:
        return "success"
    return "info" if kind in INFORMATION else "warning" if kind in WARNINGS else "failure"


def _secret_parts(url: str) -> list[str]:
    """Whatever in the address is long enough to be a token."""
    return [part for part in re.split(r"[/:@?&=]", url) if len(part) >= 8]
