"""The approval gate through the real GitHub module, over a server that answers as GitHub documents."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from pipeline_step.errors import ConfigError
from pipeline_step.gates import Conversation, Sources, Subject, approval
from pipeline_step.http import Http
from pipeline_step.model import Measurement, Outcome
from pipeline_step.scm import Repository, github, gitlab
from tests.gates.conftest import BEGAN, Answer, Site

HEAD = "a" * 40
JSON = {"Content-Type": "application/json"}


def stamp(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


@dataclass
class GitHub:
    """Pull request 35 of acme/shop by ann, its comments, and what people may do."""

    labels: list[str] = field(default_factory=list)
    comments: list[dict[str, Any]] = field(default_factory=list)
    roles: dict[str, str] = field(default_factory=lambda: {"ann": "admin", "bob": "write", "eve": "read"})
    reviews: list[dict[str, Any]] = field(default_factory=list)
    status: int = 0

    def review(self, who: str, state: str = "APPROVED", commit: str = HEAD) -> None:
        page = f"https://github.com/acme/shop/pull/35#pullrequestreview-{len(self.reviews) + 1}"
        review = {"user": {"login": who, "type": "User"}, "state": state, "commit_id": commit, "html_url": page}
        self.reviews.append(review)

    def say(self, who: str, body: str, at: float = BEGAN + 5, edited: float | None = None) -> None:
        number = len(self.comments) + 1
        self.comments.append(
            {
                "id": number,
                "user": {"login": who, "type": "User"},
                "body": body,
                "created_at": stamp(at),
                "updated_at": stamp(edited or at),
                "html_url": f"https://github.com/acme/shop/pull/35#issuecomment-{number}",
                "issue_url": "https://api.github.com/repos/acme/shop/issues/35",
                "performed_via_github_app": None,
            }
        )

    def respond(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> Answer:
        where = path.partition("?")[0]
        if self.status:
            return self.status, JSON, b'{"message": "no"}'
        if where == "/repos/acme/shop/pulls/35":
            return 200, JSON, json.dumps(self._pull()).encode()
        if where == "/repos/acme/shop/issues/35/comments":
            page = int(match[1]) if (match := re.search(r"[?&]page=(\d+)", path)) else 1
            return 200, JSON, json.dumps(self.comments if page == 1 else []).encode()
        if where == "/repos/acme/shop/pulls/35/reviews":
            return 200, JSON, json.dumps(self.reviews).encode()
        if match := re.fullmatch(r"/repos/acme/shop/collaborators/([^/]+)/permission", where):
            role = self.roles.get(match[1], "none")
            return 200, JSON, json.dumps({"permission": role, "role_name": role, "user": {"login": match[1]}}).encode()
        return 404, JSON, b'{"message": "Not Found"}'

    def _pull(self) -> dict[str, Any]:
        repo = {"full_name": "acme/shop"}
        return {
            "number": 35,
            "title": "Faster cart",
            "state": "open",
            "user": {"login": "ann", "type": "User"},
            "head": {"sha": HEAD, "ref": "cart", "repo": repo},
            "base": {"sha": "b" * 40, "ref": "main", "repo": repo},
            "html_url": "https://github.com/acme/shop/pull/35",
            "labels": [{"name": label} for label in self.labels],
            "merged": False,
        }


class Waiting:
    """A gate that looks again and again, twenty seconds apart."""

    def __init__(self, hub: GitHub, url: str, subject: Subject) -> None:
        http = Http(timeout=(5, 10), patience=0.5)
        repository = Repository(url=url, owner="acme", name="shop")
        conversation = Conversation(scm=github, http=http, repository=repository, number=35)
        self.hub = hub
        self.sources = Sources(clusters={}, http=http, conversation=conversation)
        self.subject = replace(subject, now=BEGAN)
        self.counters: Any = {}

    def measure(self, after: float = 20, **given: Any) -> Measurement:
        self.subject = replace(self.subject, now=self.subject.now + after)
        settings = msgspec.convert(given, approval.Settings)
        measurement = approval.measure("approval", settings, self.subject, self.sources, self.counters)
        self.counters = json.loads(json.dumps(measurement.counters))
        return measurement


@pytest.fixture
def waiting(site: Callable[..., Site], subject: Subject) -> Waiting:
    hub = GitHub()
    return Waiting(hub, site(hub.respond).url, subject)


def test_it_waits_and_then_somebody_approves(waiting: Waiting) -> None:
    measurement = waiting.measure()
    assert (measurement.outcome, measurement.reason) == (
        Outcome.UNDECIDED,
        "approval: waits for an approval: comment /ship-it",
    )
    waiting.hub.say("bob", "Looks good.\n\n/ship-it\n")
    measurement = waiting.measure()
    assert measurement.outcome is Outcome.PASS
    assert measurement.reason == "approval: bob approved: https://github.com/acme/shop/pull/35#issuecomment-1"
    waiting.hub.status = 500
    assert waiting.measure() == measurement


@pytest.mark.parametrize(
    ("said", "given", "words"),
    [
        (("eve", "/ship-it"), {}, "eve needs the role write to approve"),
        (("zoe", "/ship-it"), {}, "zoe needs the role write to approve"),
        (("ann", "/ship-it"), {}, "ann may not approve their own pull request"),
        (("bob", "/ship-it"), {"role": "maintain"}, "bob needs the role maintain to approve"),
        (("bob", "/ship-it"), {"users": ["carl"]}, "bob is not among those who may approve"),
        (("bob", "/ship-it", BEGAN + 5, BEGAN + 9), {}, "the comment of bob was edited and does not count"),
        (("bob", "/ship-it", BEGAN - 60), {}, "comment /ship-it"),
        (("bob", "> /ship-it"), {}, "comment /ship-it"),
        (("bob", "please do not /ship-it"), {}, "comment /ship-it"),
    ],
)
def test_who_may_not_and_what_is_none(waiting: Waiting, said: Any, given: dict[str, Any], words: str) -> None:
    waiting.hub.say(*said)
    measurement = waiting.measure(**given)
    assert measurement.outcome is Outcome.UNDECIDED
    assert measurement.reason.endswith(words) or words in measurement.reason


def test_the_author_may_where_that_is_allowed_and_names_have_no_case(waiting: Waiting) -> None:
    waiting.hub.say("ann", "/ship-it")
    assert waiting.measure(not_author=False, users=["Ann"]).outcome is Outcome.PASS


def test_a_label_counts_only_when_it_was_set_during_the_rollout(waiting: Waiting) -> None:
    given = {"label": "ship-it", "comment": ""}
    waiting.hub.labels = ["bug", "ship-it"]
    measurement = waiting.measure(**given)
    assert measurement.outcome is Outcome.UNDECIDED
    assert measurement.reason.endswith("set the label ship-it again, since it was there before the rollout")
    waiting.hub.labels = []
    assert waiting.measure(**given).outcome is Outcome.UNDECIDED
    waiting.hub.labels = ["ship-it"]
    measurement = waiting.measure(**given)
    assert (measurement.outcome, measurement.reason) == (Outcome.PASS, "approval: the label ship-it was set")


def test_an_approving_review_of_the_head_counts_and_no_other_does(waiting: Waiting) -> None:
    given = {"review": True, "comment": ""}
    waiting.hub.review("bob", commit="b" * 40)
    measurement = waiting.measure(**given)
    assert (measurement.outcome, measurement.reason) == (
        Outcome.UNDECIDED,
        "approval: waits for an approval: approve in a review",
    )
    waiting.hub.review("ann")
    assert waiting.measure(**given).reason.endswith("ann may not approve their own pull request")
    waiting.hub.review("eve")
    assert waiting.measure(**given).reason.endswith("eve needs the role write to approve")
    waiting.hub.reviews.clear()
    waiting.hub.review("bob")
    waiting.hub.review("bob", "CHANGES_REQUESTED")
    assert waiting.measure(**given).outcome is Outcome.UNDECIDED
    waiting.hub.review("bob")
    measurement = waiting.measure(**given)
    assert measurement.outcome is Outcome.PASS
    assert measurement.reason == "approval: bob approved: https://github.com/acme/shop/pull/35#pullrequestreview-3"
    assert waiting.measure(comment="/ship-it").outcome is Outcome.PASS


def test_an_approval_of_no_known_commit_counts_when_it_is_given_during_the_rollout(
    site: Callable[..., Site], subject: Subject
) -> None:
    """GitLab tells who approves a merge request, and not of which commit."""
    approved, looked = ["bob"], replace(subject, now=BEGAN)
    merge = {
        "iid": 35, "title": "Faster cart", "state": "opened", "sha": HEAD, "source_branch": "cart",
        "target_branch": "main", "source_project_id": 1, "target_project_id": 1,
        "web_url": "https://gitlab.com/acme/shop/-/merge_requests/35", "author": {"username": "ann"},
    }  # fmt: skip

    def respond(method: str, path: str, headers: Mapping[str, str], body: bytes) -> Answer:
        where = path.partition("?")[0]
        if where.endswith("/merge_requests/35/approvals"):
            return 200, JSON, json.dumps({"approved_by": [{"user": {"username": name}} for name in approved]}).encode()
        if where.endswith("/members/all"):
            return 200, JSON, b'[{"username": "bob", "access_level": 30}]'
        return 200, JSON, json.dumps(merge).encode()

    http = Http(timeout=(5, 10), patience=0.5)
    repository = Repository(url=site(respond).url, owner="acme", name="shop")
    talk = Conversation(scm=gitlab, http=http, repository=repository, number=35)
    sources = Sources(clusters={}, http=http, conversation=talk)
    settings = msgspec.convert({"review": True, "comment": ""}, approval.Settings)
    found = []
    counters: Any = {}
    for now_approved in (["bob"], [], ["bob"]):
        approved[:], looked = now_approved, replace(looked, now=looked.now + 20)
        measurement = approval.measure("approval", settings, looked, sources, counters)
        counters = json.loads(json.dumps(measurement.counters))
        found.append((measurement.outcome, measurement.reason.partition(": ")[2]))
    assert found == [
        (
            Outcome.UNDECIDED,
            "waits for an approval: approve in a review, again where it was done before the rollout",
        ),
        (Outcome.UNDECIDED, "waits for an approval: approve in a review"),
        (
            Outcome.PASS,
            "bob approved: https://gitlab.com/acme/shop/-/merge_requests/35".replace(
                "https://gitlab.com", repository.url
            ),
        ),
    ]


def test_it_holds_from_a_weight_on_and_fails_in_the_end(waiting: Waiting) -> None:
    given = {"hold_at": 25, "within": "2m"}
    assert waiting.measure(**given).outcome is Outcome.UNDECIDED
    waiting.subject = replace(waiting.subject, weight=25, began=BEGAN + 30)
    assert waiting.measure(**given).outcome is Outcome.WAITING
    measurement = waiting.measure(after=90, **given)
    assert (measurement.outcome, measurement.reason) == (Outcome.FAIL, "approval: nobody approved within 2m")


def test_the_provider_is_asked_four_times_a_minute_at_most(waiting: Waiting, site: Callable[..., Site]) -> None:
    server = site(waiting.hub.respond)
    talk = waiting.sources.conversation
    assert talk
    repository = replace(talk.repository, url=server.url)
    waiting.sources = replace(waiting.sources, conversation=replace(talk, repository=repository))
    waiting.hub.say("eve", "/ship-it")
    reasons = {waiting.measure(after=5).reason for _ in range(12)}
    assert reasons == {
        "approval: waits for an approval: comment /ship-it; eve needs the role write to approve",
    }
    assert sum(path == "/repos/acme/shop/pulls/35" for _, path, _, _ in server.seen) == 4


@pytest.mark.parametrize("status", [401, 403, 404, 429, 500])
def test_a_provider_that_refuses_is_unreachable(waiting: Waiting, status: int) -> None:
    waiting.measure()
    before = waiting.counters
    waiting.hub.status = status
    measurement = waiting.measure()
    assert measurement.outcome is Outcome.UNREACHABLE
    assert str(status) in measurement.reason
    assert waiting.counters == before


def test_without_a_pull_request_there_is_nobody_to_ask(subject: Subject, sources: Sources) -> None:
    with pytest.raises(ConfigError, match="there is no pull request to look at"):
        approval.measure("approval", approval.Settings(), subject, sources, {})


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"comment": ""}, "give at least one of comment, label and review"),
        ({"comment": "("}, "is not a regular expression"),
        ({"role": "boss"}, "Invalid enum value 'boss'"),
    ],
)
def test_wrong_settings_are_told_when_they_are_read(given: dict[str, Any], expected: str) -> None:
    with pytest.raises(msgspec.ValidationError, match=expected):
        msgspec.convert(given, approval.Settings)
