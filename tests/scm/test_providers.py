"""The same scenarios on every provider, against a server that follows the provider's documented rules.

Each test's exchange with the server is held by a golden file: set UPDATE_GOLDEN=1 to write them anew.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from pipeline_step.errors import HttpError, Refused
from pipeline_step.http import Http
from pipeline_step.scm import (
    SCMS,
    Deployment,
    DeploymentState,
    Reaction,
    Repository,
    Role,
    Scm,
    State,
    Status,
    hide,
    merge_pinned,
)

from .providers import azure, bitbucket_cloud, bitbucket_dc, gitea, github, gitlab
from .server import TOKEN, Provider, Running, running
from .world import User, World, new_world, sha

GOLDEN = Path(__file__).parent / "golden"
MARKER = "<!-- pipeline-step:shop:5 -->"
SERVERS: dict[str, tuple[Callable[[World], Provider], str]] = {
    "azure": (azure.provider, "/org"),
    "bitbucket_cloud": (bitbucket_cloud.provider, "/2.0"),
    "bitbucket_dc": (bitbucket_dc.provider, "/rest"),
    "gitea": (gitea.provider, "/api/v1"),
    "github": (github.provider, ""),
    "gitlab": (gitlab.provider, "/api/v4"),
}
BY_UUID = {"azure": "{0}", "bitbucket_cloud": "{{{0}}}"}
NO_REACTIONS = {"bitbucket_cloud"}
NO_LABELS = {"bitbucket_cloud", "bitbucket_dc"}
NO_DEPLOYMENTS = {"azure", "bitbucket_cloud", "bitbucket_dc", "gitea"}
TELLS_COMMITS = {"bitbucket_dc", "gitea", "github"}
"""Providers that say which commit somebody approved."""
COARSE = {"azure", "bitbucket_cloud", "bitbucket_dc", "gitea"}
"""Providers that know only reading, writing and administering."""


@dataclass
class Case:
    """One provider with a world of its own behind it."""

    name: str
    world: World
    server: Running
    scm: Scm
    repo: Repository
    http: Http

    def id(self, user: User) -> str:
        """How the provider's API knows a user."""
        return BY_UUID[self.name].format(user.uuid) if self.name in BY_UUID else user.login

    def note(self, number: int) -> str:
        """How the provider's API knows a comment."""
        return f"{number}/1" if self.name == "azure" else str(number)

    def marked(self, text: str) -> str:
        """A body as the provider keeps it."""
        return text if self.scm.RENDERS_HTML else text.replace(MARKER, hide(MARKER))


@pytest.fixture(params=sorted(SERVERS))
def case(request: pytest.FixtureRequest) -> Iterator[Case]:
    name = request.param
    world = new_world()
    routes, path = SERVERS[name]
    scm = SCMS[name]()
    with running(routes(world)) as server:
        repo = Repository(url=server.url + path, owner="acme", name="shop")
        http = Http(headers=scm.credentials(repo, TOKEN), patience=0, sleep=lambda seconds: None)
        yield Case(name, world, server, scm, repo, http)
        check_golden(name, request.node.originalname, server)


def check_golden(provider: str, test: str, server: Running) -> None:
    """Compare the exchange with the golden file; very long ones have none."""
    if len(server.exchanges) > 30 or any(len(str(exchange["answer"])) > 10_000 for exchange in server.exchanges):
        return
    text = json.dumps(server.exchanges, indent=1, ensure_ascii=False).replace(server.url, "SERVER") + "\n"
    assert TOKEN not in text
    path = GOLDEN / provider / f"{test.removeprefix('test_')}.json"
    if os.environ.get("UPDATE_GOLDEN"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    assert path.read_text() == text


def test_pull_request(case: Case) -> None:
    pull = case.scm.pull_request(case.http, case.repo, 5)
    labels = () if case.name.startswith("bitbucket") else ("canary",)
    assert (pull.number, pull.head, pull.base, pull.base_branch) == (5, sha("five"), sha("main"), "main")
    assert (pull.author, pull.labels, pull.title) == (case.id(case.world.users["wendy"]), labels, "A change")
    assert (pull.open, pull.merged, pull.from_fork, pull.merge_commit) == (True, False, False, "")
    assert pull.head_branch == "feature"
    assert pull.url.startswith("http")
    assert "5" in pull.url


def test_pull_request_from_a_fork(case: Case) -> None:
    pull = case.scm.pull_request(case.http, case.repo, 6)
    assert pull.from_fork
    assert pull.head == sha("six")


def test_pull_request_that_is_merged(case: Case) -> None:
    pull = case.scm.pull_request(case.http, case.repo, 7)
    assert (pull.open, pull.merged) == (False, True)
    assert sha("merge", "seven").startswith(pull.merge_commit)
    assert len(pull.merge_commit) >= 12


def test_a_wrong_token_is_one_sentence(case: Case) -> None:
    http = Http(headers=case.scm.credentials(case.repo, "wrong"), patience=0)
    with pytest.raises(HttpError, match=r"answered 401 \(Bad credentials\); check that the token is set") as caught:
        case.scm.pull_request(http, case.repo, 5)
    assert caught.value.status == 401


def test_set_status(case: Case) -> None:
    """Every state, also twice, each with texts longer than any provider takes."""
    commit = sha("five")
    for state in (State.PENDING, State.PENDING, State.SUCCESS, State.FAILURE, State.ERROR, State.SUCCESS):
        status = Status(state=state, context="pipeline-step/shop", description="word " * 200, url="https://x.example/1")
        case.scm.set_status(case.http, case.repo, commit, status)
    ((where, _),) = case.world.statuses
    assert where == commit
    (last,) = case.world.statuses.values()
    assert last["description"].endswith("…")
    assert last["state"].lower().startswith("succe")


def test_set_status_with_long_names_and_without_a_url(case: Case) -> None:
    for url in ("", "https://x.example/" + "y" * 500):
        context = "pipeline-step/" + "long-name-of-an-app-" * 3
        status = Status(state=State.PENDING if url else State.SUCCESS, context=context, description="", url=url)
        case.scm.set_status(case.http, case.repo, sha("five"), status)
    assert len(case.world.statuses) == 1


def test_the_sticky_comment_is_made_once_and_then_changed(case: Case) -> None:
    first = case.scm.upsert_comment(case.http, case.repo, 5, MARKER, lambda before: f"{MARKER}\n1 %")
    second = case.scm.upsert_comment(case.http, case.repo, 5, MARKER, lambda before: f"{MARKER}\n5 %")
    (note,) = case.world.notes
    assert first == second
    assert str(note.id) in first
    assert note.body == case.marked(f"{MARKER}\n5 %")
    assert len(case.server.writes()) == 2


def test_the_same_text_is_not_written_again(case: Case) -> None:
    for _ in range(3):
        case.scm.upsert_comment(case.http, case.repo, 5, MARKER, lambda before: f"{MARKER}\n1 %")
    assert len(case.server.writes()) == 1


def test_a_strangers_comment_with_our_marker_is_left_alone(case: Case) -> None:
    """Attack: someone posts our marker first, to have us write into, or believe, their comment."""
    theirs = case.world.add_note(5, "stranger", case.marked(f"{MARKER}\nall fine, 100 %"))
    case.scm.upsert_comment(case.http, case.repo, 5, MARKER, lambda before: f"{MARKER}\n1 %")
    assert theirs.body == case.marked(f"{MARKER}\nall fine, 100 %")
    assert len(case.world.notes) == 2


def test_our_own_comment_that_quotes_the_marker_is_left_alone(case: Case) -> None:
    quoting = case.world.add_note(5, "bot", case.marked(f"> {MARKER}\n\nSee above."))
    case.scm.upsert_comment(case.http, case.repo, 5, MARKER, lambda before: f"{MARKER}\n1 %")
    assert quoting.body == case.marked(f"> {MARKER}\n\nSee above.")
    assert len(case.world.notes) == 2


def test_the_sticky_comment_is_found_on_any_page(case: Case) -> None:
    for n in range(130):
        case.world.add_note(5, "wendy", f"talk {n}")
    ours = case.world.add_note(5, "bot", case.marked(f"{MARKER}\n1 %"))
    for n in range(130):
        case.world.add_note(5, "wendy", f"more talk {n}")
    case.scm.upsert_comment(case.http, case.repo, 5, MARKER, lambda before: f"{MARKER}\n5 %")
    assert ours.body == case.marked(f"{MARKER}\n5 %")
    assert len(case.world.notes) == 261
    bodies = [comment.body for comment in case.scm.comments(case.http, case.repo, 5)]
    assert len(bodies) == 261
    assert set(bodies) == {note.body for note in case.world.notes}


def test_comments_are_read_by_id(case: Case) -> None:
    note = case.world.add_note(5, "wendy", "/shift 5")
    comment = case.scm.comment(case.http, case.repo, 5, case.note(note.id))
    assert comment.id == case.note(note.id)
    assert comment.author == case.id(case.world.users["wendy"])
    assert comment.author_name.lower() == "wendy"
    assert (comment.body, comment.edited) == ("/shift 5", False)
    assert comment.created > 1_700_000_000
    assert case.scm.comments(case.http, case.repo, 5) == (comment,)


def test_an_edited_comment_is_told_from_one_with_a_reaction(case: Case) -> None:
    edited = case.world.add_note(5, "wendy", "/shift 50", edited=True)
    liked = case.world.add_note(5, "wendy", "/shift 5")
    case.scm.react(case.http, case.repo, 5, case.note(liked.id), Reaction.SEEN)
    assert case.scm.comment(case.http, case.repo, 5, case.note(edited.id)).edited is True
    assert case.scm.comment(case.http, case.repo, 5, case.note(liked.id)).edited is False


def test_a_comment_of_another_pull_request_is_refused(case: Case) -> None:
    """Attack: a comment id from a pull request where the author may command."""
    note = case.world.add_note(6, "olga", "/shift 50")
    with pytest.raises(Refused, match=r"is not on (pull|merge) request 5 of acme/shop"):
        case.scm.comment(case.http, case.repo, 5, case.note(note.id))


@pytest.mark.parametrize("text", ["", "x", "../../user", "5?x=1", "1; rm"])
def test_a_comment_id_that_is_none_never_reaches_the_server(case: Case, text: str) -> None:
    with pytest.raises(Refused, match="is not the id of a comment"):
        case.scm.comment(case.http, case.repo, 5, text)
    assert case.server.exchanges == []


def test_react(case: Case) -> None:
    note = case.world.add_note(5, "wendy", "/shift 5")
    for reaction in (Reaction.SEEN, Reaction.SEEN, Reaction.DONE, Reaction.REFUSED):
        case.scm.react(case.http, case.repo, 5, case.note(note.id), reaction)
    expected = {"azure": 1, "bitbucket_cloud": 0}.get(case.name, 3)
    assert len(note.reactions) == expected


def test_role(case: Case) -> None:
    for user in case.world.users.values():
        wanted = user.role
        if case.name in COARSE:
            wanted = {Role.MAINTAIN: Role.WRITE, Role.TRIAGE: Role.READ}.get(wanted, wanted)
        assert case.scm.role(case.http, case.repo, case.id(user)) is wanted, user.login
    nobody = User("nobody", Role.NONE, 99)
    assert case.scm.role(case.http, case.repo, case.id(nobody)) is Role.NONE


def test_a_name_that_contains_anothers_has_only_its_own_role(case: Case) -> None:
    """Attack: an account called after part of an administrator's name, where the provider searches by substring."""
    impostor = case.world.users["ol"] = User("ol", Role.NONE, 77)
    assert case.scm.role(case.http, case.repo, case.id(impostor)) is Role.NONE


def test_in_team(case: Case) -> None:
    maria, wendy = (case.id(case.world.users[name]) for name in ("maria", "wendy"))
    if case.name == "bitbucket_cloud":
        with pytest.raises(Refused, match="can't be told on Bitbucket Cloud; list the users instead"):
            case.scm.in_team(case.http, case.repo, "operators", maria)
        return
    assert case.scm.in_team(case.http, case.repo, "operators", maria) is True
    assert case.scm.in_team(case.http, case.repo, "operators", wendy) is False


def test_a_team_that_does_not_exist_has_no_members(case: Case) -> None:
    maria = case.id(case.world.users["maria"])
    try:
        assert case.scm.in_team(case.http, case.repo, "ghosts", maria) is False
    except (HttpError, Refused):
        assert case.name in ("gitlab", "azure", "bitbucket_cloud")


def test_approvals_are_each_persons_last_word(case: Case) -> None:
    assert case.scm.approvals(case.http, case.repo, 5) == ()
    case.world.review(5, "olga", "approved")
    case.world.review(5, "maria", "rejected")
    case.world.review(5, "rita", "approved")
    case.world.push(5)
    case.world.review(5, "rita", "rejected")
    case.world.review(5, "maria", "approved")
    if case.name in ("github", "gitea"):
        case.world.review(5, "maria", "commented")
    found = case.scm.approvals(case.http, case.repo, 5)
    assert [one.author for one in found] == [case.id(case.world.users[name]) for name in ("olga", "maria")]
    assert all(one.author_name and one.url.startswith("http") for one in found)
    commits = [sha("five"), case.world.pulls[5].head]
    assert [one.commit for one in found] == (commits if case.name in TELLS_COMMITS else ["", ""])


def test_merge(case: Case) -> None:
    commit = merge_pinned(case.scm, case.http, case.repo, 5, sha("five"), "Promote shop")
    assert case.world.pulls[5].state == "merged"
    assert case.world.pulls[5].merge_commit.startswith(commit)
    assert len(commit) >= 12
    again = merge_pinned(case.scm, case.http, case.repo, 5, sha("five"), "Promote shop")
    assert again[:12] == commit[:12]


def test_merge_is_refused_when_the_head_has_moved(case: Case) -> None:
    case.world.push(5)
    with pytest.raises(Refused, match=f"not at {sha('five')[:12]}: it is not merged"):
        merge_pinned(case.scm, case.http, case.repo, 5, sha("five"), "Promote shop")
    assert case.world.pulls[5].state == "open"
    assert case.server.writes() == []


def test_merge_is_refused_when_the_head_moves_in_that_instant(case: Case) -> None:
    """The race: a push between the last look and the merge. Only Bitbucket Cloud can't refuse it, and says so."""
    case.world.push_before_merge = True
    error: type[Exception] = HttpError if case.name == "bitbucket_cloud" else Refused
    with pytest.raises(error) as caught:
        merge_pinned(case.scm, case.http, case.repo, 5, sha("five"), "Promote shop")
    if case.name == "bitbucket_cloud":
        assert "pushed in the instant after" in str(caught.value)
    else:
        assert case.world.pulls[5].state == "open"


def test_merge_of_a_closed_pull_request_is_refused(case: Case) -> None:
    case.world.pulls[5].state = "merged"
    case.world.pulls[5].merge_commit = sha("elsewhere")
    with pytest.raises((Refused, HttpError)):
        case.scm.merge(case.http, case.repo, 5, sha("five"), "Promote shop")


def test_create_branch(case: Case) -> None:
    case.scm.create_branch(case.http, case.repo, "promote/shop-1.2.3", sha("main"))
    assert case.world.branches["promote/shop-1.2.3"] == sha("main")
    case.scm.create_branch(case.http, case.repo, "promote/shop-1.2.3", sha("main"))
    with pytest.raises(Refused, match=r"branch promote/shop-1\.2\.3 of acme/shop"):
        case.scm.create_branch(case.http, case.repo, "promote/shop-1.2.3", sha("other"))
    assert case.world.branches["promote/shop-1.2.3"] == sha("main")


def test_open_pull_request(case: Case) -> None:
    case.world.branches["promote"] = sha("main")
    case.world.pulls[6].branch = "promote"
    first = case.scm.open_pull_request(case.http, case.repo, "promote", "main", "chore: promote", "Because.")
    again = case.scm.open_pull_request(case.http, case.repo, "promote", "main", "chore: promote", "Because.")
    assert (first.number, first.title, first.open) == (8, "chore: promote", True)
    assert again.number == 8
    assert not again.from_fork


def test_close_pull_request(case: Case) -> None:
    case.scm.close_pull_request(case.http, case.repo, 5)
    after = case.scm.pull_request(case.http, case.repo, 5)
    assert (after.open, after.merged) == (False, False)


def test_add_labels(case: Case) -> None:
    for labels in (("env/production", "canary"), ("env/production", "dependency/acme/shop")):
        case.scm.add_labels(case.http, case.repo, 5, labels)
    if case.name in NO_LABELS:
        assert case.server.exchanges == []
        return
    assert case.world.pulls[5].labels == ("canary", "env/production", "dependency/acme/shop")
    case.scm.add_labels(case.http, case.repo, 5, ())
    assert case.world.pulls[5].labels == ("canary", "env/production", "dependency/acme/shop")


def test_set_deployment(case: Case) -> None:
    for state in (DeploymentState.IN_PROGRESS, DeploymentState.IN_PROGRESS, DeploymentState.SUCCESS):
        deployment = Deployment(
            sha=sha("five"), environment="pr-5", state=state, description="d " * 100, url="https://pr-5.example.com"
        )
        case.scm.set_deployment(case.http, case.repo, deployment)
    if case.name in NO_DEPLOYMENTS:
        assert case.server.exchanges == []
        return
    (made,) = case.world.deployments
    assert (made["sha"], made["environment"], made["state"]) == (sha("five"), "pr-5", "success")
    assert made["url"] == "https://pr-5.example.com"
    gone = Deployment(sha=sha("five"), environment="pr-5", state=DeploymentState.INACTIVE, description="", url="")
    case.scm.set_deployment(case.http, case.repo, gone)
    assert case.world.deployments[0]["state"] == "inactive"


def test_read_file(case: Case) -> None:
    assert case.scm.read_file(case.http, case.repo, ".pipeline-step.yaml", "main") == b"app: shop\n"
    assert case.scm.read_file(case.http, case.repo, ".pipeline-step.yaml", sha("main")) == b"app: shop\n"
    assert case.scm.read_file(case.http, case.repo, "no such file", "main") is None


def test_changed_files(case: Case) -> None:
    assert set(case.scm.changed_files(case.http, case.repo, 5)) == {"src/app.py", "docs/new name.md", "docs/old.md"}


def test_changed_files_over_several_pages(case: Case) -> None:
    case.world.pulls[5].files = tuple((f"src/{n}.py", f"src/{n}.py") for n in range(250))
    assert len(case.scm.changed_files(case.http, case.repo, 5)) == 250


def test_files_that_are_not_all_listed_are_an_error() -> None:
    for name in ("github", "gitlab"):
        world = new_world()
        world.pulls[5].files = tuple((f"src/{n}.py", f"src/{n}.py") for n in range(4000))
        routes, path = SERVERS[name]
        scm = SCMS[name]()
        with running(routes(world)) as server:
            repo = Repository(url=server.url + path, owner="acme", name="shop")
            with pytest.raises(HttpError, match="list"):
                scm.changed_files(Http(headers=scm.credentials(repo, TOKEN), patience=0), repo, 5)


def test_every_status_has_a_word_in_every_table() -> None:
    for load in SCMS.values():
        module: Any = load()
        assert set(module.STATES) == set(State)


def test_an_apps_token_finds_its_comment_among_those_of_bots() -> None:
    """An app's token has no user: its comment is the bot's that has the marker, never a person's."""
    world = new_world()
    world.app_token = True
    world.users["bot"].login = "pipeline[bot]"
    theirs = world.add_note(5, "stranger", f"{MARKER}\nmine")
    scm = SCMS["github"]()
    with running(github.provider(world)) as server:
        repo = Repository(url=server.url, owner="acme", name="shop")
        http = Http(headers=scm.credentials(repo, TOKEN), patience=0)
        scm.upsert_comment(http, repo, 5, MARKER, lambda before: f"{MARKER}\n1 %")
        scm.upsert_comment(http, repo, 5, MARKER, lambda before: f"{MARKER}\n5 %")
    assert theirs.body == f"{MARKER}\nmine"
    assert [note.body for note in world.notes[1:]] == [f"{MARKER}\n5 %"]
