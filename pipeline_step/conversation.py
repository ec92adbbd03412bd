"""Doing what a comment on the pull request asks, and answering it there.

Nothing is taken from the event that started us but ids: the comment, its author's permission, the pull request's
head and the configuration of the base branch are all read from the provider now.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, assert_never

from pipeline_step import access, base_branch, deploy, report, revert, rollout, steer
from pipeline_step.access import Grant, Rules
from pipeline_step.comments import USAGE, Command, Misread, Verb, parse
from pipeline_step.config import Config, Flags, load, named_file, provider_of, pull_of
from pipeline_step.errors import ConfigError, Exit, HttpError, NotReady, Refused, StepError
from pipeline_step.freezes import in_force
from pipeline_step.handled import Handled, take
from pipeline_step.invocation import opened
from pipeline_step.promotion import running
from pipeline_step.reporter import connect
from pipeline_step.route import each, observe
from pipeline_step.run import Event, Result, Run
from pipeline_step.scm import Comment, PullRequest, Reaction, Repository, Role, Scm

if TYPE_CHECKING:
    from pipeline_step.http import Http


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class _Thread:
    """The pull request and where to answer in it."""

    scm: Scm
    http: Http
    repository: Repository
    pull: PullRequest
    comment: Comment


def answer(options: dict[str, Any], comment_id: str, *, latest: bool) -> Result:
    """Do all commands of a comment, in order, until one fails; the result of the last one.

    Raises `ConfigError` where the pull request or the comment isn't told. A command that is refused is answered in the
    pull request, and gives the result that says so.
    """
    flags = Flags(**{name: value for name, value in options.items() if name in Flags.__dataclass_fields__})
    pulled = pull_of(flags)
    provider = provider_of(pulled)
    if not (pulled.number and provider.token):
        raise ConfigError("a comment needs --pr NUMBER (or PULL_NUMBER) and a token in GIT_TOKEN or GIT_TOKEN_FILE")
    if bool(comment_id) == latest:
        raise ConfigError("say which comment: its id, or --latest, and not both")
    scm, http, repository = connect(provider)
    pull = scm.pull_request(http, repository, pulled.number)
    comment = (
        _latest(scm, http, repository, pulled.number)
        if latest
        else scm.comment(http, repository, pulled.number, comment_id)
    )
    asked = parse(comment.body)
    if not asked:
        return Result(outcome="nothing", reason=f"comment {comment.id} commands nothing")
    thread = _Thread(scm=scm, http=http, repository=repository, pull=pull, comment=comment)
    _react(thread, Reaction.SEEN)
    config = load(flags, text=None if named_file(flags, {}) else base_branch.read(scm, http, repository, pull))
    result = Result(outcome="nothing", reason="")
    for one in asked:
        result = _misread(thread, config, one) if isinstance(one, Misread) else _do(thread, config, one)
        if result.exit is not Exit.DONE:
            break
    _react(thread, Reaction.DONE if result.exit is Exit.DONE else Reaction.REFUSED)
    return result


def _latest(scm: Scm, http: Http, repository: Repository, number: int) -> Comment:
    commanding = [comment for comment in scm.comments(http, repository, number) if parse(comment.body)]
    if not commanding:
        raise ConfigError(f"no comment on pull request {number} commands anything")
    return max(commanding, key=lambda comment: comment.created)


def _do(thread: _Thread, config: Config, command: Command) -> Result:
    """One command: checked, then done as its author; refusals are answered in the pull request, and noted."""
    granted = None
    try:
        with opened(config) as looking:
            deployed, freezes = _situation(looking)
        grant = access.check(
            thread.scm,
            thread.http,
            thread.repository,
            thread.pull,
            thread.comment,
            command,
            _rules(config),
            deployed=deployed,
            freezes=freezes,
        )
        granted = dataclasses.replace(
            config,
            pull=dataclasses.replace(
                config.pull, sha=grant.sha, by=_named(grant), role=grant.role.name.lower(), asked=str(command)
            ),
            overrides=(grant.override,) if grant.override else (),
        )
        with opened(granted, command.verb.value) as run:
            if command.verb.raises and not access.is_retreat(command):
                comment = Handled(id=thread.comment.id, created=thread.comment.created, run=config.run)
                pull_request = f"{thread.repository}#{thread.pull.number}"
                take(next(iter(run.clusters.values())), run.target, pull_request, comment)
            return _carry_out(thread, run, grant)
    except StepError as error:
        if granted is None:
            _note(thread, config, command, error)
        _reply(thread, config, f"`/{command.verb.value}` was not done: {report.escape(str(error))}")
        return Result(outcome=error.exit.name.lower().replace("_", " "), reason=str(error), exit=error.exit)


def _named(grant: Grant) -> str:
    """The asker for the record: the name for people, and where that can be chosen freely also the one that can't."""
    return grant.by if grant.by_name in ("", grant.by) else f"{grant.by_name} ({grant.by})"


def _note(thread: _Thread, config: Config, command: Command, error: StepError) -> None:
    """A refusal before the command was anybody's, in the audit and in the comment's history."""
    pull = dataclasses.replace(config.pull, by=thread.comment.author_name, asked=str(command))
    with suppress(StepError), opened(dataclasses.replace(config, pull=pull)) as run:
        run.tell(Event(kind="refused", weight=0, reason=str(error), sha=thread.pull.head))


def _situation(run: Run) -> tuple[str, Sequence[access.Freeze]]:
    """The commit that the preview runs ("" where none does), and the freezes in force."""
    container = run.config.file.production.container
    try:
        deployed = next(iter(each(run.clusters, lambda c: running(c, run.preview, container)).values()))[2]
    except NotReady:
        deployed = ""
    now = run.clock.time()
    found: dict[str, access.Freeze] = {}
    for seen in each(run.clusters, lambda cluster: observe(run.target, cluster)).values():
        for name, reason in in_force(seen.routed, run.config.file.strategy.freezes, now).items():
            found[name] = access.Freeze(name=name, reason=reason)
    return deployed, list(found.values())


def _rules(config: Config) -> Rules:
    comments = config.file.comments
    return Rules(
        role=Role[comments.role.name],
        users=comments.users,
        teams=comments.teams,
        codeowners=comments.codeowners,
        not_author=comments.not_author,
        forks=comments.forks,
        branches=comments.branches,
    )


def _carry_out(thread: _Thread, run: Run, grant: Grant) -> Result:
    command, by = grant.command, grant.by
    match command.verb:
        case Verb.SHIFT:
            if command.weight:
                return rollout.shift(run, command.weight)
            return revert.revert(run, f"asked for by {by}")
        case Verb.ROLLOUT:
            return rollout.rollout(run)
        case Verb.PROMOTE:
            return rollout.promote(run)
        case Verb.REVERT:
            return revert.revert(run, f"asked for by {by}")
        case Verb.PAUSE:
            return steer.pause(run, f"asked for by {by}")
        case Verb.RESUME:
            return steer.resume(run)
        case Verb.SKIP:
            return steer.skip(run)
        case Verb.FREEZE:
            return steer.freeze(run, command.reason)
        case Verb.UNFREEZE:
            return steer.unfreeze(run)
        case Verb.PREVIEW:
            return deploy.deploy(run)
        case Verb.STATUS:
            seen = each(run.clusters, lambda cluster: observe(run.target, cluster))
            _reply(thread, run.config, f"```\n{report.status_table(run.target, seen)}\n```")
            return Result(outcome="told", reason="the status was answered in the pull request")
        case Verb.HELP:
            _reply(thread, run.config, _help())
            return Result(outcome="told", reason="the commands were answered in the pull request")
        case _:
            assert_never(command.verb)


def _misread(thread: _Thread, config: Config, misread: Misread) -> Result:
    _reply(thread, config, f"{misread.problem}. It is written `{misread.usage}`.")
    return Result(outcome="misread", reason=misread.problem, exit=Exit.USAGE)


def _help() -> str:
    return "\n".join(f"- `{usage}`" for usage in USAGE.values())


def _reply(thread: _Thread, config: Config, text: str) -> None:
    """One comment for all answers, updated in place; that it can't be told changes nothing of what was done."""
    marker = report.marker(f"{config.file.app}:answers", thread.pull.number)
    body = f"{marker}\n\n[Asked]({thread.comment.url}) by {report.escape(thread.comment.author_name)}:\n\n{text}"
    body = body[: thread.scm.COMMENT_LIMIT]
    with suppress(HttpError):
        thread.scm.upsert_comment(thread.http, thread.repository, thread.pull.number, marker, lambda before: body)


def _react(thread: _Thread, reaction: Reaction) -> None:
    with suppress(HttpError, Refused):
        thread.scm.react(thread.http, thread.repository, thread.pull.number, thread.comment.id, reaction)
