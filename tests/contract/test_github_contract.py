"""Every call of scm/github.py, held to the API descriptions that GitHub publishes.

The server answers with the examples of the description, so this also reads GitHub's own answers.
"""

from __future__ import annotations

import pytest

from pipeline_step.errors import HttpError, Refused
from pipeline_step.http import Http
from pipeline_step.scm import Deployment, DeploymentState, Reaction, Repository, Role, State, Status
from pipeline_step.scm import github as scm

pytestmark = pytest.mark.contract

SHA = "6dcb09b5b57875f334f61aebed695e2e4193db5e"


@pytest.fixture
def repo(github: str) -> Repository:
    return Repository(url=github, owner="octocat", name="Hello-World")


def session(repo: Repository, **more: str) -> Http:
    headers = scm.credentials(repo, "a-token")[repo.url]
    return Http(headers={repo.url: {**headers, **more}}, patience=0)


def preferring(repo: Repository, status: int) -> Http:
    """Ask the server for the description's example of another status."""
    return session(repo, Prefer=f"code={status}")


def test_the_server_does_refuse_what_breaks_the_contract(repo: Repository) -> None:
    http = session(repo)
    url = f"{repo.url}/repos/octocat/Hello-World"
    with pytest.raises(HttpError, match="must be equal to one of the allowed values") as caught:
        http.request("POST", f"{url}/statuses/{SHA}", json={"state": "great"})
    assert caught.value.status == 422
    with pytest.raises(HttpError, match="must NOT have additional properties"):
        http.request("POST", f"{url}/statuses/{SHA}", json={"state": "success", "colour": "green"})


def test_pull_request(repo: Repository) -> None:
    pull = scm.pull_request(session(repo), repo, 1347)
    assert (pull.number, pull.head, pull.base, pull.base_branch) == (1347, SHA, SHA, "master")
    assert (pull.author, pull.open, pull.merged, pull.from_fork) == ("octocat", True, False, False)
    assert pull.labels == ("bug",)
    assert pull.url == "https://github.com/octocat/Hello-World/pull/1347"


def test_changed_files(repo: Repository) -> None:
    assert scm.changed_files(session(repo), repo, 1347) == ("file1.txt",)


def test_read_file(repo: Repository) -> None:
    """The description's example is accepted as a file, but its base64 was cut short by its authors."""
    with pytest.raises(HttpError, match="is not a file of at most 1 MB"):
        scm.read_file(session(repo), repo, ".pipeline step.yaml", SHA)
    assert scm.read_file(preferring(repo, 404), repo, "missing", SHA) is None


@pytest.mark.parametrize("state", State)
def test_set_status(repo: Repository, state: State) -> None:
    status = Status(state=state, context="pipeline-step/app", description="x" * 500, url="https://example.com/1")
    scm.set_status(session(repo), repo, SHA, status)
    scm.set_status(session(repo), repo, SHA, Status(state=state, context="pipeline-step/app", description="", url=""))


def test_comments(repo: Repository) -> None:
    http = session(repo)
    (listed,) = scm.comments(http, repo, 1347)
    assert (listed.id, listed.author, listed.body) == ("1", "octocat", "Me too")
    assert scm.comment(http, repo, 1347, "1") == listed
    assert listed.edited is False
    with pytest.raises(Refused, match="comment 1 is not on pull request 5"):
        scm.comment(http, repo, 5, "1")


def test_upsert_comment_creates(repo: Repository) -> None:
    url = scm.upsert_comment(session(repo), repo, 1347, "<!-- marker -->", lambda before: "<!-- marker -->\nnews")
    assert url == "https://github.com/octocat/Hello-World/issues/1347#issuecomment-1"


def test_upsert_comment_updates(repo: Repository) -> None:
    """The example's own comment serves as ours: its body is the marker."""
    url = scm.upsert_comment(session(repo), repo, 1347, "Me too", lambda before: "news")
    assert url == "https://github.com/octocat/Hello-World/issues/1347#issuecomment-1"


@pytest.mark.parametrize("reaction", Reaction)
def test_react(repo: Repository, reaction: Reaction) -> None:
    scm.react(session(repo), repo, 1347, "1", reaction)


def test_role(repo: Repository) -> None:
    assert scm.role(session(repo), repo, "octocat") is Role.ADMIN
    assert scm.role(preferring(repo, 404), repo, "nobody") is Role.NONE


def test_in_team(repo: Repository) -> None:
    assert scm.in_team(session(repo), repo, "justice-league", "octocat") is True
    assert scm.in_team(session(repo), repo, "other-org/justice-league", "octocat") is True
    assert scm.in_team(preferring(repo, 404), repo, "justice-league", "nobody") is False


def test_merge(repo: Repository) -> None:
    assert scm.merge(session(repo), repo, 1347, SHA, "Promote it") == SHA
    with pytest.raises(Refused, match=r"pull request 1347 is no longer at 6dcb09b5b578"):
        scm.merge(preferring(repo, 409), repo, 1347, SHA, "Promote it")
    with pytest.raises(HttpError, match="405"):
        scm.merge(preferring(repo, 405), repo, 1347, SHA, "Promote it")


def test_create_branch(repo: Repository) -> None:
    scm.create_branch(session(repo), repo, "promote/app-1.2.3", SHA)


def test_open_pull_request(repo: Repository) -> None:
    pull = scm.open_pull_request(session(repo), repo, "promote", "master", "chore: promote", "why")
    assert pull.number == 1347


@pytest.mark.parametrize("state", DeploymentState)
@pytest.mark.parametrize("production", [False, True])
def test_set_deployment(repo: Repository, state: DeploymentState, production: bool) -> None:
    deployment = Deployment(
        sha=SHA,
        environment="pr-35",
        state=state,
        description="y" * 500,
        url="https://preview.example.com",
        log_url="https://logs.example.com/1" if production else "",
        production=production,
    )
    scm.set_deployment(session(repo), repo, deployment)
