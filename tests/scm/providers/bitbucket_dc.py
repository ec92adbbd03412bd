"""Bitbucket Data Center, as https://developer.atlassian.com/server/bitbucket/rest/ describes it."""

from __future__ import annotations

from typing import Any

from pipeline_step.scm import Role

from ..server import TOKEN, Answer, Provider, Request
from ..world import Note, Pull, User, World, sha

REPO = "/rest/api/latest/projects/acme/repos/shop"
STATES = ("CANCELLED", "FAILED", "INPROGRESS", "SUCCESSFUL", "UNKNOWN")
LIMITS = {"key": 255, "name": 255, "url": 450, "description": 255}
NEEDS = {"REPO_READ": Role.READ, "REPO_WRITE": Role.WRITE, "REPO_ADMIN": Role.ADMIN}


def provider(world: World) -> Provider:
    """The routes of one repository."""
    bitbucket = Provider("bitbucket_dc", f"Bearer {TOKEN}", common_headers={"X-AUSERNAME": "bot"})

    def failed(status: int, message: str) -> Answer:
        return Answer(status, {"errors": [{"context": None, "message": message, "exceptionName": "com.atlassian.X"}]})

    def user_json(user: User) -> dict[str, Any]:
        return {"name": user.login, "displayName": user.login.title(), "active": user.active, "type": "NORMAL"}

    def pull_json(pull: Pull) -> dict[str, Any]:
        place = {"slug": "shop", "project": {"key": "acme"}}
        elsewhere = {"slug": "shop", "project": {"key": f"~{pull.author.login}"}}
        answer = {
            "id": pull.number,
            "version": pull.version,
            "title": pull.title,
            "state": {"closed": "DECLINED"}.get(pull.state, pull.state.upper()),
            "author": {"user": user_json(pull.author), "role": "AUTHOR"},
            "fromRef": {
                "id": f"refs/heads/{pull.branch}",
                "displayId": pull.branch,
                "latestCommit": pull.head,
                "repository": elsewhere if pull.fork else place,
            },
            "toRef": {
                "id": f"refs/heads/{pull.base_branch}",
                "displayId": pull.base_branch,
                "latestCommit": sha("main"),
                "repository": place,
            },
        }
        if pull.reviews:
            words = {"approved": "APPROVED", "rejected": "NEEDS_WORK"}
            answer["reviewers"] = [
                {
                    "user": user_json(review.author),
                    "role": "REVIEWER",
                    "approved": review.word == "approved",
                    "status": words[review.word],
                    "lastReviewedCommit": review.commit,
                }
                for review in pull.last_words()
            ]
        if pull.merge_commit:
            answer["properties"] = {"mergeCommit": {"id": pull.merge_commit, "displayId": pull.merge_commit[:11]}}
        return answer

    def note_json(note: Note) -> dict[str, Any]:
        made = 1_793_523_600_000
        return {
            "id": note.id,
            "version": note.version,
            "text": note.body,
            "author": user_json(note.author),
            "createdDate": made,
            "updatedDate": made + 300_000 if note.edited else made,
            "comments": [],
        }

    def paged(request: Request, items: list[Any]) -> dict[str, Any]:
        size, start = min(int(request.query.get("limit", 25)), 100), int(request.query.get("start", 0))
        last = len(items) <= start + size
        answer = {"start": start, "limit": size, "isLastPage": last, "values": items[start:][:size]}
        answer["size"] = len(answer["values"])
        answer["nextPageStart"] = None if last else start + size
        return answer

    @bitbucket.route("GET", "/rest/api/latest/application-properties")
    def properties(request: Request) -> Any:
        return {"version": "9.4.0", "displayName": "Bitbucket"}

    @bitbucket.route("GET", f"{REPO}/pull-requests/{{number}}")
    def pull(request: Request, number: str) -> Any:
        return pull_json(world.pulls[int(number)])

    @bitbucket.route("GET", f"{REPO}/pull-requests/{{number}}/changes")
    def changes(request: Request, number: str) -> Any:
        request.only("withComments", "limit", "start", "changeScope")
        found = [
            {"type": "MODIFY", "path": {"toString": new}}
            if new == old
            else {"type": "MOVE", "path": {"toString": new}, "srcPath": {"toString": old}}
            for new, old in world.pulls[int(number)].files
        ]
        return paged(request, found)

    @bitbucket.route("GET", f"{REPO}/raw/{{path+}}")
    def raw(request: Request, path: str) -> Any:
        request.only("at")
        return world.contents.get(path) or failed(404, f'The path "{path}" does not exist')

    @bitbucket.route("POST", f"{REPO}/commits/{{commit}}/builds")
    def build(request: Request, commit: str) -> Any:
        body = request.fields("key state url", "name description ref parent buildNumber duration")
        too_long = [name for name, limit in LIMITS.items() if len(body.get(name, "")) > limit]
        if too_long or body["state"] not in STATES or not body["url"].startswith("http"):
            return failed(400, f"The build status was not added: {too_long}")
        world.statuses[commit, body["key"]] = body
        return Answer(204)

    @bitbucket.route("GET", f"{REPO}/pull-requests/{{number}}/activities")
    def activities(request: Request, number: str) -> Any:
        notes = [note for note in reversed(world.notes) if note.pull == int(number)]
        added = [{"action": "COMMENTED", "commentAction": "ADDED", "comment": note_json(note)} for note in notes]
        return paged(request, [{"action": "RESCOPED"}, *added, {"action": "OPENED"}])

    @bitbucket.route("POST", f"{REPO}/pull-requests/{{number}}/comments")
    def add_comment(request: Request, number: str) -> Any:
        return Answer(201, note_json(world.add_note(int(number), "bot", request.fields("text")["text"])))

    @bitbucket.route("GET", f"{REPO}/pull-requests/{{number}}/comments/{{id}}")
    def comment(request: Request, number: str, id: str) -> Any:  # noqa: A002
        note = world.find_note(id)
        return note_json(note) if note and note.pull == int(number) else failed(404, "Comment does not exist")

    @bitbucket.route("PUT", f"{REPO}/pull-requests/{{number}}/comments/{{id}}")
    def change_comment(request: Request, number: str, id: str) -> Any:  # noqa: A002
        note, body = world.find_note(id), request.fields("text version")
        assert note is not None
        if body["version"] != note.version:
            return failed(409, "The comment was updated by someone else")
        note.body, note.edited, note.version = body["text"], True, note.version + 1
        return note_json(note)

    @bitbucket.route(
        "PUT",
        "/rest/comment-likes/latest/projects/acme/repos/shop/pull-requests/{number}/comments/{id}/reactions/{emoticon}",
    )
    def react(request: Request, number: str, id: str, emoticon: str) -> Any:  # noqa: A002
        note = world.find_note(id)
        assert note is not None
        note.reactions += [] if (world.bot.login, emoticon) in note.reactions else [(world.bot.login, emoticon)]
        return {"emoticon": {"shortcut": emoticon}}

    @bitbucket.route("GET", "/rest/api/latest/users")
    def users(request: Request) -> Any:
        query = request.query
        found = [user for user in world.users.values() if query["filter"] in user.login]
        if "group" in query:
            found = [user for user in found if user.login in world.teams.get(query["group"], ())]
        if "permission.1" in query:
            assert (query["permission.1.projectKey"], query["permission.1.repositorySlug"]) == ("acme", "shop")
            found = [user for user in found if user.role >= NEEDS[query["permission.1"]]]
        return paged(request, [user_json(user) for user in found])

    @bitbucket.route("POST", f"{REPO}/pull-requests/{{number}}/merge")
    def merge(request: Request, number: str) -> Any:
        pull = world.pulls[int(number)]
        request.fields("", "message strategyId autoSubject")
        request.only("version")
        if world.push_before_merge:
            world.push(pull.number)
        if pull.state != "open":
            return failed(409, "The pull request has already been merged")
        if int(request.query["version"]) != pull.version:
            return failed(409, "You are attempting to modify a pull request based on out-of-date information")
        world.merge(pull)
        return pull_json(pull)

    @bitbucket.route("POST", f"{REPO}/pull-requests/{{number}}/decline")
    def decline(request: Request, number: str) -> Any:
        pull = world.pulls[int(number)]
        request.only("version")
        if int(request.query["version"]) != pull.version:
            return failed(409, "You are attempting to modify a pull request based on out-of-date information")
        pull.state = "closed"
        return pull_json(pull)

    @bitbucket.route("POST", f"{REPO}/branches")
    def add_branch(request: Request) -> Any:
        body = request.fields("name startPoint", "message")
        if body["name"] in world.branches:
            return failed(409, f"Branch {body['name']!r} already exists in repository shop")
        world.branches[body["name"]] = body["startPoint"]
        return {"id": f"refs/heads/{body['name']}", "displayId": body["name"], "latestCommit": body["startPoint"]}

    @bitbucket.route("GET", f"{REPO}/branches")
    def branches(request: Request) -> Any:
        found = {name: tip for name, tip in world.branches.items() if request.query["filterText"] in name}
        return paged(request, [{"displayId": name, "latestCommit": tip} for name, tip in found.items()])

    @bitbucket.route("GET", f"{REPO}/pull-requests")
    def pulls(request: Request) -> Any:
        assert request.query["direction"] == "OUTGOING"
        branch = request.query["at"].removeprefix("refs/heads/")
        found = [p for p in world.pulls.values() if (p.state, p.branch) == ("open", branch)]
        return paged(request, [pull_json(p) for p in found])

    @bitbucket.route("POST", f"{REPO}/pull-requests")
    def open_pull(request: Request) -> Any:
        body = request.fields("title fromRef toRef", "description reviewers")
        ends = (body[end]["id"].removeprefix("refs/heads/") for end in ("fromRef", "toRef"))
        return Answer(201, pull_json(world.open_pull(*ends, body["title"])))

    return bitbucket
