"""Gate `approval`: somebody who may says so on the pull request, in a comment, with a label or by a review.

An approval is of what is being judged: a comment counts from the rollout's begin on, a label that was there before
does not, and a review counts at the head commit. Where the provider does not say which commit was approved, an
approval that was there before counts only once it was taken back and given again. Since nobody tells who set a label,
whoever may set labels can approve with one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pipeline_step.errors import ConfigError, HttpError
from pipeline_step.model import Measurement, Outcome
from pipeline_step.settings import Duration, Strict, Weight, says, seconds

if TYPE_CHECKING:
    from pipeline_step.gates import Conversation, Sources, Subject
    from pipeline_step.scm import Approval, Comment, PullRequest

EVERY = 15.0  # seconds between two looks, since a provider counts requests by the hour


class Settings(Strict, frozen=True, kw_only=True):
    """What approves: a comment with a line that matches `comment` as a whole, the `label`, or an approving `review`.

    Any of those given is enough. The author of a comment or review needs `role` in the repository, and where `users`
    or `teams` are given must be among them; `not_author` forbids to approve one's own pull request. Until then nothing
    is promoted, and from the weight `hold_at` on nothing is raised. Nobody within `within` is a failure.
    """

    comment: Annotated[str, says("the line that approves, as a regular expression that it matches as a whole")] = (
        "/ship-it"
    )
    label: Annotated[str, says("the label that approves")] = ""
    review: Annotated[bool, says("an approving review of the pull request counts as well")] = False
    role: Annotated[
        Literal["triage", "write", "maintain", "admin"], says("what whoever comments or reviews must be allowed")
    ] = "write"
    users: Annotated[tuple[str, ...], says("logins, of which the author of the comment must be one, where given")] = ()
    teams: Annotated[tuple[str, ...], says("teams (ORG/TEAM), likewise")] = ()
    not_author: Annotated[bool, says("nobody approves a pull request of their own")] = True
    hold_at: Annotated[Weight | None, says("the percentage from which nothing is raised until somebody approves")] = (
        None
    )
    within: Annotated[Duration | None, says("how long to wait for somebody before that is a failure")] = None

    def __post_init__(self) -> None:
        if not (self.comment or self.label or self.review):
            raise ValueError("give at least one of comment, label and review")
        try:
            re.compile(self.comment)
        except re.error as error:
            raise ValueError(f"comment {self.comment!r} is not a regular expression ({error})") from None


def measure(
    name: str, settings: Settings, subject: Subject, sources: Sources, counters: Mapping[str, Any]
) -> Measurement:
    """Look at the pull request; an approval that was seen stays one, for as long as the rollout is of this commit."""
    if "approved" in counters:
        return Measurement(gate=name, outcome=Outcome.PASS, reason=counters["approved"], counters=counters)
    talk = sources.conversation
    if talk is None:
        raise ConfigError("gates: approval: there is no pull request to look at; name the Git provider and its number")
    began = counters.get("began", subject.began)
    if subject.now < counters.get("looked", 0) + EVERY:
        return _waiting(name, settings, subject, counters)
    state: dict[str, Any] = {"began": began, "labelled": counters.get("labelled", False), "looked": subject.now}
    try:
        pull = talk.scm.pull_request(talk.http, talk.repository, talk.number)
        labelled = bool(settings.label) and settings.label in pull.labels
        state["labelled"] = labelled and (state["labelled"] or "began" not in counters)
        if labelled and not state["labelled"]:
            return _approved(name, state, f"the label {settings.label} was set")
        state["refused"] = ""
        all_said: list[Comment | Approval] = [*_asked(settings, talk, began)]
        all_said += _reviews(settings, talk, pull, counters, state)
        for said in all_said:
            if not (why := _refusal(settings, talk, pull, said)):
                return _approved(name, state, f"{said.author_name or said.author} approved: {said.url}")
            state["refused"] = f"; {why}"
    except HttpError as error:
        return Measurement(gate=name, outcome=Outcome.UNREACHABLE, reason=f"{name}: {error}", counters=counters)
    return _waiting(name, settings, subject, state)


def _approved(name: str, state: Mapping[str, Any], how: str) -> Measurement:
    reason = f"{name}: {how}"
    return Measurement(gate=name, outcome=Outcome.PASS, reason=reason, counters={**state, "approved": reason})


def _waiting(name: str, settings: Settings, subject: Subject, state: Mapping[str, Any]) -> Measurement:
    """Nobody yet: how that holds the rollout, and what would approve it."""
    ways = [f"comment {settings.comment}"] if settings.comment else []
    if settings.label:
        again = " again, since it was there before the rollout" if state["labelled"] else ""
        ways.append(f"set the label {settings.label}{again}")
    if settings.review:
        again = ", again where it was done before the rollout" if state.get("reviewed") else ""
        ways.append(f"approve in a review{again}")
    waited = subject.now - state["began"]
    if settings.within and waited >= seconds(settings.within):
        reason = f"{name}: nobody approved within {settings.within}{state['refused']}"
        return Measurement(gate=name, outcome=Outcome.FAIL, reason=reason, counters=state)
    holds = settings.hold_at is not None and subject.weight >= settings.hold_at
    return Measurement(
        gate=name,
        outcome=Outcome.WAITING if holds else Outcome.UNDECIDED,
        reason=f"{name}: waits for an approval: {' or '.join(ways)}{state['refused']}",
        counters=state,
    )


def _asked(settings: Settings, talk: Conversation, began: float) -> list[Comment]:
    """The comments that mean to approve, since the rollout began."""
    if not settings.comment:
        return []
    return [
        comment
        for comment in talk.scm.comments(talk.http, talk.repository, talk.number)
        # Providers tell whole seconds.
        if comment.created >= int(began)
        and any(re.fullmatch(settings.comment, line.strip()) for line in comment.body.splitlines())
    ]


def _reviews(
    settings: Settings, talk: Conversation, pull: PullRequest, counters: Mapping[str, Any], state: dict[str, Any]
) -> list[Approval]:
    """The approving reviews of the head commit; `state` remembers those without a commit that were there before."""
    if not settings.review:
        return []
    found = talk.scm.approvals(talk.http, talk.repository, talk.number)
    unnamed = {one.author for one in found if not one.commit}
    state["reviewed"] = sorted(unnamed & set(counters.get("reviewed", unnamed)))
    return [one for one in found if one.commit == pull.head or (not one.commit and one.author not in state["reviewed"])]


def _refusal(settings: Settings, talk: Conversation, pull: PullRequest, comment: Comment | Approval) -> str:
    """Why a comment or a review does not approve, in words, or ""; the provider is asked anew for everything."""
    from pipeline_step.access import same_name
    from pipeline_step.scm import Comment, Role

    who = comment.author_name or comment.author or "someone without an account"
    if not comment.author:
        return f"{who} does not count"
    if isinstance(comment, Comment) and comment.edited:
        return f"the comment of {who} was edited and does not count; post it anew"
    if settings.not_author and (not pull.author or same_name(comment.author, pull.author)):
        return f"{who} may not approve their own pull request"
    if talk.scm.role(talk.http, talk.repository, comment.author) < Role[settings.role.upper()]:
        return f"{who} needs the role {settings.role} to approve"
    listed = any(same_name(comment.author, user) for user in settings.users) or any(
        talk.scm.in_team(talk.http, talk.repository, team, comment.author) for team in settings.teams
    )
    if (settings.users or settings.teams) and not listed:
        return f"{who} is not among those who may approve"
    return ""
