"""Who may ask for what, on which commit. Everything is read live, and whatever can't be told refuses.

`check` asks the provider; the rules themselves are pure functions over what it said.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipeline_step.comments import Command, Verb
from pipeline_step.errors import HttpError, Refused
from pipeline_step.scm import Comment, PullRequest, Repository, Role, Scm

if TYPE_CHECKING:
    from pipeline_step.http import Http

CODEOWNERS_PATHS = (".github/CODEOWNERS", "CODEOWNERS", "docs/CODEOWNERS", ".gitlab/CODEOWNERS", ".gitea/CODEOWNERS")

MOST_DEEP, MOST_STARS = 3, 8
"""Of `**` and of `*` in a pattern of CODEOWNERS: each more makes telling whether a path fits many times as long."""

READING = frozenset({Verb.STATUS, Verb.HELP})
RETREATING = frozenset({Verb.REVERT, Verb.PAUSE, Verb.FREEZE})
"""What makes production safer: whoever has the role may do it, on any commit, frozen or not."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Rules:
    """What somebody needs for a command that brings a preview forward.

    `role` is needed always. Where `users` or `teams` are given, one of them must fit as well. With `codeowners` they
    must own every changed file that has owners. `branches` are the base branches that count, or all if empty.
    """

    role: Role = Role.WRITE
    users: tuple[str, ...] = ()
    teams: tuple[str, ...] = ()
    codeowners: bool = False
    not_author: bool = False
    forks: bool = False
    branches: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Freeze:
    """A freeze in force. Who has `role` may override it by its name, and so may the `users` and `teams`."""

    name: str
    reason: str
    role: Role = Role.ADMIN
    users: tuple[str, ...] = ()
    teams: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Grant:
    """That a command may be done: by whom, with which role, and on which commit; for the record and the audit.

    `override` names the freeze that was overridden, or is "".
    """

    command: Command
    by: str
    by_name: str
    role: Role
    sha: str
    override: str
    comment: str


def check(
    scm: Scm,
    http: Http,
    repo: Repository,
    pull: PullRequest,
    comment: Comment,
    command: Command,
    rules: Rules,
    *,
    deployed: str,
    freezes: Sequence[Freeze] = (),
) -> Grant:
    """Decide on a command; raises `Refused` with the reason, also when the provider can't be asked.

    `pull` and `comment` have just been read from the provider. `deployed` is the full SHA of the preview that this
    program itself deployed last for the pull request, or "".
    """
    who = comment.author_name or comment.author
    try:
        return _check(scm, http, repo, pull, comment, command, rules, deployed, freezes)
    except HttpError as error:
        raise Refused(f"/{command.verb.value} of {who} is refused, since it can't be checked: {error}") from error


def _check(
    scm: Scm,
    http: Http,
    repo: Repository,
    pull: PullRequest,
    comment: Comment,
    command: Command,
    rules: Rules,
    deployed: str,
    freezes: Sequence[Freeze],
) -> Grant:
    verb, user = command.verb, comment.author
    if not user:
        raise Refused("the comment's author has no account any more")
    if comment.edited and verb not in READING:
        raise Refused("the comment was edited after it was posted; post the command anew")
    role = scm.role(http, repo, user)
    needed = min(rules.role, Role.READ) if verb in READING else rules.role
    if role < needed:
        raise Refused(f"{comment.author_name} has the role {_word(role)} in {repo}, and this needs {_word(needed)}")
    if verb not in READING | RETREATING and not is_retreat(command):
        _check_forward(scm, http, repo, pull, user, rules)
    sha = pinned(command, pull, deployed)
    override = _overridden(scm, http, repo, command, user, role, freezes)
    return Grant(
        command=command,
        by=user,
        by_name=comment.author_name,
        role=role,
        sha=sha,
        override=override,
        comment=comment.url,
    )


def _check_forward(scm: Scm, http: Http, repo: Repository, pull: PullRequest, user: str, rules: Rules) -> None:
    if not pull.open:
        raise Refused(f"pull request {pull.number} is {'merged' if pull.merged else 'closed'}")
    if rules.branches and pull.base_branch not in rules.branches:
        valid = ", ".join(rules.branches)
        raise Refused(f"pull request {pull.number} goes to {pull.base_branch}, and only {valid} may be rolled out")
    if pull.from_fork and not rules.forks:
        raise Refused(f"pull request {pull.number} comes from a fork, which the configuration does not allow")
    if rules.not_author and (not pull.author or same_name(user, pull.author)):
        raise Refused(f"pull request {pull.number} needs someone other than its author")
    if (rules.users or rules.teams) and not _listed(scm, http, repo, user, rules.users, rules.teams):
        raise Refused(f"{user} is not among the users and teams that the configuration lists")
    if rules.codeowners:
        _check_owner(scm, http, repo, pull, user)


def _check_owner(scm: Scm, http: Http, repo: Repository, pull: PullRequest, user: str) -> None:
    text = None
    for path in CODEOWNERS_PATHS:
        text = read_base(scm, http, repo, pull, path)
        if text is not None:
            break
    if text is None:
        raise Refused(f"branch {pull.base_branch} has no CODEOWNERS file, which the configuration asks for")
    files = scm.changed_files(http, repo, pull.number)
    if not files:
        raise Refused(f"the provider tells no changed files of pull request {pull.number}, so nobody owns them")
    known: dict[str, bool] = {}

    def in_team(team: str) -> bool:
        if team not in known:
            known[team] = scm.in_team(http, repo, team, user)
        return known[team]

    foreign = not_owned(text.decode(errors="replace"), files, user, in_team)
    if foreign:
        raise Refused(f"{user} does not own {foreign[0]}" + (f" and {len(foreign) - 1} more" if foreign[1:] else ""))


def not_owned(codeowners: str, files: Iterable[str], user: str, in_team: Callable[[str], bool]) -> tuple[str, ...]:
    """The files that have owners of whom `user` is none. Owners by e-mail address can't be told and so don't count.

    Raises `Refused` for a file that can't be read, as with GitLab's sections, whose rules differ.
    """
    from codeowners import CodeOwners

    if any(line.lstrip().startswith(("[", "^[")) for line in codeowners.splitlines()):
        raise Refused("the CODEOWNERS file has sections, which can't be judged; list users and teams instead")
    for line in codeowners.splitlines():
        pattern = (line.split() or [""])[0]
        if "***" in pattern or pattern.count("**") > MOST_DEEP or pattern.count("*") > MOST_STARS:
            raise Refused(f"the CODEOWNERS file has a pattern with too many stars to be judged: {pattern[:40]}")
    try:
        with warnings.catch_warnings():  # of patterns that a later Python would read otherwise
            warnings.simplefilter("error", FutureWarning)
            rules = CodeOwners(codeowners)
    except (ValueError, re.error, FutureWarning) as error:
        raise Refused(f"the CODEOWNERS file can't be read: {error}") from error

    def owns(owner: tuple[str, str]) -> bool:
        kind, name = owner[0], owner[1].removeprefix("@")
        return in_team(name) if kind == "TEAM" else kind == "USERNAME" and same_name(name, user)

    return tuple(file for file in files if (owners := rules.of(file)) and not any(map(owns, owners)))


def pinned(command: Command, pull: PullRequest, deployed: str) -> str:
    """The full SHA that a command is about; raises `Refused` if the head is not what the asker has seen.

    A command that sends more requests names the head's SHA, or else means the preview that was last deployed.
    """
    head, number = pull.head.lower(), pull.number
    if len(head) < 40:
        raise Refused(f"the provider does not tell the head of pull request {number}")
    if command.sha:
        if head.startswith(command.sha.lower()) and len(command.sha) >= 7:
            return head
        raise Refused(
            f"pull request {number} is at {head[:12]} now, not at {command.sha[:12]}; review it and ask again"
        )
    if is_retreat(command) or not command.verb.raises or head == deployed.lower():
        return head
    if not deployed:
        raise Refused(
            f"pull request {number} has no preview that would tell which commit is meant; "
            f"name it, as in {_example(command, head)}"
        )
    raise Refused(
        f"pull request {number} moved from {deployed[:12]}, whose preview was deployed, to {head[:12]}; "
        f"review it and name the commit, as in {_example(command, head)}"
    )


def still_pinned(pull: PullRequest, sha: str) -> None:
    """Raise `Refused` unless the pull request is open and still at `sha`; to be asked before every increase."""
    if pull.head.lower() != sha.lower():
        raise Refused(f"pull request {pull.number} moved from {sha[:12]} to {pull.head[:12]} in the meantime")
    if not pull.open:
        raise Refused(f"pull request {pull.number} was {'merged' if pull.merged else 'closed'} in the meantime")


def is_retreat(command: Command) -> bool:
    """Whether a command can only make production safer."""
    return command.verb in RETREATING or (command.verb is Verb.SHIFT and command.weight == 0)


def read_base(scm: Scm, http: Http, repo: Repository, pull: PullRequest, path: str) -> bytes | None:
    """A file as the base branch has it now: what a pull request proposes never decides about itself."""
    return scm.read_file(http, repo, path, pull.base_branch)


def same_name(one: str, other: str) -> bool:
    """Whether two account names are one: providers ignore the case of ASCII letters, and of no others."""
    return one == other or (one.isascii() and other.isascii() and one.lower() == other.lower())


def _overridden(
    scm: Scm, http: Http, repo: Repository, command: Command, user: str, role: Role, freezes: Sequence[Freeze]
) -> str:
    if not command.verb.raises or is_retreat(command):
        return ""
    for freeze in freezes:
        if command.override != freeze.name:
            raise Refused(f"{freeze.name} holds every rollout: {freeze.reason}; who may, adds --override {freeze.name}")
        if role < freeze.role and not _listed(scm, http, repo, user, freeze.users, freeze.teams):
            raise Refused(f"{user} may not override {freeze.name}: {freeze.reason}")
    return command.override if freezes else ""


def _listed(scm: Scm, http: Http, repo: Repository, user: str, users: Sequence[str], teams: Sequence[str]) -> bool:
    return any(same_name(user, name) for name in users) or any(scm.in_team(http, repo, team, user) for team in teams)


def _word(role: Role) -> str:
    return role.name.lower()


def _example(command: Command, head: str) -> str:
    weight = "" if command.weight is None else f" {command.weight}"
    return f"/{command.verb.value}{weight} {head[:12]}"
