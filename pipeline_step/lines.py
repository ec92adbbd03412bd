"""What is written on standard error while a command runs: lines for people, or one JSON object a line for machines.

docs/telemetry.md has the fields; they are only ever added to.
"""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from enum import Enum
from typing import TYPE_CHECKING, Any

from pipeline_step.model import Counts, Measurement

if TYPE_CHECKING:
    from pipeline_step.config import Config

log = logging.getLogger("pipeline_step.progress")
"""Where every line goes. Before `begin` only warnings and errors are written, as plain text."""


class LogFormat(Enum):
    """How lines are written."""

    TEXT = "text"
    JSON = "json"


def begin(log_format: LogFormat) -> None:
    """Write this process's lines to standard error in this format from now on."""
    handler = _StandardError()
    if log_format is LogFormat.JSON:
        handler.setFormatter(_Json())
    log.handlers[:] = [handler]
    log.setLevel(logging.INFO)
    log.propagate = False


def say(message: str, *, level: int = logging.INFO, text: str = "", **fields: Any) -> None:
    """One line: `text` for people, or `message` with its fields for machines; without a `text` both read the same."""
    log.log(level, text or message, extra={"plain": message, "fields": fields})


def subject(config: Config) -> dict[str, Any]:
    """The fields that say what a line is about."""
    pull = config.pull
    return {
        "app": config.file.app,
        "namespace": config.target.stable.namespace,
        "preview": str(config.preview) if pull.number else "",
        "repository": f"{pull.owner}/{pull.repo}" if pull.owner else "",
        "pull_request": pull.number,
        "run": config.run,
    }


def gates(measurements: Sequence[Measurement]) -> list[dict[str, Any]]:
    """What the gates found, for machines."""
    return [
        {
            "gate": one.gate,
            "outcome": one.outcome.value,
            "reason": one.reason,
            "value": one.value,
            "stable": _counts(one.stable),
            "preview": _counts(one.preview),
        }
        for one in measurements
    ]


def _counts(counts: Counts | None) -> dict[str, float] | None:
    return {"total": counts.total, "bad": counts.bad} if counts else None


class _StandardError(logging.Handler):
    """To standard error as it is at that moment, since a live view may stand in for it."""

    def emit(self, record: logging.LogRecord) -> None:
        with suppress(OSError, ValueError):  # nobody reads it any more, which is no reason to end a rollout
            sys.stderr.write(self.format(record) + "\n")
            sys.stderr.flush()


class _Json(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "message": getattr(record, "plain", None) or record.getMessage(),
            **getattr(record, "fields", {}),
        }
        return json.dumps(line, ensure_ascii=False)
