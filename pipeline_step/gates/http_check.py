"""Gate `http`: a URL answers with the expected status, in time.

The URL is taken to be the preview's own, so no answer at all is a failure of the preview, not of a source.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import msgspec

from pipeline_step.errors import HttpError
from pipeline_step.gates.latency import Latency, latency
from pipeline_step.gates.placeholders import SIDES, check, fill, sides
from pipeline_step.http import ANY_STATUS
from pipeline_step.model import Measurement, Outcome
from pipeline_step.settings import Strict, says

if TYPE_CHECKING:
    from pipeline_step.gates import Sources, Subject


class Settings(Strict, frozen=True):
    """What is asked and expected: a GET of `url` answers `status` within `within`, in one of `attempts` tries.

    `url` may use `${preview_namespace}`, `${preview_service}`, `${stable_namespace}` and `${stable_service}`;
    `contains` is a text that must be in the body.
    """

    url: Annotated[str, says("what is asked; it may name ${preview_service}, ${preview_namespace} and stable's")]
    status: Annotated[int, says("the status that is expected")] = 200
    within: Annotated[Latency, says("how long an answer may take")] = "2s"
    attempts: Annotated[int, says("how many tries until one succeeds")] = 3
    contains: Annotated[str, says("a text that must be in the body")] = ""
    headers: Annotated[dict[str, str], says("headers to send")] = msgspec.field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.url.startswith(("http://", "https://")):
            raise ValueError(f"url {self.url!r} must begin with http:// or https://")
        latency(self.within)
        if not 1 <= self.attempts <= 10:
            raise ValueError(f"attempts is {self.attempts}; valid: 1 to 10")
        if self.status not in ANY_STATUS:
            raise ValueError(f"status {self.status} is no HTTP status; valid: 100 to 599")
        check(self.url, SIDES)


def measure(
    name: str, settings: Settings, subject: Subject, sources: Sources, counters: Mapping[str, Any]
) -> Measurement:
    """Ask until an answer is good or the attempts are used up; PASS or FAIL, never another outcome."""
    url = fill(settings.url, sides(subject))
    for _ in range(settings.attempts):
        began = time.monotonic()
        try:
            answer = sources.http.get(url, headers=settings.headers, accept=ANY_STATUS)
        except HttpError as error:
            # The client has repeated it already, for as long as it may.
            reason = f"{name}: no answer: {error}"
            return Measurement(gate=name, outcome=Outcome.FAIL, reason=reason)
        took = time.monotonic() - began
        said = f"{answer.url} answered {answer.status} in {took * 1000:,.0f} ms"
        found = settings.contains in answer.text
        if answer.status == settings.status and took <= latency(settings.within) and found:
            return Measurement(gate=name, outcome=Outcome.PASS, reason=f"{name}: {said}", value=took)
        if not found:
            said += f" without {settings.contains!r}"
    needed = f"needed {settings.status} within {settings.within}"
    reason = f"{name}: {said} at the last of {settings.attempts} attempts; {needed}"
    return Measurement(gate=name, outcome=Outcome.FAIL, reason=reason, value=took)
