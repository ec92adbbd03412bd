"""A real Gitea: users of different permissions, pull requests, pushes in between, a fork, a merge race."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
import requests

from pipeline_step.access import Freeze, Grant, Rules, check, read_base, still_pinned
from pipeline_step.comments import Command, parse
from pipeline_step.errors import HttpError, Refused
from pipeline_step.http import Http
from pipeline_step.scm import Reaction, Repository, Role, Scm, State, Status, merge_pinned
from pipeline_step.scm.remote import locate

from ..contract.test_published import held_to
from . import gitea_server
from .gitea_server import Gitea

pytestmark = pytest.mark.skipif(bool(gitea_server.missing()), reason=gitea_server.missing())
MARKER = "<!-- pipeline-step:shop -->"
NUMBERS = itertools.count(1)


@dataclass
class Bed:
    """A pull request of wendy's on the real server, and the bot's session with it."""

    gitea: Gitea
    scm: Scm
    repo: Repository
    http: Http
    number: int
    branch: str
    head: str

    def push(self) -> str:
        """Another commit of wendy's."""
        return self.gitea.commit("wendy", self.branch, {f"more-{next(NUMBERS)}.txt": "x"})

    def ask(self, comment: str, rules: Rules | None = None, freezes: tuple[Freeze, ...] = ()) -> Grant:
        """May the command in that comment be done, with a preview deployed at the first commit?"""
        pull = self.scm.pull_request(self.http, self.repo, self.number)
        found = self.scm.comment(self.http, self.repo, self.number, comment)
        (command,) = parse(found.body)
        assert isinstance(command, Command)
        return check(
            self.scm, self.http, self.repo, pull, found, command, rules or Rules(), deployed=self.head, freezes=freezes
        )

    def session(self, user: str) -> Http:
        """A session with someone's own token."""
        return Http(headers=self.scm.credentials(self.repo, self.gitea.tokens[user]), patience=0)


@pytest.fixture(scope="module")
def gitea(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gitea]:
    with gitea_server.running(tmp_path_factory.mktemp("gitea")) as server:
        yield server


@pytest.fixture
def bed(gitea: Gitea) -> Bed:
    branch = f"feature-{next(NUMBERS)}"
    head = gitea.commit("wendy", branch, {f"{branch}.txt": "x"})
    number = gitea.open_pull("wendy", branch)
    scm, repo = locate(f"{gitea.url}/acme/shop.git", kind="gitea")
    http = Http(headers=scm.credentials(repo, gitea.tokens["bot"]), patience=5)
    return Bed(gitea, scm, repo, http, number, branch, head)


def test_approvals(bed: Bed) -> None:
    """Reviews on the real server: each person's last one, with the commit that it is of."""
    reviews = f"/repos/acme/shop/pulls/{bed.number}/reviews"
    assert bed.scm.approvals(bed.http, bed.repo, bed.number) == ()
    bed.gitea.api("olga", "POST", reviews, {"event": "APPROVED", "body": "good"})
    bed.gitea.api("maria", "POST", reviews, {"event": "APPROVED", "body": "good"})
    found = bed.scm.approvals(bed.http, bed.repo, bed.number)
    assert [(one.author, one.commit) for one in found] == [("olga", bed.head), ("maria", bed.head)]
    assert found[0].url.startswith(f"{bed.gitea.url}/acme/shop/pulls/{bed.number}#")
    head = bed.push()
    bed.gitea.api("maria", "POST", reviews, {"event": "REQUEST_CHANGES", "body": "wait", "commit_id": head})
    bed.gitea.api("olga", "POST", reviews, {"event": "COMMENT", "body": "hm", "commit_id": head})
    assert [(one.author, one.commit) for one in bed.scm.approvals(bed.http, bed.repo, bed.number)] == [
        ("olga", bed.head)
    ]


def test_pull_request(bed: Bed) -> None:
    pull = bed.scm.pull_request(bed.http, bed.repo, bed.number)
    assert (pull.number, pull.head, pull.base_branch, pull.author) == (bed.number, bed.head, "main", "wendy")
    assert (pull.open, pull.merged, pull.from_fork, pull.head_branch) == (True, False, False, bed.branch)
    assert pull.url == f"{bed.gitea.url}/acme/shop/pulls/{bed.number}"
    assert len(pull.base) == 40
    pushed = bed.push()
    assert bed.scm.pull_request(bed.http, bed.repo, bed.number).head == pushed


def test_a_pull_request_that_is_not_there_is_one_sentence(bed: Bed) -> None:
    with pytest.raises(HttpError, match=r"/pulls/9999 answered 404 .*; check the name, and that the token may see it"):
        bed.scm.pull_request(bed.http, bed.repo, 9999)


def test_a_wrong_token_is_one_sentence(bed: Bed) -> None:
    http = Http(headers=bed.scm.credentials(bed.repo, "0" * 40), patience=0)
    with pytest.raises(HttpError, match=r"answered 401 .*; check that the token is set, valid and not expired"):
        bed.scm.pull_request(http, bed.repo, bed.number)


@pytest.mark.parametrize("state", State)
def test_status(bed: Bed, state: State) -> None:
    for description in ("first", "second", "x " * 400):
        status = Status(state=state, context="pipeline-step/shop", description=description, url="https://x.example/1")
        bed.scm.set_status(bed.http, bed.repo, bed.head, status)
    combined = bed.gitea.api("rita", "GET", f"/repos/acme/shop/commits/{bed.head}/status")
    (shown,) = combined["statuses"]
    assert (shown["context"], shown["status"]) == ("pipeline-step/shop", state.value)
    assert shown["description"].endswith("x…")


def test_a_token_that_may_only_read_cannot_set_a_status(bed: Bed) -> None:
    status = Status(state=State.SUCCESS, context="pipeline-step/shop", description="", url="")
    with pytest.raises(HttpError, match=r"answered 403 .*; the token lacks a permission for this"):
        bed.scm.set_status(bed.session("rita"), bed.repo, bed.head, status)


def test_the_sticky_comment_is_one_and_ours(bed: Bed) -> None:
    theirs = bed.gitea.say("rita", bed.number, f"{MARKER}\nall fine, 100 %")
    for _ in range(60):
        bed.gitea.say("wendy", bed.number, "talk")
    first = bed.scm.upsert_comment(bed.http, bed.repo, bed.number, MARKER, lambda before: f"{MARKER}\n1 %")
    second = bed.scm.upsert_comment(bed.http, bed.repo, bed.number, MARKER, lambda before: f"{MARKER}\n5 %")
    assert first == second
    comments = bed.scm.comments(bed.http, bed.repo, bed.number)
    assert [comment.body for comment in comments if comment.author == "bot"] == [f"{MARKER}\n5 %"]
    assert next(comment.body for comment in comments if comment.id == theirs) == f"{MARKER}\nall fine, 100 %"


def test_an_edited_comment_is_told_from_one_with_a_reaction(bed: Bed) -> None:
    edited, liked = bed.gitea.say("olga", bed.number, "Nice"), bed.gitea.say("wendy", bed.number, "/shift 5")
    time.sleep(1.1)  # Gitea's clock for comments has whole seconds.
    bed.gitea.api("root", "PATCH", f"/repos/acme/shop/issues/comments/{edited}", {"body": "/shift 50"})
    for reaction in (Reaction.SEEN, Reaction.SEEN, Reaction.DONE, Reaction.REFUSED):
        bed.scm.react(bed.http, bed.repo, bed.number, liked, reaction)
    shown = bed.gitea.api("rita", "GET", f"/repos/acme/shop/issues/comments/{liked}/reactions")
    assert sorted(item["content"] for item in shown) == ["confused", "eyes", "rocket"]
    assert bed.scm.comment(bed.http, bed.repo, bed.number, edited).edited is True
    assert bed.scm.comment(bed.http, bed.repo, bed.number, liked).edited is False
    with pytest.raises(Refused, match="the comment was edited after it was posted"):
        bed.ask(edited)
    assert bed.ask(liked).sha == bed.head


def test_a_comment_of_another_pull_request_is_refused(bed: Bed) -> None:
    other = bed.gitea.commit("wendy", f"other-{bed.number}", {f"other-{bed.number}": "x"})
    assert other
    elsewhere = bed.gitea.open_pull("wendy", f"other-{bed.number}")
    comment = bed.gitea.say("olga", elsewhere, "/shift 50")
    with pytest.raises(Refused, match=f"comment {comment} is not on pull request {bed.number} of acme/shop"):
        bed.scm.comment(bed.http, bed.repo, bed.number, comment)
    with pytest.raises((Refused, HttpError)):
        bed.scm.comment(bed.http, bed.repo, bed.number, "99999999")


def test_role(bed: Bed) -> None:
    expected = {
        "root": Role.ADMIN,
        "bot": Role.ADMIN,
        "olga": Role.ADMIN,
        "maria": Role.WRITE,
        "wendy": Role.WRITE,
        "rita": Role.READ,
        "stranger": Role.NONE,
        "nobody-at-all": Role.NONE,
    }
    owner = bed.session("root")
    assert {name: bed.scm.role(owner, bed.repo, name) for name in expected} == expected


def test_role_through_a_team_that_the_token_may_not_see_is_none(bed: Bed) -> None:
    assert bed.scm.role(bed.http, bed.repo, "wendy") is Role.WRITE
    assert bed.scm.role(bed.http, bed.repo, "maria") is Role.NONE


def test_role_asked_with_a_token_that_may_not_know_refuses(bed: Bed) -> None:
    with pytest.raises(HttpError, match="answered 403"):
        bed.scm.role(bed.session("wendy"), bed.repo, "olga")


def test_in_team(bed: Bed) -> None:
    http = bed.session("root")
    assert bed.scm.in_team(http, bed.repo, "operators", "maria") is True
    assert bed.scm.in_team(http, bed.repo, "acme/operators", "maria") is True
    assert bed.scm.in_team(http, bed.repo, "operators", "wendy") is False
    assert bed.scm.in_team(http, bed.repo, "ghosts", "maria") is False


def test_merge(bed: Bed) -> None:
    commit = merge_pinned(bed.scm, bed.http, bed.repo, bed.number, bed.head, "Promote shop")
    pull = bed.scm.pull_request(bed.http, bed.repo, bed.number)
    assert (pull.open, pull.merged, pull.merge_commit, pull.head) == (False, True, commit, bed.head)
    assert merge_pinned(bed.scm, bed.http, bed.repo, bed.number, bed.head, "Promote shop") == commit
    title = bed.gitea.api("rita", "GET", f"/repos/acme/shop/git/commits/{commit}")["commit"]["message"]
    assert title.startswith("Promote shop")


def test_attack_push_between_the_last_look_and_the_merge(bed: Bed) -> None:
    """The provider's own check: 409, and nothing merged."""
    pushed = bed.push()
    with pytest.raises(Refused, match=f"can't be merged at {bed.head[:12]} any more"):
        bed.scm.merge(bed.http, bed.repo, bed.number, bed.head, "Promote shop")
    pull = bed.scm.pull_request(bed.http, bed.repo, bed.number)
    assert (pull.merged, pull.open, pull.head) == (False, True, pushed)
    with pytest.raises(Refused, match="it is not merged"):
        merge_pinned(bed.scm, bed.http, bed.repo, bed.number, bed.head, "Promote shop")


def test_branch_and_pull_request(bed: Bed) -> None:
    branch = f"promote/shop-{bed.number}"
    main = bed.scm.pull_request(bed.http, bed.repo, bed.number).base
    bed.scm.create_branch(bed.http, bed.repo, branch, main)
    bed.scm.create_branch(bed.http, bed.repo, branch, main)
    with pytest.raises(Refused, match="exists already"):
        bed.scm.create_branch(bed.http, bed.repo, branch, bed.head)
    bed.gitea.commit("wendy", branch, {f"promoted-{bed.number}": "x"})
    first = bed.scm.open_pull_request(bed.http, bed.repo, branch, "main", "chore: promote", "Because.")
    again = bed.scm.open_pull_request(bed.http, bed.repo, branch, "main", "chore: promote", "Because.")
    assert first.number == again.number
    assert (first.author, first.title, first.open) == ("bot", "chore: promote", True)


def test_files(bed: Bed) -> None:
    bed.gitea.commit("wendy", bed.branch, {f"many/{bed.number}-{n}.txt": "x" for n in range(70)})
    files = bed.scm.changed_files(bed.http, bed.repo, bed.number)
    assert len(files) == 71
    assert bed.scm.read_file(bed.http, bed.repo, ".pipeline-step.yaml", "main") == b"app: shop\n"
    assert bed.scm.read_file(bed.http, bed.repo, "no/such file", "main") is None


def test_a_fork(bed: Bed) -> None:
    bed.gitea.api("rita", "POST", "/repos/acme/shop/forks", {"name": "shop"}, accept=(409,))
    for _ in range(50):
        forked = bed.gitea.api("rita", "GET", "/repos/rita/shop/branches/main", accept=(404, 409))
        if forked and "commit" in forked:
            break
        time.sleep(0.1)
    head = bed.gitea.commit("rita", f"patch-{bed.number}", {f"patch-{bed.number}": "x"}, repo="rita/shop")
    number = bed.gitea.open_pull("rita", f"patch-{bed.number}", head_owner="rita")
    pull = bed.scm.pull_request(bed.http, bed.repo, number)
    assert (pull.from_fork, pull.head, pull.author) == (True, head, "rita")
    forked_bed = Bed(bed.gitea, bed.scm, bed.repo, bed.http, number, "", head)
    comment = bed.gitea.say("olga", number, "/shift 5")
    with pytest.raises(Refused, match=f"pull request {number} comes from a fork"):
        forked_bed.ask(comment)
    assert forked_bed.ask(comment, Rules(forks=True)).by == "olga"


def test_what_is_asked_is_in_the_servers_own_description(bed: Bed) -> None:
    """The golden files' exchanges, held to the API description that this server publishes of itself."""
    document = requests.get(f"{bed.gitea.url}/swagger.v1.json", timeout=20).json()
    assert held_to("gitea", document) == []


# Attacks, with real users.


def test_commands_are_for_those_who_may(bed: Bed) -> None:
    assert bed.ask(bed.gitea.say("wendy", bed.number, "/shift 5")).role is Role.WRITE
    assert bed.ask(bed.gitea.say("olga", bed.number, "Looks good.\n\n/shift 5\n")).by == "olga"
    with pytest.raises(Refused, match="rita has the role read in acme/shop, and this needs write"):
        bed.ask(bed.gitea.say("rita", bed.number, "/shift 5"))


def test_attack_permission_was_taken_away_after_the_comment(bed: Bed) -> None:
    bed.gitea.add_user(name := f"temp-{bed.number}")
    bed.gitea.collaborate(name, "write")
    comment = bed.gitea.say(name, bed.number, "/shift 5")
    assert bed.ask(comment).by == name
    bed.gitea.collaborate(name, "read")
    with pytest.raises(Refused, match="has the role read"):
        bed.ask(comment)


def test_attack_push_between_comment_and_action(bed: Bed) -> None:
    comment = bed.gitea.say("olga", bed.number, "/promote")
    named = bed.gitea.say("olga", bed.number, f"/promote {bed.head[:8]}")
    assert bed.ask(comment).sha == bed.ask(named).sha == bed.head
    bed.push()
    for asked in (comment, named):
        with pytest.raises(Refused, match="review it and"):
            bed.ask(asked)


def test_attack_push_between_two_increases(bed: Bed) -> None:
    grant = bed.ask(bed.gitea.say("olga", bed.number, "/rollout"))
    still_pinned(bed.scm.pull_request(bed.http, bed.repo, bed.number), grant.sha)
    bed.push()
    with pytest.raises(Refused, match="in the meantime"):
        still_pinned(bed.scm.pull_request(bed.http, bed.repo, bed.number), grant.sha)


def test_attack_configuration_and_owners_changed_in_the_pull_request(bed: Bed) -> None:
    bed.gitea.commit("wendy", bed.branch, {".gitea/CODEOWNERS": "* @wendy\n"})
    own = Bed(bed.gitea, bed.scm, bed.repo, bed.http, bed.number, bed.branch, bed.head)
    own.head = bed.scm.pull_request(bed.http, bed.repo, bed.number).head
    assert read_base(bed.scm, bed.http, bed.repo, bed.scm.pull_request(bed.http, bed.repo, bed.number), "CODEOWNERS")
    with pytest.raises(Refused, match="wendy does not own"):
        own.ask(bed.gitea.say("wendy", bed.number, "/shift 5"), Rules(codeowners=True))
    assert own.ask(bed.gitea.say("olga", bed.number, "/shift 5"), Rules(codeowners=True)).by == "olga"


def test_attack_approving_ones_own_pull_request(bed: Bed) -> None:
    with pytest.raises(Refused, match="needs someone other than its author"):
        bed.ask(bed.gitea.say("wendy", bed.number, "/promote"), Rules(not_author=True))


def test_attack_override_of_a_freeze_without_the_right(bed: Bed) -> None:
    freeze = Freeze(name="sale", reason="the sale begins")
    with pytest.raises(Refused, match="wendy may not override sale"):
        bed.ask(bed.gitea.say("wendy", bed.number, "/shift 5 --override sale"), freezes=(freeze,))
    assert bed.ask(bed.gitea.say("olga", bed.number, "/shift 5 --override sale"), freezes=(freeze,)).override == "sale"


def test_attack_a_server_that_stopped_never_allows(bed: Bed) -> None:
    pull = bed.scm.pull_request(bed.http, bed.repo, bed.number)
    comment = bed.scm.comment(bed.http, bed.repo, bed.number, bed.gitea.say("olga", bed.number, "/promote"))
    (command,) = parse(comment.body)
    assert isinstance(command, Command)
    gone = Repository(url="http://127.0.0.1:9/api/v1", owner="acme", name="shop")
    with pytest.raises(
        Refused, match=r"/promote of olga is refused, since it can't be checked: .* could not be reached"
    ):
        check(bed.scm, Http(patience=0), gone, pull, comment, command, Rules(), deployed=bed.head)
