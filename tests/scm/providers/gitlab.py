"""GitLab, as https://docs.gitlab.com/api/ describes it."""

from __future__ import annotations

import base64
from typing import Any

from pipeline_step.scm import Role

from ..server import TOKEN, Answer, Provider, Request
from ..world import Note, Pull, World, sha

PROJECT = "/api/v4/projects/acme%2Fshop"
LEVELS = {Role.ADMIN: 50, Role.MAINTAIN: 40, Role.WRITE: 30, Role.TRIAGE: 20, Role.READ: 10}
FINISHED = ("success", "failed", "canceled")
EVENTS = {"pending": "enqueue", "running": "run", "success": "success", "failed": "drop", "canceled": "cancel"}


def provider(world: World) -> Provider:
    """The routes of one project."""
    gitlab = Provider("gitlab", f"Bearer {TOKEN}")
    environments: list[dict[str, Any]] = []

    def merge_json(pull: Pull) -> dict[str, Any]:
        return {
            "iid": pull.number,
            "title": pull.title,
            "state": {"open": "opened"}.get(pull.state, pull.state),
            "sha": pull.head,
            "source_branch": pull.branch,
            "target_branch": pull.base_branch,
            "source_project_id": 2 if pull.fork else 1,
            "target_project_id": 1,
            "web_url": f"https://gitlab.com/acme/shop/-/merge_requests/{pull.number}",
            "author": {"id": pull.author.number, "username": pull.author.login},
            "labels": list(pull.labels),
            "diff_refs": {"base_sha": sha("root"), "head_sha": pull.head, "start_sha": sha("main")},
            "merge_commit_sha": pull.merge_commit or None,
            "squash_commit_sha": None,
            "changes_count": str(len(pull.files)) if len(pull.files) <= 1000 else "1000+",
        }

    def note_json(note: Note) -> dict[str, Any]:
        touched = note.edited or note.reactions
        return {
            "id": note.id,
            "body": note.body.rstrip(),
            "author": {"id": note.author.number, "username": note.author.login},
            "created_at": "2026-11-01T09:00:00.000Z",
            "updated_at": "2026-11-01T09:05:00.000Z" if touched else "2026-11-01T09:00:00.000Z",
            "system": note.body.startswith("added 1 commit"),
            "noteable_iid": note.pull,
        }

    def paged(request: Request, items: list[Any]) -> Answer:
        size, page = min(int(request.query.get("per_page", 20)), 100), int(request.query.get("page", 1))
        more = len(items) > page * size
        return Answer(200, items[(page - 1) * size :][:size], {"X-Next-Page": str(page + 1) if more else ""})

    def members(request: Request, logins: list[str]) -> Answer:
        request.only("query", "per_page", "page", "user_ids", "show_seat_info", "state")
        found = [
            {"id": user.number, "username": user.login, "state": "active" if user.active else "blocked"}
            | {"access_level": LEVELS[user.role]}
            for user in (world.users[login] for login in logins)
            if request.query["query"] in user.login and user.role in LEVELS
        ]
        return paged(request, found)

    @gitlab.route("GET", "/api/v4/user")
    def me(request: Request) -> Any:
        return {"id": world.bot.number, "username": world.bot.login}

    @gitlab.route("GET", f"{PROJECT}/merge_requests/{{number}}")
    def merge_request(request: Request, number: str) -> Any:
        return merge_json(world.pulls[int(number)])

    @gitlab.route("GET", f"{PROJECT}/merge_requests/{{number}}/approvals")
    def approvals(request: Request, number: str) -> Any:
        approved = [one.author for one in world.pulls[int(number)].last_words() if one.word == "approved"]
        users = [{"user": {"id": user.number, "username": user.login}} for user in approved]
        return {"approvals_required": 0, "approved_by": users}

    @gitlab.route("GET", f"{PROJECT}/merge_requests/{{number}}/diffs")
    def diffs(request: Request, number: str) -> Any:
        return paged(request, [{"old_path": old, "new_path": new} for new, old in world.pulls[int(number)].files])

    @gitlab.route("GET", f"{PROJECT}/repository/files/{{path}}")
    def file(request: Request, path: str) -> Any:
        if path not in world.contents:
            return Answer(404, {"message": "404 File Not Found"})
        return {"file_path": path, "encoding": "base64", "content": base64.b64encode(world.contents[path]).decode()}

    @gitlab.route("POST", f"{PROJECT}/statuses/{{commit}}")
    def status(request: Request, commit: str) -> Any:
        body = request.fields("state", "name context ref target_url description coverage pipeline_id")
        if len(body.get("target_url", "")) > 255:
            return Answer(400, {"message": {"target_url": ["is too long (maximum is 255 characters)"]}})
        if len(body.get("description", "")) > 255:
            return Answer(400, {"message": {"description": ["is too long (maximum is 255 characters)"]}})
        before = world.statuses.get((commit, body["name"]), {"state": "created"})["state"]
        if before == body["state"] or (before == "running" and body["state"] == "pending"):
            event = EVENTS[body["state"]]
            why = f"Cannot transition status via :{event} from :{before} (Reason(s): Status cannot transition)"
            return Answer(400, {"message": why})
        world.statuses[commit, body["name"]] = body
        return Answer(201, {"id": 1, "status": body["state"]})

    @gitlab.route("GET", f"{PROJECT}/merge_requests/{{number}}/notes")
    def notes(request: Request, number: str) -> Any:
        request.only("sort", "order_by", "per_page", "page", "activity_filter")
        return paged(request, [note_json(note) for note in world.notes if note.pull == int(number)])

    @gitlab.route("POST", f"{PROJECT}/merge_requests/{{number}}/notes")
    def add_note(request: Request, number: str) -> Any:
        return Answer(201, note_json(world.add_note(int(number), "bot", request.fields("body")["body"])))

    @gitlab.route("GET", f"{PROJECT}/merge_requests/{{number}}/notes/{{id}}")
    def note(request: Request, number: str, id: str) -> Any:  # noqa: A002
        found = world.find_note(id)
        return note_json(found) if found and found.pull == int(number) else Answer(404, {"message": "404 Not found"})

    @gitlab.route("PUT", f"{PROJECT}/merge_requests/{{number}}/notes/{{id}}")
    def change_note(request: Request, number: str, id: str) -> Any:  # noqa: A002
        found = world.find_note(id)
        assert found is not None
        found.body, found.edited = request.fields("body")["body"], True
        return note_json(found)

    @gitlab.route("POST", "/api/graphql")
    def graphql(request: Request) -> Any:
        variables = request.fields("query variables")["variables"]
        found = world.find_note(variables["id"].rpartition("/")[2])
        edited = "2026-11-01T09:05:00Z" if found and found.edited else None
        return {"data": {"note": {"id": variables["id"], "lastEditedAt": edited} if found else None}}

    @gitlab.route("POST", f"{PROJECT}/merge_requests/{{number}}/notes/{{id}}/award_emoji")
    def award(request: Request, number: str, id: str) -> Any:  # noqa: A002
        found, emoji = world.find_note(id), request.fields("name")["name"]
        assert found is not None
        if (world.bot.login, emoji) in found.reactions:
            return Answer(404, {"message": "404 Award Emoji Name has already been taken Not Found"})
        found.reactions.append((world.bot.login, emoji))
        return Answer(201, {"id": 1, "name": emoji})

    @gitlab.route("GET", f"{PROJECT}/members/all")
    def project_members(request: Request) -> Any:
        return members(request, list(world.users))

    @gitlab.route("GET", "/api/v4/groups/{group}/members/all")
    def group_members(request: Request, group: str) -> Any:
        if group not in world.teams:
            return Answer(404, {"message": "404 Group Not Found"})
        return members(request, list(world.teams[group]))

    @gitlab.route("PUT", f"{PROJECT}/merge_requests/{{number}}")
    def change_merge_request(request: Request, number: str) -> Any:
        body, pull = request.fields("", "state_event add_labels"), world.pulls[int(number)]
        if body.get("state_event") == "close":
            pull.state = "closed"
        new = [name for name in body.get("add_labels", "").split(",") if name]
        pull.labels = tuple(dict.fromkeys([*pull.labels, *new]))
        return merge_json(pull)

    @gitlab.route("PUT", f"{PROJECT}/merge_requests/{{number}}/merge")
    def merge(request: Request, number: str) -> Any:
        body, pull = request.fields("", "sha merge_commit_message squash"), world.pulls[int(number)]
        if world.push_before_merge:
            world.push(pull.number)
        if pull.state != "open":
            return Answer(405, {"message": "405 Method Not Allowed"})
        if body.get("sha", pull.head) != pull.head:
            return Answer(409, {"message": "SHA does not match HEAD of source branch"})
        world.merge(pull)
        return merge_json(pull)

    @gitlab.route("POST", f"{PROJECT}/repository/branches")
    def add_branch(request: Request) -> Any:
        body = request.fields("branch ref")
        if body["branch"] in world.branches:
            return Answer(400, {"message": "Branch already exists"})
        world.branches[body["branch"]] = body["ref"]
        return Answer(201, {"name": body["branch"], "commit": {"id": body["ref"]}})

    @gitlab.route("GET", f"{PROJECT}/repository/branches/{{branch}}")
    def branch(request: Request, branch: str) -> Any:
        return {"name": branch, "commit": {"id": world.branches[branch]}}

    @gitlab.route("GET", f"{PROJECT}/merge_requests")
    def merge_requests(request: Request) -> Any:
        wanted = (request.query["source_branch"], request.query["target_branch"], "open")
        return [merge_json(p) for p in world.pulls.values() if (p.branch, p.base_branch, p.state) == wanted]

    @gitlab.route("POST", f"{PROJECT}/merge_requests")
    def open_merge_request(request: Request) -> Any:
        body = request.fields("source_branch target_branch title", "description")
        return Answer(201, merge_json(world.open_pull(body["source_branch"], body["target_branch"], body["title"])))

    @gitlab.route("GET", f"{PROJECT}/environments")
    def list_environments(request: Request) -> Any:
        return [item for item in environments if item["name"] == request.query["name"]]

    @gitlab.route("PUT", f"{PROJECT}/environments/{{id}}")
    def change_environment(request: Request, id: str) -> Any:  # noqa: A002
        environments[int(id) - 1].update(request.fields("external_url"))
        world.deployments[-1]["url"] = request.body["external_url"]
        return environments[int(id) - 1]

    @gitlab.route("POST", f"{PROJECT}/environments/{{id}}/stop")
    def stop_environment(request: Request, id: str) -> Any:  # noqa: A002
        world.deployments[-1]["state"] = "inactive"
        return environments[int(id) - 1]

    @gitlab.route("GET", f"{PROJECT}/deployments")
    def deployments(request: Request) -> Any:
        found = [d for d in reversed(world.deployments) if d["environment"] == request.query["environment"]]
        return [{"id": d["id"], "sha": d["sha"], "status": d["state"]} for d in found]

    @gitlab.route("POST", f"{PROJECT}/deployments")
    def add_deployment(request: Request) -> Any:
        body = request.fields("environment sha ref tag status")
        if not any(item["name"] == body["environment"] for item in environments):
            environments.append({"id": len(environments) + 1, "name": body["environment"], "external_url": None})
        new = {"id": len(world.deployments) + 1, "sha": body["sha"], "environment": body["environment"]}
        world.deployments.append({**new, "state": body["status"]})
        return Answer(201, {**new, "status": body["status"]})

    @gitlab.route("PUT", f"{PROJECT}/deployments/{{id}}")
    def change_deployment(request: Request, id: str) -> Any:  # noqa: A002
        deployment, state = world.deployments[int(id) - 1], request.fields("status")["status"]
        if deployment["state"] == state:
            return Answer(400, {"message": f"Cannot transition status via :{EVENTS[state]} from :{state}"})
        deployment["state"] = state
        return {"id": deployment["id"], "sha": deployment["sha"], "status": state}

    return gitlab
