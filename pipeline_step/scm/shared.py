"""What several providers' modules do alike, beside the walks over pages and the sticky comment in `scm`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from pipeline_step.errors import Refused
from pipeline_step.scm import Reaction, Repository

EMOJI: Mapping[Reaction, str] = {
    Reaction.SEEN: "eyes",
    Reaction.DONE: "rocket",
    Reaction.REFUSED: "confused",
}
"""Reactions by the names that most providers have taken from GitHub."""


def number_of(comment: str, provider: str) -> int:
    """The id of a comment where ids are numbers; what is none never reaches the server."""
    if not (comment.isascii() and comment.isdigit()):
        raise Refused(f"{comment!r} is not the id of a comment: those of {provider} are numbers")
    return int(comment)


def names(files: Iterable[tuple[str | None, str | None]]) -> tuple[str, ...]:
    """Each path once, of files with the name that they have and the one that they had."""
    return tuple(dict.fromkeys(path for file in files for path in file if path))


def same_branch(repo: Repository, branch: str, there: str, sha: str) -> None:
    """Raises `Refused` where a branch that exists already is not at the commit."""
    if there != sha:
        raise Refused(f"branch {branch} of {repo} exists already at {there[:12]}, not at {sha[:12]}")
