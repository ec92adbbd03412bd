"""The shape of `.pipeline-step.yaml`: strict, frozen values, one clear error, and a JSON schema."""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping
from enum import Enum
from typing import Annotated, Any, Literal

import msgspec
import yaml

from pipeline_step.alerts import ALERTS
from pipeline_step.config_errors import explain
from pipeline_step.errors import ConfigError
from pipeline_step.freezes import Freeze
from pipeline_step.gates import GATES
from pipeline_step.model import OnInconclusive, OnMissing
from pipeline_step.promote import PROMOTERS
from pipeline_step.settings import Duration, Label, Port, Report, Strict, Weight, WorkloadName, choice, says
from pipeline_step.traffic import ROUTERS

DEFAULT_FILE = ".pipeline-step.yaml"
HarmBudget = Annotated[float, msgspec.Meta(gt=0, description="failing requests, above 0")]
PLACEHOLDERS = ("app", "owner", "repo", "number")


Traffic: Any = choice("Traffic", ROUTERS)
GateChoice: Any = choice("Gate", GATES)
Promote: Any = choice("Promote", PROMOTERS)
AlertChoice: Any = choice("Alert", ALERTS)


class CommentRole(Enum):
    """What somebody must be allowed in the repository, in GitHub's words."""

    TRIAGE = "triage"
    WRITE = "write"
    MAINTAIN = "maintain"
    ADMIN = "admin"


class Production(Strict, frozen=True):
    """The service whose traffic is shared: where it is, and the workload that a promotion changes."""

    namespace: Annotated[Label, says("where production runs")]
    service: Annotated[Label, says("the Service that production's route leads to")]
    workload: Annotated[WorkloadName | None, says("what a promotion changes and a clone copies, as KIND/NAME")] = None
    container: Annotated[str, says("the container whose image counts, where the pods have several")] = ""
    port: Annotated[Port | None, says("the Service's port that the route names, where it has several")] = None
    subset: Annotated[str | None, says("the DestinationRule's subset that the route names, where it names one")] = None


class Preview(Strict, frozen=True):
    """How the pull request's preview is made, and where it lives.

    `namespace` and `service` may name {app}, {owner}, {repo} and {number}.
    """

    namespace: Annotated[
        str, says("the preview's namespace; with {number} each preview has its own, made and deleted with it")
    ] = "jx-{owner}-{repo}-pr-{number}"
    service: Annotated[
        str, says("its Service; by default production's name, with the number where previews share a namespace")
    ] = ""
    manifests: Annotated[
        str, says("a file or folder of Kubernetes YAML with ${NAME}, ${IMAGE} and the like filled in")
    ] = ""
    clone: Annotated[bool, says("copy production's workload and Service, with the new image")] = False
    port: Annotated[Port | None, says("the preview's port, where it is not production's")] = None
    replicas: Annotated[int, says("how many pods the preview begins with")] = 1
    ready_within: Annotated[Duration, says("how long the preview may take to become ready")] = "5m"

    def __post_init__(self) -> None:
        if self.manifests and self.clone:
            raise ValueError("one of manifests and clone can be given, not both")
        for template in (self.namespace, self.service):
            for name in re.findall(r"{([^}]*)}", template):
                if name not in PLACEHOLDERS:
                    raise ValueError(f"unknown placeholder {{{name}}}; valid: {', '.join(PLACEHOLDERS)}")


class StepEntry(Strict, frozen=True):
    """A step with a bake of its own."""

    weight: Annotated[Weight, says("the preview's percentage of the requests")]
    bake: Annotated[Duration | None, says("how long it must hold; the strategy's own where not given")] = None


class Strategy(Strict, frozen=True):
    """The steps, how long each must hold, and how long the whole may take.

    `budget` is what all previews of the target may take together, in percent; without it only one rollout at a time
    has the target. A revert that can't be confirmed is tried again for `revert_within`; let a pod's grace period be
    longer, or it is killed before it can say so.

    With `steps: auto` the compare gate's evidence sets the weight at every poll, up to `max_weight` percent, so that
    about `harm_budget` requests fail before a fault can be seen; nothing bakes. `soak` is how long the preview must
    have had requests before it is promoted, and `on_inconclusive` what happens at the deadline without a verdict.

    With `steps: blue-green` the gates watch the preview for `bake` while it has no request, then it has all of them,
    and production is kept as it is for `keep`, so that `revert` takes one write.
    """

    steps: Annotated[
        Literal["auto", "blue-green"] | tuple[Weight | StepEntry, ...],
        says(
            "rising percentages, each a number or {weight, bake}, the first may be 0; `auto` takes them from the "
            "compare gate, `blue-green` goes from 0 to 100"
        ),
    ] = (1, 5, 10, 25, 50)
    keep: Annotated[Duration, says("with `blue-green`: how long production stays ready to take its requests back")] = (
        "1h"
    )
    harm_budget: Annotated[
        HarmBudget, says("with `auto`: about how many requests may fail before a fault can be seen")
    ] = 20.0
    max_weight: Annotated[Weight, says("with `auto`: the highest percentage")] = 50
    soak: Annotated[Duration, says("how long the preview must have had requests before it is promoted")] = "0s"
    on_inconclusive: Annotated[OnInconclusive, says("what happens at the deadline without a verdict")] = (
        OnInconclusive.REVERT
    )
    bake: Annotated[Duration, says("how long each step must hold")] = "1m"
    poll: Annotated[Duration, says("the time between two looks at the gates")] = "5s"
    deadline: Annotated[
        Duration, says("how long the whole may take, after which it ends as `on_inconclusive` says")
    ] = "1h"
    revert_within: Annotated[
        Duration, says("how long a revert that can't be confirmed is tried again; keep a pod's grace period above it")
    ] = "2m"
    budget: Annotated[
        Weight | None, says("what all previews may take together, in percent; without it one rollout at a time")
    ] = None
    freezes: Annotated[tuple[Freeze, ...], says("times in which nothing is increased or promoted")] = ()
    on_no_data: Annotated[OnMissing, says("what follows where a gate has no requests to judge")] = OnMissing.HOLD
    on_too_little: Annotated[OnMissing, says("what follows where a gate has too few requests for a verdict")] = (
        OnMissing.HOLD
    )
    on_unreachable: Annotated[OnMissing, says("what follows where a gate's source does not answer")] = OnMissing.HOLD

    def __post_init__(self) -> None:
        if not self.max_weight:
            raise ValueError("max_weight is above 0")
        if isinstance(self.steps, str):
            return
        weights = [entry if isinstance(entry, int) else entry.weight for entry in self.steps]
        if not weights:
            raise ValueError("steps needs at least one weight, such as [1, 5, 25]")
        if any(later <= earlier for earlier, later in itertools.pairwise(weights)):
            raise ValueError(f"steps must rise; these are {weights}")
        if weights == [0]:
            raise ValueError("steps needs a weight above 0")

    @property
    def listed(self) -> tuple[StepEntry, ...]:
        """The steps, none where they are `auto`."""
        if self.steps == "auto":
            return ()
        if self.steps == "blue-green":
            return StepEntry(weight=0), StepEntry(weight=100, bake=self.keep)
        return tuple(StepEntry(weight=entry) if isinstance(entry, int) else entry for entry in self.steps)


class Comments(Strict, frozen=True):
    """Who may command by comment: a role always, and where given also one of the users or teams, or the code's owners.

    `not_author` wants someone else than the pull request's author; `branches` are the base branches that count. With
    `deployments` the provider is told of them as well, where it has any.
    """

    role: Annotated[CommentRole, says("what the author must be allowed in the repository")] = CommentRole.WRITE
    users: Annotated[tuple[str, ...], says("logins; the author must be one of these or of `teams`, where given")] = ()
    teams: Annotated[tuple[str, ...], says("teams; the author must be in one of these or of `users`, where given")] = ()
    codeowners: Annotated[bool, says("the author must own every changed file that has owners")] = False
    not_author: Annotated[bool, says("the author of the pull request may not command it")] = False
    forks: Annotated[bool, says("take commands on pull requests from forks as well")] = False
    branches: Annotated[tuple[str, ...], says("the base branches that count; all of them where none is named")] = ()
    deployments: Annotated[bool, says("tell the provider of deployments as well, where it has any")] = True


class File(Strict, frozen=True):
    """All of `.pipeline-step.yaml`."""

    app: Annotated[Label, says("the name in comments, statuses, labels and roles")]
    production: Annotated[Production, says("the service whose requests are shared")]
    traffic: Annotated[
        Traffic | None, says("the router: exactly one of these keys; without it the route is looked for in the cluster")
    ] = None
    preview: Annotated[Preview, says("how a pull request's preview is made, and where it lives")] = Preview()
    strategy: Annotated[Strategy, says("the steps and the times")] = Strategy()
    gates: Annotated[
        tuple[GateChoice, ...], says("what watches the preview: a list, each entry with exactly one of these keys")
    ] = ()
    promote: Annotated[
        Promote | None, says("how the judged image becomes production; without it nothing is promoted by itself")
    ] = None
    comments: Annotated[Comments, says("who may command by comment")] = Comments()
    alerts: Annotated[
        tuple[AlertChoice, ...],
        says(
            "whom transitions are told to, beside the pull request: a list, each entry with exactly one of these keys"
        ),
    ] = ()
    contexts: Annotated[
        tuple[str, ...], says("contexts of the kubeconfig, one for each cluster; the current one where none is named")
    ] = ()
    report: Annotated[
        Report, says("where a rollout keeps its progress page: a file, or `configmap/NAME` in production's namespace")
    ] = ""

    def __post_init__(self) -> None:
        judges = [choice.compare for choice in self.gates if choice.compare is not None]
        if self.strategy.steps == "auto" and len(judges) != 1:
            raise ValueError(
                f"strategy.steps: auto takes the weights from exactly one compare gate; `gates` has {len(judges)}"
            )
        if self.strategy.steps == "blue-green" and judges:
            raise ValueError(
                "strategy.steps: blue-green leaves a compare gate nothing to compare with, since one side has all "
                "requests; use gates such as http, scrape, prometheus or job"
            )
        limits = [one for judge in judges for one in (judge.errors, judge.latency) if one and one.slo is not None]
        if self.strategy.on_inconclusive is OnInconclusive.PROMOTE_IF_SLO and not limits:
            raise ValueError(
                "strategy.on_inconclusive: promote-if-slo needs an `slo` in a compare gate's errors or latency"
            )


def parse(text: str, name: str, overrides: Mapping[str, Any] | None = None) -> File:
    """The file's text as frozen values, with `overrides` laid over its `strategy`; `name` is for errors."""
    try:
        data = _with_words(yaml.safe_load(text))
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{name}:{mark.line + 1}:{mark.column + 1}" if mark else name
        raise ConfigError(f"{where}: this is not YAML: {getattr(error, 'problem', None) or error}") from error
    if not isinstance(data, dict):
        raise ConfigError(f"{name}: expected a mapping with the keys {', '.join(File.__struct_fields__)}")
    if overrides:
        strategy = data.get("strategy") or {}
        data = {**data, "strategy": {**strategy, **overrides}} if isinstance(strategy, dict) else data
    try:
        return msgspec.convert(data, File)
    except msgspec.ValidationError as error:
        raise ConfigError(f"{name}: {explain(str(error), data, File)}") from error


def _with_words(data: Any) -> Any:
    """YAML 1.1 reads the key `on` as true, which nobody means who writes it."""
    if isinstance(data, dict):
        return {"on" if key is True else key: _with_words(value) for key, value in data.items()}
    return [_with_words(value) for value in data] if isinstance(data, list) else data


def schema() -> dict[str, Any]:
    """The JSON schema of `.pipeline-step.yaml`, for editors."""
    document = msgspec.json.schema(File)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": DEFAULT_FILE, **document}
