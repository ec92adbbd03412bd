"""Azure DevOps, as https://learn.microsoft.com/rest/api/azure/devops/ describes version 7.1."""

from __future__ import annotations

import base64
from typing import Any

from pipeline_step.scm import Role

from ..server import TOKEN, Answer, Provider, Request
from ..world import Note, Pull, User, World, sha

REPO = "/org/acme/_apis/git/repositories/shop"
STATES = ("notSet", "pending", "succeeded", "failed", "error", "notApplicable")
GIT_NAMESPACE = "2e9eb7ed-3c0a-47d4-87c1-0ffdd275fd87"
BITS = {Role.ADMIN: 8192 | 4 | 2, Role.MAINTAIN: 4 | 2, Role.WRITE: 4 | 2, Role.TRIAGE: 2, Role.READ: 2}


def provider(world: World) -> Provider:
    """The routes of one repository in project `acme` of organisation `org`."""
    azure = Provider("azure", "Basic " + base64.b64encode(f":{TOKEN}".encode()).decode())
    real_answer = azure.answer

    def answer(request: Request) -> Answer:
        if not request.query.pop("api-version", "").startswith("7.1"):
            return Answer(400, {"message": "No api-version was supplied"})
        return real_answer(request)

    azure.answer = answer  # type: ignore[method-assign]

    def identity(user: User) -> dict[str, Any]:
        return {"id": user.uuid, "displayName": user.login.title(), "uniqueName": f"{user.login}@example.com"}

    def pull_json(pull: Pull) -> dict[str, Any]:
        answer = {
            "pullRequestId": pull.number,
            "title": pull.title,
            "status": {"open": "active", "merged": "completed", "closed": "abandoned"}[pull.state],
            "createdBy": identity(pull.author),
            "sourceRefName": f"refs/heads/{pull.branch}",
            "targetRefName": f"refs/heads/{pull.base_branch}",
            "repository": {"id": "r-1", "name": "shop", "project": {"id": "p-1", "name": "acme"}},
            "lastMergeSourceCommit": {"commitId": pull.head},
            "lastMergeTargetCommit": {"commitId": sha("main")},
            "labels": [{"id": "l-1", "name": name, "active": True} for name in pull.labels],
        }
        if pull.reviews:
            team = {"id": "t-1", "displayName": "Operators", "isContainer": True, "vote": 10}
            votes = {"approved": 10, "rejected": -10}
            answer["reviewers"] = [team]
            answer["reviewers"] += [{**identity(one.author), "vote": votes[one.word]} for one in pull.last_words()]
        if pull.fork:
            answer["forkSource"] = {"name": f"refs/heads/{pull.branch}", "repository": {"id": "r-2"}}
        if pull.merge_commit:
            answer["lastMergeCommit"] = {"commitId": pull.merge_commit}
        return answer

    def note_json(note: Note) -> dict[str, Any]:
        return {
            "id": 1,
            "parentCommentId": 0,
            "author": identity(note.author),
            "content": note.body,
            "publishedDate": "2026-11-01T09:00:00.1Z",
            "lastUpdatedDate": "2026-11-01T09:00:00.1Z",
            "lastContentUpdatedDate": "2026-11-01T09:05:00.1Z" if note.edited else "2026-11-01T09:00:00.1Z",
            "commentType": "text",
            "usersLiked": [],
        }

    def thread_json(note: Note) -> dict[str, Any]:
        return {"id": note.id, "comments": [note_json(note)], "status": "closed", "isDeleted": False}

    def note_of(number: str, thread: str) -> Note:
        note = world.find_note(thread)
        if note is None or note.pull != int(number):
            raise Answer(404, {"message": f"TF401180: The requested thread {thread} was not found."})
        return note

    def listed(items: list[Any]) -> dict[str, Any]:
        return {"count": len(items), "value": items}

    def paged(request: Request, items: list[Any]) -> dict[str, Any]:
        return listed(items[int(request.query["$skip"]) :][: int(request.query["$top"])])

    @azure.route("GET", "/org/_apis/connectionData")
    def connection(request: Request) -> Any:
        return {"authenticatedUser": identity(world.bot)}

    @azure.route("GET", REPO)
    def repository(request: Request) -> Any:
        return {"id": "r-1", "name": "shop", "project": {"id": "p-1", "name": "acme"}}

    @azure.route("GET", f"{REPO}/pullrequests/{{number}}")
    def pull(request: Request, number: str) -> Any:
        return pull_json(world.pulls[int(number)])

    @azure.route("GET", f"{REPO}/pullrequests")
    def pulls(request: Request) -> Any:
        request.only("searchCriteria.status", "$top", "$skip")
        return paged(request, [pull_json(p) for p in world.pulls.values() if p.state == "open"])

    @azure.route("GET", f"{REPO}/pullRequests/{{number}}/iterations")
    def iterations(request: Request, number: str) -> Any:
        older = {"id": 1, "sourceRefCommit": {"commitId": sha("older")}}
        return listed([older, {"id": 2, "sourceRefCommit": {"commitId": world.pulls[int(number)].head}}])

    @azure.route("GET", f"{REPO}/pullRequests/{{number}}/iterations/2/changes")
    def changes(request: Request, number: str) -> Any:
        request.only("$top", "$skip", "$compareTo")
        found = [
            {"changeId": n, "item": {"path": f"/{new}"}, "changeType": "edit"}
            | ({} if new == old else {"originalPath": f"/{old}", "changeType": "rename"})
            for n, (new, old) in enumerate(world.pulls[int(number)].files)
        ]
        skip, top = int(request.query["$skip"]), int(request.query["$top"])
        more = len(found) > skip + top
        return {
            "changeEntries": found[skip:][:top],
            "nextSkip": skip + top if more else 0,
            "nextTop": top if more else 0,
        }

    @azure.route("GET", f"{REPO}/items")
    def items(request: Request) -> Any:
        request.only("path", "versionDescriptor.version", "versionDescriptor.versionType", "$format")
        found = world.contents.get(request.query["path"].removeprefix("/"))
        return found or Answer(404, {"message": "TF401174: The item could not be found in the repository."})

    def add_status(request: Request, commit: str, optional: str) -> Any:
        body = request.fields("state context", f"description targetUrl {optional}")
        if body["state"] not in STATES or not body["context"]["name"]:
            return Answer(400, {"message": "The status is not valid"})
        world.statuses[commit, f"{body['context']['genre']}/{body['context']['name']}"] = body
        return {"id": 1, **body}

    @azure.route("POST", f"{REPO}/commits/{{commit}}/statuses")
    def status(request: Request, commit: str) -> Any:
        return add_status(request, commit, "")

    @azure.route("POST", f"{REPO}/pullRequests/{{number}}/statuses")
    def pull_status(request: Request, number: str) -> Any:
        if request.body.get("iterationId") != 2:
            return Answer(400, {"message": "The status would be for another iteration"})
        return add_status(request, world.pulls[int(number)].head, "iterationId")

    @azure.route("GET", f"{REPO}/pullRequests/{{number}}/threads")
    def threads(request: Request, number: str) -> Any:
        vote = {**note_json(Note(1, world.bot, "Bot voted 10", int(number))), "commentType": "system"}
        found = [thread_json(note) for note in world.notes if note.pull == int(number)]
        return listed([{"id": 1, "comments": [vote], "isDeleted": False}, *found])

    @azure.route("POST", f"{REPO}/pullRequests/{{number}}/threads")
    def add_thread(request: Request, number: str) -> Any:
        (new,) = request.fields("comments", "status threadContext properties")["comments"]
        return thread_json(world.add_note(int(number), "bot", new["content"]))

    @azure.route("GET", f"{REPO}/pullRequests/{{number}}/threads/{{thread}}/comments/{{id}}")
    def comment(request: Request, number: str, thread: str, id: str) -> Any:  # noqa: A002
        return note_json(note_of(number, thread))

    @azure.route("PATCH", f"{REPO}/pullRequests/{{number}}/threads/{{thread}}/comments/{{id}}")
    def change_comment(request: Request, number: str, thread: str, id: str) -> Any:  # noqa: A002
        note = note_of(number, thread)
        note.body, note.edited = request.fields("content")["content"], True
        return note_json(note)

    @azure.route("POST", f"{REPO}/pullRequests/{{number}}/threads/{{thread}}/comments/{{id}}/likes")
    def like(request: Request, number: str, thread: str, id: str) -> Any:  # noqa: A002
        note = note_of(number, thread)
        note.reactions += [] if (world.bot.login, "like") in note.reactions else [(world.bot.login, "like")]
        return Answer(200)

    @azure.route("GET", "/org/_apis/identities")
    def identities(request: Request) -> Any:
        found = [user for user in world.users.values() if user.uuid == request.query["identityIds"]]
        return listed([{"id": user.uuid, "descriptor": f"claims;{user.login}"} for user in found] or [None])

    @azure.route("GET", f"/org/_apis/accesscontrollists/{GIT_NAMESPACE}")
    def access(request: Request) -> Any:
        request.only("token", "descriptors", "includeExtendedInfo")
        assert request.query["token"] == "repoV2/p-1/r-1"
        descriptor = request.query["descriptors"]
        user = world.users[descriptor.partition(";")[2]]
        entry = {"descriptor": descriptor, "allow": 0, "deny": 0}
        if user.role in BITS:
            entry["extendedInfo"] = {"effectiveAllow": BITS[user.role], "inheritedAllow": BITS[user.role]}
        return listed([{"token": request.query["token"], "acesDictionary": {descriptor: entry}}])

    @azure.route("GET", "/org/_apis/projects/{project}/teams/{team}/members")
    def members(request: Request, project: str, team: str) -> Any:
        if team not in world.teams:
            return Answer(404, {"message": f"The team with id '{team}' does not exist."})
        return paged(request, [{"identity": identity(world.users[login])} for login in world.teams[team]])

    @azure.route("PATCH", f"{REPO}/pullrequests/{{number}}")
    def complete(request: Request, number: str) -> Any:
        body = request.fields("status", "lastMergeSourceCommit completionOptions")
        pull = world.pulls[int(number)]
        if body["status"] == "abandoned":
            pull.state = "closed"
            return pull_json(pull)
        if world.push_before_merge:
            world.push(pull.number)
        if pull.state != "open":
            return Answer(400, {"message": "TF401181: The pull request cannot be edited due to its state."})
        if body["lastMergeSourceCommit"]["commitId"] != pull.head:
            return Answer(
                409, {"message": "TF401192: The source branch has been modified since the last merge attempt."}
            )
        before = pull_json(pull)
        world.merge(pull)
        return before

    @azure.route("POST", f"{REPO}/pullRequests/{{number}}/labels")
    def add_label(request: Request, number: str) -> Any:
        pull, name = world.pulls[int(number)], request.fields("name")["name"]
        pull.labels = tuple(dict.fromkeys([*pull.labels, name]))
        return {"name": name, "active": True}

    @azure.route("POST", f"{REPO}/refs")
    def add_ref(request: Request) -> Any:
        (ref,) = request.body
        branch = ref["name"].removeprefix("refs/heads/")
        if branch in world.branches and ref["oldObjectId"] == "0" * 40:
            return listed([{"name": ref["name"], "success": False, "updateStatus": "staleOldObjectId"}])
        world.branches[branch] = ref["newObjectId"]
        return listed([{"name": ref["name"], "success": True, "updateStatus": "succeeded"}])

    @azure.route("GET", f"{REPO}/refs")
    def refs(request: Request) -> Any:
        start = request.query["filter"].removeprefix("heads/")
        found = {name: tip for name, tip in world.branches.items() if name.startswith(start)}
        return listed([{"name": f"refs/heads/{name}", "objectId": tip} for name, tip in found.items()])

    @azure.route("POST", f"{REPO}/pullrequests")
    def open_pull(request: Request) -> Any:
        body = request.fields("sourceRefName targetRefName title", "description")
        ends = (body[end].removeprefix("refs/heads/") for end in ("sourceRefName", "targetRefName"))
        return Answer(201, pull_json(world.open_pull(*ends, body["title"])))

    return azure
