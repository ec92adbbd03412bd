"""What one run of the step has at hand, and what it gives back."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from pipeline_step.errors import Exit
from pipeline_step.model import Backend, Decision, Measurement, Policy, Rollout, Target

if TYPE_CHECKING:
    from pipeline_step.cluster import Cluster
    from pipeline_step.config import Config
    from pipeline_step.gates import Conversation
    from pipeline_step.http import Http
    from pipeline_step.route import Seen
    from pipeline_step.scm import PullRequest


class Clock(Protocol):
    """The time, given from outside so that tests and simulations bring their own; the module `time` is one."""

    def time(self) -> float:
        """Seconds since 1970."""

    def sleep(self, seconds: float, /) -> None:
        """Wait."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Event:
    """A transition of a rollout: what happened, the weight since, why, and what the gates said.

    `image` is the preview's, by digest where it is known. `on` is the route as it is since, by context, where that is
    known; `at` is when it was told, in seconds since 1970.
    """

    kind: str
    weight: int
    reason: str
    measurements: Sequence[Measurement] = ()
    sha: str = ""
    url: str = ""
    image: str = ""
    on: Mapping[str, Seen] = field(default_factory=dict)
    at: float = 0.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Look:
    """One look at a rollout between two transitions: where it stands, what the gates say, what follows from that.

    `policy` is what the decision follows, which for `shift` is a strategy of one step; `at` is when it was shown, in
    seconds since 1970.
    """

    rollout: Rollout
    measurements: Sequence[Measurement]
    decision: Decision
    policy: Policy
    at: float = 0.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Result:
    """How a command ended. `weight` is the preview's percentage now; `exit` is the process's exit code."""

    outcome: str
    reason: str
    exit: Exit = Exit.DONE
    weight: int = 0
    digest: str = ""
    sha: str = ""
    url: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Run:
    """One run: what it works on, and the ways out of the process."""

    config: Config
    target: Target
    preview: Backend
    policy: Policy
    clusters: Mapping[str, Cluster]
    http: Http
    clock: Clock
    tell: Callable[[Event], None]
    show: Callable[[Look], None] = field(default=lambda look: None)
    """Given every look, for live views and metrics; it must return at once and raise nothing."""
    conversation: Conversation | None = None

    def pull(self) -> PullRequest | None:
        """The pull request as its provider has it now; None where none is configured. Raises `HttpError`."""
        at = self.conversation
        return at.scm.pull_request(at.http, at.repository, at.number) if at else None

    @property
    def key(self) -> str:
        """The preview's key in records."""
        return str(self.preview)

    @property
    def holder(self) -> str:
        """How this run names itself in leases."""
        return f"{self.preview} run {self.config.run} by {self.config.pull.by}"
