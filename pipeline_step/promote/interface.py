"""What promoters are given and give back, and what those take over that need no Git."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pipeline_step.config import Config


@dataclass(frozen=True, kw_only=True, slots=True)
class Promotion:
    """One image that becomes production, or did.

    `image` names it by `digest`, `tag` is what the preview called it, `previous` the image before. `began` is when its
    rollout began, in seconds since 1970; `change` is what `write` has said that it did.
    """

    app: str
    image: str
    digest: str
    tag: str = ""
    previous: str = ""
    sha: str = ""
    pull_request: int = 0
    began: float = 0
    by: str = ""
    change: str = ""

    @property
    def key(self) -> str:
        """What this promotion is called in commit messages: the same for every run that resumes it."""
        return f"{self.app}@{self.digest} {self.began:.3f}"

    @property
    def short(self) -> str:
        """The same in a few characters, for names of branches."""
        return hashlib.sha256(self.key.encode()).hexdigest()[:10]


@dataclass(frozen=True, kw_only=True, slots=True)
class Written:
    """How far Git is with what it was told.

    `stuck` when it won't get there by itself; `reason` is for people; `change` is to be given back at the next call,
    and names the commit or the pull request.
    """

    done: bool
    stuck: bool = False
    reason: str = ""
    change: str = ""


def written_nowhere(settings: Any, config: Config, promotion: Promotion) -> Written:
    """For promoters that leave no trace in Git: there is nothing to do."""
    return Written(done=True)
