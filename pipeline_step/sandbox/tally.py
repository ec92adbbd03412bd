"""Pure: what the load's answers add up to, by phase and by side, and whether the shares were the weights."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pipeline_step.sandbox.load import Answer

SIGMAS = 5  # a share further off than that is no chance: about one in two million


@dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """Requests that one side answered in one phase, and those of them that failed."""

    requests: int = 0
    failed: int = 0


@dataclass(frozen=True, slots=True)
class Tally:
    """Answers by phase and namespace."""

    answers: Mapping[Answer, int]

    def part(self, phase: str | None = None, namespace: str | None = None) -> Part:
        """One side in one phase; None means all of them."""
        chosen = [
            (answer, count)
            for answer, count in self.answers.items()
            if phase in (None, answer.phase) and namespace in (None, answer.namespace)
        ]
        failed = sum(count for answer, count in chosen if answer.failed)
        return Part(requests=sum(count for _, count in chosen), failed=failed)

    def share(self, phase: str, namespace: str) -> float | None:
        """A side's percentage of a phase's requests; None where there were none."""
        total = self.part(phase).requests
        return 100 * self.part(phase, namespace).requests / total if total else None

    def follows(self, phase: str, namespace: str, weight: int) -> bool:
        """Whether a side's share of a phase is its weight, as far as chance allows with so many requests."""
        total = self.part(phase).requests
        expected = weight / 100
        off = abs(self.part(phase, namespace).requests / total - expected) if total else 1.0
        return off <= SIGMAS * math.sqrt(expected * (1 - expected) / max(total, 1)) + 1 / max(total, 1)

    def strangers(self, known: Sequence[str]) -> Part:
        """What none of the known namespaces answered: Envoy's own errors and broken connections."""
        total, parts = self.part(), [self.part(namespace=name) for name in known]
        return Part(
            requests=total.requests - sum(part.requests for part in parts),
            failed=total.failed - sum(part.failed for part in parts),
        )
