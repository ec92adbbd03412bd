"""Azure DevOps Services, and Azure DevOps Server.

Source: https://learn.microsoft.com/rest/api/azure/devops/ (7.1). `Repository.url` is the organisation's address and
its owner the project. A user is known by id. A comment's id is THREAD/COMMENT.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Generic, TypeVar
from urllib.parse import quote, urlsplit

from msgspec import Struct, field

from pipeline_step.errors import ConfigError, HttpError, Refused
from pipeline_step.scm import (
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
    every,
    shorten,
    sticky,
    upsert,
)
from pipeline_step.scm.remote import Remote

if TYPE_CHECKING:
    from pipeline_step.answer import Response
    from pipeline_step.http import Http

T = TypeVar("T")

COMMENT_LIMIT = 150_000
RENDERS_HTML = True
DESCRIPTION_LIMIT = 255
PAGE = 100
MERGE_SECONDS = 20
VERSION = "7.1"
APPROVED = 5  # a vote "with suggestions"; 10 is one without
NO_COMMIT = "0" * 40

STATES: Mapping[State, str] = {
    State.PENDING: "pending",
    State.SUCCESS: "succeeded",
    State.FAILURE: "failed",
    State.ERROR: "error",
}
GIT_NAMESPACE = "2e9eb7ed-3c0a-47d4-87c1-0ffdd275fd87"
BITS: tuple[tuple[int, Role], ...] = (
    (8192, Role.ADMIN),
    (4, Role.WRITE),
    (2, Role.READ),
)
"""Bits of the namespace "Git Repositories": ManagePermissions, GenericContribute, GenericRead."""


class _Identity(Struct):
    id: str
    displayName: str = ""  # noqa: N815


class _Commit(Struct):
    commitId: str  # noqa: N815


class _Label(Struct):
    name: str
    active: bool = True


class _Named(Struct):
    id: str


class _Repo(Struct):
    id: str
    project: _Named


class _Fork(Struct):
    name: str = ""


class _Reviewer(_Identity):
    vote: int = 0
    isContainer: bool = False  # noqa: N815


class _Pull(Struct):
    pullRequestId: int  # noqa: N815
    title: str
    status: str
    sourceRefName: str  # noqa: N815
    targetRefName: str  # noqa: N815
    repository: _Repo
    createdBy: _Identity | None = None  # noqa: N815
    reviewers: list[_Reviewer] = field(default_factory=list)
    lastMergeSourceCommit: _Commit | None = None  # noqa: N815
    lastMergeTargetCommit: _Commit | None = None  # noqa: N815
    lastMergeCommit: _Commit | None = None  # noqa: N815
    forkSource: _Fork | None = None  # noqa: N815
    labels: list[_Label] | None = None
    mergeFailureMessage: str = ""  # noqa: N815


class _Iteration(Struct):
    id: int
    sourceRefCommit: _Commit | None = None  # noqa: N815


class _Item(Struct):
    path: str = ""


class _Change(Struct):
    item: _Item | None = None
    originalPath: str = ""  # noqa: N815


class _Changes(Struct):
    changeEntries: list[_Change] = field(default_factory=list)  # noqa: N815
    nextSkip: int = 0  # noqa: N815


class _Comment(Struct):
    id: int
    publishedDate: Time  # noqa: N815
    content: str = ""
    author: _Identity | None = None
    commentType: str = ""  # noqa: N815
    lastContentUpdatedDate: Time | None = None  # noqa: N815
    isDeleted: bool = False  # noqa: N815


class _Thread(Struct):
    id: int
    comments: list[_Comment] | None = None
    isDeleted: bool = False  # noqa: N815


class _Connection(Struct):
    authenticatedUser: _Identity  # noqa: N815


class _Descriptor(Struct):
    descriptor: str


class _Extended(Struct):
    effectiveAllow: int = 0  # noqa: N815
    effectiveDeny: int = 0  # noqa: N815


class _Entry(Struct):
    allow: int = 0
    deny: int = 0
    extendedInfo: _Extended | None = None  # noqa: N815


class _Acl(Struct):
    acesDictionary: dict[str, _Entry] = field(default_factory=dict)  # noqa: N815


class _Member(Struct):
    identity: _Identity


class _RefUpdate(Struct):
    success: bool
    updateStatus: str = ""  # noqa: N815


class _Ref(Struct):
    name: str
    objectId: str  # noqa: N815


class _List(Struct, Generic[T]):
    value: list[T] = field(default_factory=list)


def repository(remote: Remote) -> Repository:
    """PROJECT/_git/NAME after the organisation, v3/ORGANISATION/PROJECT/NAME over SSH."""
    host = remote.host
    match remote.path:
        case ("v3", organisation, project, name):
            server = f"https://dev.azure.com/{organisation}"
        case (organisation, project, "_git", name) if host == "dev.azure.com":
            server = f"{remote.server}/{organisation}"
        case ("DefaultCollection", project, "_git", name) | (project, "_git", name) if host.endswith(
            "visualstudio.com"
        ):
            server = f"https://dev.azure.com/{host.partition('.')[0]}"
        case (*collection, project, "_git", name) if collection:
            server = "/".join([remote.server, *collection])
        case _:
            raise ConfigError(f"the Git remote {remote} does not end in ORGANISATION/PROJECT/_git/NAME")
    return Repository(url=server, owner=project, name=name)


def credentials(repo: Repository, token: str) -> Mapping[str, Mapping[str, str]]:
    """A personal access token is a password without a user; System.AccessToken and Entra's are bearers (JWT)."""
    if not token:
        return {}
    jwt = token.startswith("eyJ") and token.count(".") == 2
    value = f"Bearer {token}" if jwt else "Basic " + base64.b64encode(f":{token}".encode()).decode()
    return {url: {"Authorization": value} for url in (repo.url, _identities(repo))}


def pull_request(http: Http, repo: Repository, number: int) -> PullRequest:
    """GET /pullrequests/{id}."""
    return _pull(repo, _read(http, repo, number))


def _read(http: Http, repo: Repository, number: int) -> _Pull:
    return _get(http, f"{_repo(repo)}/pullrequests/{number}").decode(_Pull)


def _pull(repo: Repository, pull: _Pull) -> PullRequest:
    merged = pull.status == "completed"
    return PullRequest(
        number=pull.pullRequestId,
        head=pull.lastMergeSourceCommit.commitId if pull.lastMergeSourceCommit else "",
        base=pull.lastMergeTargetCommit.commitId if pull.lastMergeTargetCommit else "",
        base_branch=pull.targetRefName.removeprefix("refs/heads/"),
        author=pull.createdBy.id if pull.createdBy else "",
        open=pull.status == "active",
        from_fork=pull.forkSource is not None,
        labels=tuple(label.name for label in pull.labels or () if label.active),
        url=_page_of(repo, pull.pullRequestId),
        title=pull.title,
        head_branch=pull.sourceRefName.removeprefix("refs/heads/"),
        merged=merged,
        merge_commit=pull.lastMergeCommit.commitId if merged and pull.lastMergeCommit else "",
    )


def changed_files(http: Http, repo: Repository, number: int) -> tuple[str, ...]:
    """GET /pullRequests/{id}/iterations/{last}/changes; paths begin with a slash there."""
    iterations = _iterations(http, repo, number)
    if not iterations:
        raise HttpError(f"pull request {number} has no iteration that tells its changes")
    url = f"{_repo(repo)}/pullRequests/{number}/iterations/{iterations[-1].id}/changes"

    def page(skip: int) -> tuple[list[_Change], int | None]:
        answer = _get(http, url, {"$top": PAGE, "$skip": skip}).decode(_Changes)
        return answer.changeEntries, answer.nextSkip or None

    paths = (
        path for change in every(page, 0) for path in (change.item.path if change.item else "", change.originalPath)
    )
    return tuple(dict.fromkeys(path.removeprefix("/") for path in paths if path))


def read_file(http: Http, repo: Repository, path: str, ref: str) -> bytes | None:
    """GET /items."""
    kind = "commit" if len(ref) == 40 and set(ref) <= set("0123456789abcdef") else "branch"
    params = {"path": f"/{path}", "versionDescriptor.version": ref, "versionDescriptor.versionType": kind}
    url = f"{_repo(repo)}/items"
    query = {**params, "$format": "octetStream", "api-version": VERSION}
    response = http.get(url, params=query, accept=(200, 404))
    return response.body if response.status == 200 else None


def set_status(http: Http, repo: Repository, sha: str, status: Status) -> None:
    """POST /pullRequests/{id}/statuses at the iteration of that commit, or the commit's own where none is open."""
    genre, _, name = status.context.rpartition("/")
    body: dict[str, object] = {
        "state": STATES[status.state],
        "description": shorten(status.description, DESCRIPTION_LIMIT),
        "context": {"genre": genre, "name": name},
    }
    if status.url:
        body["targetUrl"] = status.url
    url = f"{_repo(repo)}/commits/{quote(sha, safe='')}/statuses"
    for pull in _open_pulls(http, repo):
        if pull.lastMergeSourceCommit and pull.lastMergeSourceCommit.commitId == sha:
            url = f"{_repo(repo)}/pullRequests/{pull.pullRequestId}/statuses"
            same = [item for item in _iterations(http, repo, pull.pullRequestId) if _is_at(item, sha)]
            body.update({"iterationId": same[-1].id} if same else {})
            break
    http.request("POST", _versioned(url), json=body)


def comments(http: Http, repo: Repository, number: int) -> tuple[Comment, ...]:
    """GET /pullRequests/{id}/threads, without what the server itself wrote."""
    threads = _get(http, f"{_repo(repo)}/pullRequests/{number}/threads").decode(_List[_Thread]).value
    found = [
        _comment(repo, number, thread.id, raw)
        for thread in threads
        for raw in thread.comments or ()
        if not (thread.isDeleted or raw.isDeleted or raw.commentType == "system")
    ]
    return tuple(sorted(found, key=lambda comment: comment.created))


def comment(http: Http, repo: Repository, number: int, comment: str) -> Comment:
    """GET /pullRequests/{id}/threads/{thread}/comments/{comment}."""
    thread, _ = ids = _ids(comment)
    response = _get(http, _comment_url(repo, number, *ids), missing=True)
    raw = response.decode(_Comment) if response.status == 200 else None
    if raw is None or raw.isDeleted or raw.commentType == "system":
        raise Refused(f"comment {comment} is not on pull request {number} of {repo}")
    return _comment(repo, number, thread, raw)


def approvals(http: Http, repo: Repository, number: int) -> tuple[Approval, ...]:
    """GET /pullrequests/{id}: votes, without those of groups; which commit they are of is not told."""
    return tuple(
        Approval(author=one.id, author_name=one.displayName, commit="", url=_page_of(repo, number))
        for one in _read(http, repo, number).reviewers
        if one.vote >= APPROVED and not one.isContainer
    )


def upsert_comment(http: Http, repo: Repository, number: int, marker: str, compose: Compose) -> str:
    """PATCH the comment, or POST a thread, closed so that nobody has to resolve it."""
    me = _get(http, f"{repo.url}/_apis/connectionData", version="7.1-preview").decode(_Connection)

    def create(body: str) -> str:
        new = {"comments": [{"parentCommentId": 0, "content": body, "commentType": "text"}], "status": "closed"}
        url = _versioned(f"{_repo(repo)}/pullRequests/{number}/threads")
        return _thread_page(repo, number, http.request("POST", url, json=new).decode(_Thread).id)

    def update(comment: str, body: str) -> None:
        url = _versioned(_comment_url(repo, number, *_ids(comment)))
        http.request("PATCH", url, json={"content": body}, idempotent=True)

    mine = sticky(comments(http, repo, number), marker, me.authenticatedUser.id)
    return upsert(mine, compose, create, update)


def react(http: Http, repo: Repository, number: int, comment: str, reaction: Reaction) -> None:
    """POST /likes: there is no other reaction, so a refusal has none."""
    if reaction is not Reaction.REFUSED:
        http.request("POST", _versioned(f"{_comment_url(repo, number, *_ids(comment))}/likes"), idempotent=True)


def role(http: Http, repo: Repository, user: str) -> Role:
    """The access control list of the repository, with what the user has through groups and the project."""
    found = _get(http, f"{_identities(repo)}/_apis/identities", {"identityIds": user}).decode(_List[_Descriptor | None])
    if len(found.value) != 1 or found.value[0] is None:
        return Role.NONE
    place = _get(http, _repo(repo)).decode(_Repo)
    params: dict[str, str | int] = {
        "token": f"repoV2/{place.project.id}/{place.id}",
        "descriptors": found.value[0].descriptor,
        "includeExtendedInfo": "true",
    }
    lists = _get(http, f"{repo.url}/_apis/accesscontrollists/{GIT_NAMESPACE}", params).decode(_List[_Acl])
    entry = next((acl.acesDictionary.get(found.value[0].descriptor) for acl in lists.value), None)
    if entry is None:
        return Role.NONE
    allowed, denied = entry.allow, entry.deny
    if entry.extendedInfo:
        allowed, denied = allowed | entry.extendedInfo.effectiveAllow, denied | entry.extendedInfo.effectiveDeny
    return next((role for bit, role in BITS if allowed & ~denied & bit), Role.NONE)


def in_team(http: Http, repo: Repository, team: str, user: str) -> bool:
    """GET /projects/{project}/teams/{team}/members; the team may be PROJECT/TEAM."""
    project, _, name = team.rpartition("/")
    url = f"{repo.url}/_apis/projects/{quote(project or repo.owner, safe='')}/teams/{quote(name, safe='')}/members"

    def page(skip: int) -> tuple[list[_Member], int | None]:
        members = _get(http, url, {"$top": PAGE, "$skip": skip}).decode(_List[_Member]).value
        return members, skip + PAGE if len(members) == PAGE else None

    return any(member.identity.id == user for member in every(page, 0))


def merge(http: Http, repo: Repository, number: int, head: str, title: str) -> str:
    """PATCH /pullrequests/{id} to completed at the head's SHA, which the server does a little later."""
    before = pull_request(http, repo, number)
    if before.head != head:
        raise Refused(f"pull request {number} is at {before.head[:12]}, not at {head[:12]}: it is not merged")
    body = {
        "status": "completed",
        "lastMergeSourceCommit": {"commitId": head},
        "completionOptions": {"mergeCommitMessage": title},
    }
    url = _versioned(f"{_repo(repo)}/pullrequests/{number}")
    response = http.request("PATCH", url, json=body, accept=(200, 409))
    if response.status == 409:
        raise Refused(f"pull request {number} is no longer at {head[:12]}: it is not merged")
    pull = response.decode(_Pull)
    for _ in range(MERGE_SECONDS):
        if pull.status != "active" or pull.mergeFailureMessage:
            break
        http.sleep(1)
        pull = _read(http, repo, number)
    if pull.status != "completed":
        why = pull.mergeFailureMessage or "a policy may be missing"
        raise HttpError(f"Azure DevOps took the merge of pull request {number}, but it is not merged yet: {why}")
    return _pull(repo, pull).merge_commit


def create_branch(http: Http, repo: Repository, branch: str, sha: str) -> None:
    """POST /refs."""
    name = f"refs/heads/{branch}"
    body = [{"name": name, "oldObjectId": NO_COMMIT, "newObjectId": sha}]
    done = http.request("POST", _versioned(f"{_repo(repo)}/refs"), json=body).decode(_List[_RefUpdate]).value
    if done and done[0].success:
        return
    there = _get(http, f"{_repo(repo)}/refs", {"filter": f"heads/{branch}"}).decode(_List[_Ref]).value
    if not any(ref.name == name and ref.objectId == sha for ref in there):
        raise Refused(
            f"branch {branch} of {repo} can't be created at {sha[:12]}: {done[0].updateStatus if done else ''}"
        )


def open_pull_request(
    http: Http, repo: Repository, branch: str, base_branch: str, title: str, body: str
) -> PullRequest:
    """POST /pullrequests, if none is open for the branch."""
    source, target = f"refs/heads/{branch}", f"refs/heads/{base_branch}"
    for pull in _open_pulls(http, repo):
        if (pull.sourceRefName, pull.targetRefName, pull.forkSource) == (source, target, None):
            return _pull(repo, pull)
    new = {"sourceRefName": source, "targetRefName": target, "title": title, "description": shorten(body, 4000)}
    return _pull(repo, http.request("POST", _versioned(f"{_repo(repo)}/pullrequests"), json=new).decode(_Pull))


def close_pull_request(http: Http, repo: Repository, number: int) -> None:
    """PATCH /pullrequests/{id} to abandoned."""
    url = _versioned(f"{_repo(repo)}/pullrequests/{number}")
    http.request("PATCH", url, json={"status": "abandoned"}, idempotent=True)


def add_labels(http: Http, repo: Repository, number: int, labels: Sequence[str]) -> None:
    """POST /pullRequests/{id}/labels, one by one; one that it has already stays."""
    for name in labels:
        url = _versioned(f"{_repo(repo)}/pullRequests/{number}/labels")
        http.request("POST", url, json={"name": name}, idempotent=True)


def set_deployment(http: Http, repo: Repository, deployment: Deployment) -> None:
    """Azure DevOps has deployments only inside its own pipelines."""


def _repo(repo: Repository) -> str:
    return f"{repo.url}/{quote(repo.owner, safe='')}/_apis/git/repositories/{quote(repo.name, safe='')}"


def _identities(repo: Repository) -> str:
    """Where users are looked up: a host of its own for the service, the same collection for the server."""
    parts = urlsplit(repo.url)
    return f"https://vssps.dev.azure.com{parts.path}" if parts.hostname == "dev.azure.com" else repo.url


def _page_of(repo: Repository, number: int) -> str:
    return f"{repo.url}/{quote(repo.owner)}/_git/{quote(repo.name)}/pullrequest/{number}"


def _thread_page(repo: Repository, number: int, thread: int) -> str:
    return f"{_page_of(repo, number)}?discussionId={thread}"


def _versioned(url: str) -> str:
    return f"{url}?api-version={VERSION}"


def _get(
    http: Http,
    url: str,
    params: Mapping[str, str | int] | None = None,
    *,
    version: str = VERSION,
    missing: bool = False,
) -> Response:
    accept = (200, 404) if missing else (200,)
    return http.get(url, params={**(params or {}), "api-version": version}, accept=accept)


def _open_pulls(http: Http, repo: Repository) -> Iterator[_Pull]:
    def page(skip: int) -> tuple[list[_Pull], int | None]:
        params: dict[str, str | int] = {"searchCriteria.status": "active", "$top": PAGE, "$skip": skip}
        pulls = _get(http, f"{_repo(repo)}/pullrequests", params).decode(_List[_Pull]).value
        return pulls, skip + PAGE if len(pulls) == PAGE else None

    return every(page, 0)


def _iterations(http: Http, repo: Repository, number: int) -> list[_Iteration]:
    return _get(http, f"{_repo(repo)}/pullRequests/{number}/iterations").decode(_List[_Iteration]).value


def _is_at(iteration: _Iteration, sha: str) -> bool:
    return iteration.sourceRefCommit is not None and iteration.sourceRefCommit.commitId == sha


def _ids(comment: str) -> tuple[int, int]:
    thread, _, number = comment.partition("/")
    try:
        return int(thread), int(number or 1)
    except ValueError:
        raise Refused(f"{comment!r} is not the id of a comment: Azure DevOps' are THREAD/COMMENT") from None


def _comment_url(repo: Repository, number: int, thread: int, comment: int) -> str:
    return f"{_repo(repo)}/pullRequests/{number}/threads/{thread}/comments/{comment}"


def _comment(repo: Repository, number: int, thread: int, raw: _Comment) -> Comment:
    changed = raw.lastContentUpdatedDate
    return Comment(
        id=f"{thread}/{raw.id}",
        author=raw.author.id if raw.author else "",
        author_name=raw.author.displayName if raw.author else "",
        body=raw.content,
        created=raw.publishedDate.timestamp(),
        edited=changed is not None and changed != raw.publishedDate,
        url=_thread_page(repo, number, thread),
    )
