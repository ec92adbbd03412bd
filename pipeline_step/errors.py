"""The error family and the one table of exit codes.

A `StepError` is something a person can act on: its text is one sentence that says what is wrong, where, and
what to do. Only `__main__` turns errors into exit codes.
"""

from __future__ import annotations

from enum import IntEnum


class Exit(IntEnum):
    """Exit codes of every command; documented in the README."""

    DONE = 0
    UNEXPECTED = 1
    USAGE = 2
    REVERTED = 3
    INCONCLUSIVE = 4
    REFUSED = 5
    TRAFFIC_UNKNOWN = 6
    INTERRUPTED = 130
    TERMINATED = 143


class StepError(Exception):
    """Something went wrong that the user can understand and act on."""

    exit = Exit.UNEXPECTED


class ConfigError(StepError):
    """Configuration or usage is wrong."""

    exit = Exit.USAGE


class Refused(StepError):
    """A safety rule forbids the action: permission, SHA, lock, freeze, budget, another owner."""

    exit = Exit.REFUSED


class NotReady(StepError):
    """Something that has to be ready before traffic may reach it is not."""

    exit = Exit.INCONCLUSIVE


class Superseded(StepError):
    """The record of this rollout is gone or another's: another run, or a person, has ended it."""

    exit = Exit.REVERTED


class TrafficUnknown(StepError):
    """A change of traffic could not be confirmed by reading it back."""

    exit = Exit.TRAFFIC_UNKNOWN


class Unfinished(TrafficUnknown):
    """Production has all requests, but Git could not be brought to say so yet: the guard goes on."""


class ClusterError(StepError):
    """The Kubernetes API refused or could not be reached.

    `status` is the HTTP status, or 0 where there was no answer.
    """

    def __init__(self, message: str, status: int = 0) -> None:
        super().__init__(message)
        self.status = status
        if status in (401, 403):
            self.exit = Exit.REFUSED


class Conflict(ClusterError):
    """The object changed since it was read (HTTP 409): observe again."""


class NotFound(ClusterError):
    """The object does not exist (HTTP 404)."""

    exit = Exit.USAGE


class HttpError(StepError):
    """A server outside the cluster refused or could not be reached.

    `status` is the HTTP status, or 0 where there was no answer.
    """

    def __init__(self, message: str, status: int = 0) -> None:
        super().__init__(message)
        self.status = status


class GitError(StepError):
    """A Git repository refused or could not be reached."""


class Interrupted(StepError):
    """SIGINT or SIGTERM arrived; `exit` is 128 plus the signal's number."""

    def __init__(self, signum: int) -> None:
        super().__init__(f"stopped by signal {signum}")
        self.exit = Exit(128 + signum)
