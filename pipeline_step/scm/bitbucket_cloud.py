"""Bitbucket Cloud.

Source: https://developer.atlassian.com/cloud/bitbucket/rest/. A user is known by UUID, since nicknames can be chosen.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Generic, TypeVar
from urllib.parse import quote

from msgspec import Struct, field

from pipeline_step.answer import server_message
from pipeline_step.errors import HttpError, Refused
from pipeline_step.scm import (
    MAX_PAGES,
    Approval,
    Comment,
    Compose,
    Deployment,
    PullRequest,
    Reaction,
    Repository,
    Role,
    State,
    Status,
    Time,
    hidden,
    hide,
    shorten,
    sticky,
    upsert,
)
from pipeline_step.scm.remote import Remote, owner_and_name
from pipeline_step.scm.shared import names, number_of, same_branch

if TYPE_CHECKING:
    from pipeline_step.http import Http

T = TypeVar("T")

COMMENT_LIMIT = 32_768
RENDERS_HTML = False
DESCRIPTION_LIMIT = 255
KEY_LIMIT = 40
PAGE = 100
MERGE_SECONDS = 20

STATES: Mapping[State, str] = {
    State.PENDING: "INPROGRESS",
    State.SUCCESS: "SUCCESSFUL",
    State.FAILURE: "FAILED",
    State.ERROR: "FAILED",
}
ROLES: Mapping[str, Role] = {
    "none": Role.NONE,
    "read": Role.READ,
    "write": Role.WRITE,
    "admin": Role.ADMIN,
}
UUID = re.compile(r"\{[0-9a-fA-F-]{36}\}")


class _Link(Struct):
    href: str


class _Links(Struct):
    html: _Link


class _Account(Struct):
    uuid: str
    display_name: str = ""


class _Commit(Struct):
    hash: str


class _Named(Struct):
    name: str


class _Repo(Struct):
    full_name: str


class _End(Struct):
    branch: _Named
    commit: _Commit | None = None
    repository: _Repo | None = None


class _Participant(Struct):
    user: _Account | None = None
    approved: bool = False


class _Pull(Struct):
    id: int
    title: str
    state: str
    source: _End
    destination: _End
    links: _Links
    author: _Account | None = None
    participants: list[_Participant] = field(default_factory=list)
    merge_commit: _Commit | None = None


class _Content(Struct):
    raw: str = ""


class _Comment(Struct):
    id: int
    created_on: Time
    updated_on: Time
    content: _Content
    links: _Links
    user: _Account | None = None
    deleted: bool = False


class _Path(Struct):
    path: str


class _Diff(Struct):
    old: _Path | None = None
    new: _Path | None = None


class _Permission(Struct):
    permission: str
    user: _Account


class _BranchHead(Struct):
    target: _Commit


class _Page(Struct, Generic[T]):
    values: list[T] = field(default_factory=list)
    next: str = ""


def repository(remote: Remote) -> Repository:
    """One API for all: the owner is the workspace."""
    return owner_and_name(remote, "https://api.bitbucket.org/2.0")


def credentials(repo: Repository, token: str) -> Mapping[str, Mapping[str, str]]:
    """EMAIL:TOKEN is an API token of a user; without a colon it is an access token."""
    if ":" in token:
        return {repo.url: {"Authorization": "Basic " + base64.b64encode(token.encode()).decode()}}
    return {repo.url: {"Authorization": f"Bearer {token}"} if token else {}}


def pull_request(http: Http, repo: Repository, number: int) -> PullRequest:
    """GET /pullrequests/{id}, then the commit, since the pull request tells only the start of its SHA."""
    return _pull(http, repo, http.get(f"{_repo(repo)}/pullrequests/{number}").decode(_Pull))


def _pull(http: Http, repo: Repository, pull: _Pull) -> PullRequest:
    source, target = pull.source, pull.destination
    merge_commit = pull.merge_commit.hash if pull.merge_commit and pull.state == "MERGED" else ""
    return PullRequest(
        number=pull.id,
        head=_full(http, repo, source),
        base=_full(http, repo, target),
        base_branch=target.branch.name,
        author=pull.author.uuid if pull.author else "",
        open=pull.state == "OPEN",
        from_fork=source.repository is None or source.repository != target.repository,
        labels=(),
        url=pull.links.html.href,
        title=pull.title,
        head_branch=source.branch.name,
        merged=pull.state == "MERGED",
        merge_commit=merge_commit,
    )


def _full(http: Http, repo: Repository, end: _End) -> str:
    if end.commit is None:
        return ""
    if len(end.commit.hash) == 40:
        return end.commit.hash
    name = end.repository.full_name if end.repository else str(repo)
    return http.get(f"{repo.url}/repositories/{quote(name)}/commit/{end.commit.hash}").decode(_Commit).hash


def changed_files(http: Http, repo: Repository, number: int) -> tuple[str, ...]:
    """GET /pullrequests/{id}/diffstat."""
    diffs = _pages(http, repo, f"{_repo(repo)}/pullrequests/{number}/diffstat", _Page[_Diff])
    return names((diff.new.path if diff.new else None, diff.old.path if diff.old else None) for diff in diffs)


def read_file(http: Http, repo: Repository, path: str, ref: str) -> bytes | None:
    """GET /src/{commit}/{path}; a branch is looked up first, since its name may hold a slash."""
    commit = ref
    if not re.fullmatch(r"[0-9a-f]{40}", ref):
        commit = http.get(f"{_repo(repo)}/refs/branches/{quote(ref)}").decode(_BranchHead).target.hash
    response = http.get(f"{_repo(repo)}/src/{commit}/{quote(path)}", accept=(200, 404))
    return response.body if response.status == 200 else None


def set_status(http: Http, repo: Repository, sha: str, status: Status) -> None:
    """POST /commit/{sha}/statuses/build, which replaces the one with the same key; a URL is needed."""
    key = status.context
    if len(key) > KEY_LIMIT:
        key = hashlib.sha256(key.encode()).hexdigest()[:KEY_LIMIT]
    body = {
        "key": key,
        "name": status.context,
        "state": STATES[status.state],
        "description": shorten(status.description, DESCRIPTION_LIMIT),
        "url": status.url or f"https://bitbucket.org/{repo.owner}/{repo.name}/commits/{sha}",
    }
    url = f"{_repo(repo)}/commit/{quote(sha, safe='')}/statuses/build"
    http.request("POST", url, json=body, idempotent=True)


def comments(http: Http, repo: Repository, number: int) -> tuple[Comment, ...]:
    """GET /pullrequests/{id}/comments, every page."""
    found = _pages(http, repo, f"{_repo(repo)}/pullrequests/{number}/comments", _Page[_Comment])
    return tuple(_comment(raw) for raw in found if not raw.deleted)


def comment(http: Http, repo: Repository, number: int, comment: str) -> Comment:
    """GET /pullrequests/{id}/comments/{id}."""
    response = http.get(
        f"{_repo(repo)}/pullrequests/{number}/comments/{number_of(comment, 'Bitbucket')}", accept=(200, 404)
    )
    raw = response.decode(_Comment) if response.status == 200 else None
    if raw is None or raw.deleted:
        raise Refused(f"comment {comment} is not on pull request {number} of {repo}")
    return _comment(raw)


def approvals(http: Http, repo: Repository, number: int) -> tuple[Approval, ...]:
    """GET /pullrequests/{id}, which tells who approves but not of which commit."""
    pull = http.get(f"{_repo(repo)}/pullrequests/{number}").decode(_Pull)
    return tuple(
        Approval(author=one.user.uuid, author_name=one.user.display_name, commit="", url=pull.links.html.href)
        for one in pull.participants
        if one.user and one.approved
    )


def upsert_comment(http: Http, repo: Repository, number: int, marker: str, compose: Compose) -> str:
    """PUT /pullrequests/{id}/comments/{id}, or POST /pullrequests/{id}/comments."""
    me = http.get(f"{repo.url}/user").decode(_Account).uuid
    url = f"{_repo(repo)}/pullrequests/{number}/comments"

    def create(text: str) -> str:
        return http.request("POST", url, json={"content": {"raw": text}}).decode(_Comment).links.html.href

    def update(comment: str, text: str) -> None:
        http.request("PUT", f"{url}/{comment}", json={"content": {"raw": text}})

    mine = sticky(comments(http, repo, number), hide(marker), me)
    return upsert(mine, hidden(marker, compose), create, update)


def react(http: Http, repo: Repository, number: int, comment: str, reaction: Reaction) -> None:
    """Bitbucket Cloud's API has no reactions."""


def role(http: Http, repo: Repository, user: str) -> Role:
    """GET /workspaces/{workspace}/permissions/repositories/{repo}; the token needs to be an administrator's."""
    if not UUID.fullmatch(user):
        raise Refused(f"{user!r} is not a user's UUID, by which Bitbucket Cloud knows users, such as {{01234567-...}}")
    owner, name = quote(repo.owner, safe=""), quote(repo.name, safe="")
    url = f"{repo.url}/workspaces/{owner}/permissions/repositories/{name}"
    answer = http.get(url, params={"q": f'user.uuid="{user}"'}).decode(_Page[_Permission])
    found = (ROLES.get(item.permission, Role.NONE) for item in answer.values if item.user.uuid == user)
    return max(found, default=Role.NONE)


def in_team(http: Http, repo: Repository, team: str, user: str) -> bool:
    """Bitbucket Cloud's API does not tell the members of a group."""
    raise Refused(f"who is in team {team!r} can't be told on Bitbucket Cloud; list the users instead")


def merge(http: Http, repo: Repository, number: int, head: str, title: str) -> str:
    """POST /pullrequests/{id}/merge, which takes no SHA: the head is checked right before, and again after."""
    before = pull_request(http, repo, number)
    if before.head != head:
        raise Refused(f"pull request {number} is at {before.head[:12]}, not at {head[:12]}: it is not merged")
    url = f"{_repo(repo)}/pullrequests/{number}/merge"
    response = http.request("POST", url, json={"message": title}, accept=(200, 202, 409))
    if response.status == 409:
        raise Refused(f"pull request {number} can't be merged at {head[:12]} any more: {server_message(response)}")
    after = pull_request(http, repo, number)
    for _ in range(MERGE_SECONDS):
        if after.merged:
            break
        http.sleep(1)
        after = pull_request(http, repo, number)
    if not after.merged:
        raise HttpError(f"Bitbucket took the merge of pull request {number}, but it is not merged yet")
    if after.head != head:
        raise HttpError(
            f"pull request {number} was merged at {after.head[:12]}, pushed in the instant after {head[:12]} was "
            f"checked: review or revert {after.merge_commit[:12]}"
        )
    return after.merge_commit


def create_branch(http: Http, repo: Repository, branch: str, sha: str) -> None:
    """POST /refs/branches; 400 says that it exists."""
    url = f"{_repo(repo)}/refs/branches"
    response = http.request("POST", url, json={"name": branch, "target": {"hash": sha}}, accept=(201, 400))
    if response.status == 201:
        return
    if "already exists" not in response.text and "BRANCH_ALREADY_EXISTS" not in response.text:
        raise HttpError(f"POST {response.url} answered 400 ({server_message(response)})", 400)
    there = http.get(f"{url}/{quote(branch)}").decode(_BranchHead).target.hash
    same_branch(repo, branch, there, sha)


def open_pull_request(
    http: Http, repo: Repository, branch: str, base_branch: str, title: str, body: str
) -> PullRequest:
    """POST /pullrequests, if none is open for the branch."""
    url = f"{_repo(repo)}/pullrequests"
    query = f'source.branch.name={_quoted(branch)} AND destination.branch.name={_quoted(base_branch)} AND state="OPEN"'
    for found in http.get(url, params={"q": query}).decode(_Page[_Pull]).values:
        if found.source.repository == found.destination.repository:
            return _pull(http, repo, found)
    ends = {"source": {"branch": {"name": branch}}, "destination": {"branch": {"name": base_branch}}}
    new = {"title": title, "description": body, "close_source_branch": True, **ends}
    return _pull(http, repo, http.request("POST", url, json=new).decode(_Pull))


def close_pull_request(http: Http, repo: Repository, number: int) -> None:
    """POST /pullrequests/{id}/decline."""
    http.request("POST", f"{_repo(repo)}/pullrequests/{number}/decline")


def add_labels(http: Http, repo: Repository, number: int, labels: Sequence[str]) -> None:
    """Bitbucket Cloud has no labels."""


def set_deployment(http: Http, repo: Repository, deployment: Deployment) -> None:
    """Bitbucket Cloud has deployments only inside its own pipelines."""


def _repo(repo: Repository) -> str:
    return f"{repo.url}/repositories/{quote(repo.owner, safe='')}/{quote(repo.name, safe='')}"


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _pages(http: Http, repo: Repository, url: str, shape: type[_Page[T]]) -> Iterator[T]:
    """Every item; a page tells the next one's address, which must be of the same API."""
    page = http.get(url, params={"pagelen": PAGE}).decode(shape)
    for _ in range(MAX_PAGES):
        yield from page.values
        if not page.next:
            return
        if not page.next.startswith(f"{repo.url}/"):
            raise HttpError(f"{url} continues at another server, which is not followed")
        page = http.get(page.next).decode(shape)
    raise HttpError(f"{url} has more than {MAX_PAGES} pages")


def _comment(raw: _Comment) -> Comment:
    return Comment(
        id=str(raw.id),
        author=raw.user.uuid if raw.user else "",
        author_name=raw.user.display_name if raw.user else "",
        body=raw.content.raw,
        created=raw.created_on.timestamp(),
        edited=raw.updated_on != raw.created_on,
        url=raw.links.html.href,
    )
