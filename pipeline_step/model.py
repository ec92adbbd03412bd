"""Value types that the whole program shares. Standard library only, no behaviour but arithmetic."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, NamedTuple, NewType

Object = dict[str, Any]
"""A Kubernetes object as JSON: plain dicts, lists and scalars."""

Seconds = NewType("Seconds", float)
"""A length of time; points in time are seconds since 1970, UTC."""


@dataclass(frozen=True, kw_only=True, slots=True, order=True)
class Ref:
    """Which object: its API group ("" is the core group), plural resource name, namespace and name.

    Without a name it is the list of those that have these `labels` (`a=b,c`). The version is left out on purpose:
    the cluster says which one it prefers.
    """

    group: str
    resource: str
    namespace: str
    name: str
    labels: str = ""

    def __str__(self) -> str:
        kind = f"{self.resource}.{self.group}" if self.group else self.resource
        if not self.name:
            kind += f" in {self.namespace}" if self.namespace else ""
            return f"{kind} with {self.labels}" if self.labels else kind
        return f"{kind} {self.namespace}/{self.name}" if self.namespace else f"{kind} {self.name}"


class Permission(NamedTuple):
    """A verb on a resource, and what it is for. A `ref` without a name is any object of its kind in its namespace."""

    verb: str
    ref: Ref
    reason: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Backend:
    """Where a share of the requests goes: a Service, and its port and subset where the route names them."""

    service: str
    namespace: str
    port: int | None = None
    subset: str | None = None

    @property
    def host(self) -> str:
        """The full name in the cluster's DNS."""
        return f"{self.service}.{self.namespace}.svc.cluster.local"

    def __str__(self) -> str:
        """The key of a preview in records and messages: SERVICE.NAMESPACE."""
        return f"{self.service}.{self.namespace}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Target:
    """The production service that a rollout works on.

    `route` is the settings value of the router in use, as that router's module defines it.
    """

    app: str
    stable: Backend
    router: str
    route: Any


@dataclass(frozen=True, kw_only=True, slots=True)
class Workload:
    """What runs production: its plural resource in the API group `apps`, and the container that a promotion changes.

    An empty `container` means the only one there is.
    """

    resource: str
    namespace: str
    name: str
    container: str = ""

    @property
    def ref(self) -> Ref:
        """Where the workload is."""
        return Ref(group="apps", resource=self.resource, namespace=self.namespace, name=self.name)


@dataclass(frozen=True, slots=True)
class Put:
    """A planned write of a whole object, guarded by the resourceVersion that it carries; one not read yet is made."""

    ref: Ref
    object: Object


@dataclass(frozen=True, slots=True)
class Delete:
    """A planned removal of an object that a router had added."""

    ref: Ref


Change = Put | Delete


@dataclass(frozen=True, kw_only=True, slots=True)
class Counts:
    """Requests of one side in a window: all of them, and those that were bad by the gate's own measure."""

    total: float = 0
    bad: float = 0

    @property
    def bad_share(self) -> float:
        """Bad requests as a share of all, 0..1; 0 where there were none."""
        return self.bad / self.total if self.total else 0.0

    def __add__(self, other: Counts) -> Counts:
        return Counts(total=self.total + other.total, bad=self.bad + other.bad)


class Outcome(Enum):
    """What a gate can find.

    `UNDECIDED` is a judge's "neither proven yet": it lets the weight rise and does not let it promote. `WAITING` is for
    a person or a job that has not answered: it holds. The last three are no verdict, and each has its own policy.
    """

    PASS = "pass"
    FAIL = "fail"
    UNDECIDED = "undecided"
    WAITING = "waiting"
    NO_DATA = "no_data"
    TOO_LITTLE = "too_little"
    UNREACHABLE = "unreachable"


@dataclass(frozen=True, kw_only=True, slots=True)
class Judged:
    """What a judge knows beside its outcome, for the ramp and for a deadline without a verdict.

    `upper` bounds the preview's failure rate (1 before any request), `suspicious` is evidence against it short of a
    verdict, `slo_proven` that it keeps every SLO. `rate` is requests a second of both sides, and `staleness` how old
    the counters may be.
    """

    upper: float
    suspicious: bool
    slo_proven: bool
    rate: float
    staleness: Seconds


@dataclass(frozen=True, kw_only=True, slots=True)
class Measurement:
    """What a gate saw, with counts so that a later judge may weigh them.

    `counters` is what the gate wants to be given at its next measurement (the raw counters it subtracts from);
    `judged` is said by judges only.
    """

    gate: str
    outcome: Outcome
    reason: str
    value: float | None = None
    stable: Counts | None = None
    preview: Counts | None = None
    counters: Mapping[str, Any] = field(default_factory=dict)
    judged: Judged | None = None


class Phase(Enum):
    """Where a rollout stands; `HELD` waits for a person, without a process.

    `UNDOING` gets no requests any more; it is recorded until Git does not say any more that it is production.
    """

    BAKING = "baking"
    PAUSED = "paused"
    HELD = "held"
    PROMOTING = "promoting"
    UNDOING = "undoing"


@dataclass(frozen=True, kw_only=True, slots=True)
class Rollout:
    """The record of one preview's rollout, as it stands in the annotation on the routed object.

    `step` counts from 0 and `weight` is the percentage at that step; times are seconds since 1970. `digest` is the
    image that the preview runs, `url` where it answers, `previous` the image that production ran before promotion
    began, `change` the commit or pull request that told Git of it; `counters` are what the gates want to be given
    again, by gate. `paused` are the seconds of this step that do not count, before the pause that began at
    `paused_at`; `skip` ends the step's bake; `overrides` are the names of freezes that do not hold it. `by` asked for
    it in the words `asked`, with `role` where that was checked.
    """

    preview: Backend
    run: str
    by: str
    role: str = ""
    asked: str = ""
    pull_request: int = 0
    sha: str = ""
    digest: str = ""
    phase: Phase = Phase.BAKING
    step: int = 0
    weight: int = 0
    began: float = 0
    since: float = 0
    deadline: float = 0
    paused_at: float = 0
    paused: float = 0
    skip: bool = False
    overrides: tuple[str, ...] = ()
    shares: bool = False
    previous: str = ""
    change: str = ""
    reason: str = ""
    url: str = ""
    counters: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class Step:
    """One entry of the strategy: a percentage, and how long it must hold before the next."""

    weight: int
    bake: Seconds


class OnMissing(Enum):
    """What to do while a gate has no verdict."""

    HOLD = "hold"
    REVERT = "revert"
    PASS = "pass"


@dataclass(frozen=True, kw_only=True, slots=True)
class Ramp:
    """Steps that the judge chooses: at most about `harm_budget` failing requests before a fault can be seen.

    `max_weight` is a percentage, and `poll` the time between two looks.
    """

    harm_budget: float
    max_weight: int
    poll: Seconds


class OnInconclusive(Enum):
    """What to do at the deadline without a verdict."""

    REVERT = "revert"
    HOLD = "hold"
    PROMOTE_IF_SLO = "promote-if-slo"


@dataclass(frozen=True, kw_only=True, slots=True)
class Policy:
    """What `decide` follows: the steps, or the ramp that replaces them, and what missing verdicts mean.

    `soak` is how long the preview must have had requests, at any weight, before it is promoted.
    """

    steps: tuple[Step, ...]
    deadline: Seconds
    promote: bool
    missing: Mapping[Outcome, OnMissing]
    ramp: Ramp | None = None
    soak: Seconds = Seconds(0.0)
    on_inconclusive: OnInconclusive = OnInconclusive.REVERT

    @property
    def weights(self) -> tuple[int, ...]:
        """Every percentage that this may come to, rising."""
        return tuple(range(1, self.ramp.max_weight + 1)) if self.ramp else tuple(step.weight for step in self.steps)


@dataclass(frozen=True, slots=True)
class Advance:
    """Go to another step: its number, counted from 0, and its percentage, which a ramp may also lower."""

    step: int
    weight: int
    reason: str


@dataclass(frozen=True, slots=True)
class Hold:
    """Stay where it is, and look again."""

    reason: str


@dataclass(frozen=True, slots=True)
class Promote:
    """Every step held: make the preview's image production."""

    reason: str


@dataclass(frozen=True, slots=True)
class Stop:
    """Leave the weight and end: nothing promotes by itself, or `inconclusive`, nothing was proven in time."""

    reason: str
    inconclusive: bool = False


@dataclass(frozen=True, slots=True)
class Revert:
    """Take the traffic back. `inconclusive` where nothing was proven bad, only not proven good in time."""

    reason: str
    inconclusive: bool = False


Decision = Advance | Hold | Promote | Stop | Revert
