"""Alerts: whom people chose to hear of transitions, beside the pull request. One module each, in a visible table.

Their `Settings` are what the user writes under `- NAME:` in the list `alerts:` of the configuration.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from pipeline_step.alerts import alertmanager, chat
from pipeline_step.alerts.settings import Transition

if TYPE_CHECKING:
    from pipeline_step.config import Config
    from pipeline_step.run import Event


@dataclass(frozen=True, kw_only=True, slots=True)
class News:
    """A transition, and where more can be read: the preview's address and the pipeline run's, as far as known."""

    kind: Transition
    event: Event
    sha: str = ""
    preview: str = ""
    run_url: str = ""


Tell = Callable[[News], None]
"""Tells one target of one transition; raises `StepError` where that is not possible."""


class Alert(Protocol):
    """What an alert's module offers."""

    @property
    def Settings(self) -> type:  # noqa: N802
        """What the user writes below the alert's name; it has `on`, the transitions that are chosen."""

    def wanted(self, settings: Any, kind: Transition) -> bool:
        """Whether the target is to hear of this transition."""

    def connect(self, settings: Any, config: Config, secrets: Mapping[str, str]) -> Tell:
        """How to tell it; `secrets` are the environment variables that the configuration names. Talks to nobody yet."""


ALERTS: dict[str, Alert] = {
    "alertmanager": alertmanager,
    "apprise": chat,
}
