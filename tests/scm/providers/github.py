"""GitHub, as https://docs.github.com/rest describes it."""

from __future__ import annotations

import base64
from typing import Any

from ..server import TOKEN, Answer, Provider, Request
from ..world import START, Note, Pull, World, sha

REPO = "/repos/acme/shop"
EMOJI = ("+1", "-1", "laugh", "confused", "heart", "hooray", "rocket", "eyes")


def provider(world: World) -> Provider:
    """The routes of one repository."""
    github = Provider("github", f"Bearer {TOKEN}")

    def user(login: str) -> dict[str, Any]:
        return {"login": login, "id": 1, "type": "Bot" if login.endswith("[bot]") else "User"}

    def pull_of(number: str) -> Pull:
        if int(number) not in world.pulls:
            raise Answer(404, {"message": "Not Found"})
        return world.pulls[int(number)]

    def pull_json(pull: Pull, *, listed: bool = False) -> dict[str, Any]:
        answer = {
            "number": pull.number,
            "title": pull.title,
            "state": "open" if pull.state == "open" else "closed",
            "user": user(pull.author.login),
            "head": {"sha": pull.head, "ref": pull.branch, "repo": None if pull.fork else {"full_name": "acme/shop"}},
            "base": {"sha": sha("main"), "ref": pull.base_branch, "repo": {"full_name": "acme/shop"}},
            "html_url": f"https://github.com/acme/shop/pull/{pull.number}",
            "labels": [{"id": 1, "name": name} for name in pull.labels],
            "merged_at": START.isoformat() if pull.state == "merged" else None,
            "merge_commit_sha": pull.merge_commit or sha("trial"),
        }
        return answer if listed else {**answer, "merged": pull.state == "merged"}

    def note_json(note: Note) -> dict[str, Any]:
        changed = "2026-11-01T09:05:00Z" if note.edited else "2026-11-01T09:00:00Z"
        return {
            "id": note.id,
            "user": user(note.author.login),
            "body": note.body,
            "created_at": "2026-11-01T09:00:00Z",
            "updated_at": changed,
            "html_url": f"https://github.com/acme/shop/pull/{note.pull}#issuecomment-{note.id}",
            "issue_url": f"https://api.github.com/repos/acme/shop/issues/{note.pull}",
            "author_association": "OWNER",
            "performed_via_github_app": None,
        }

    def paged(request: Request, items: list[Any]) -> list[Any]:
        size, page = int(request.query.get("per_page", 30)), int(request.query.get("page", 1))
        return items[(page - 1) * min(size, 100) :][: min(size, 100)]

    @github.route("GET", "/user")
    def me(request: Request) -> Any:
        if world.app_token:
            return Answer(403, {"message": "Resource not accessible by integration"})
        return user(world.bot.login)

    @github.route("GET", f"{REPO}/pulls/{{number}}")
    def pull(request: Request, number: str) -> Any:
        return pull_json(pull_of(number))

    @github.route("GET", f"{REPO}/pulls/{{number}}/files")
    def files(request: Request, number: str) -> Any:
        found = [
            {"filename": new, "status": "modified"}
            if new == old
            else {"filename": new, "previous_filename": old, "status": "renamed"}
            for new, old in pull_of(number).files[:3000]
        ]
        return paged(request, found)

    @github.route("GET", f"{REPO}/pulls/{{number}}/reviews")
    def reviews(request: Request, number: str) -> Any:
        states = {"approved": "APPROVED", "rejected": "CHANGES_REQUESTED", "commented": "COMMENTED"}
        page = f"https://github.com/acme/shop/pull/{number}#pullrequestreview"
        found = [
            {
                "id": n,
                "user": user(review.author.login),
                "state": states[review.word],
                "commit_id": review.commit,
                "submitted_at": "2026-11-01T09:00:00Z",
                "html_url": f"{page}-{n}",
            }
            for n, review in enumerate(pull_of(number).reviews, 1)
        ]
        return paged(request, found)

    @github.route("GET", f"{REPO}/contents/{{path+}}")
    def contents(request: Request, path: str) -> Any:
        files = world.contents if request.query["ref"] in ("main", sha("main")) else world.proposed
        if path not in files:
            return Answer(404, {"message": "Not Found"})
        text = base64.encodebytes(files[path]).decode()
        return {"type": "file", "encoding": "base64", "content": text}

    @github.route("POST", f"{REPO}/statuses/{{commit}}")
    def status(request: Request, commit: str) -> Any:
        body = request.fields("state context", "description target_url")
        if body["state"] not in ("error", "failure", "pending", "success") or len(body.get("description", "")) > 140:
            return Answer(422, {"message": "Validation Failed"})
        world.statuses[commit, body["context"]] = body
        return Answer(201, body)

    @github.route("GET", f"{REPO}/issues/{{number}}/comments")
    def comments(request: Request, number: str) -> Any:
        return paged(request, [note_json(note) for note in world.notes if note.pull == int(number)])

    @github.route("POST", f"{REPO}/issues/{{number}}/comments")
    def add_comment(request: Request, number: str) -> Any:
        return Answer(201, note_json(world.add_note(int(number), "bot", request.fields("body")["body"])))

    @github.route("GET", f"{REPO}/issues/comments/{{id}}")
    def comment(request: Request, id: str) -> Any:  # noqa: A002
        note = world.find_note(id)
        return note_json(note) if note else Answer(404, {"message": "Not Found"})

    @github.route("PATCH", f"{REPO}/issues/comments/{{id}}")
    def change_comment(request: Request, id: str) -> Any:  # noqa: A002
        note = world.find_note(id)
        assert note is not None
        if note.author is not world.bot:
            return Answer(403, {"message": "Must have admin rights"})
        note.body, note.edited = request.fields("body")["body"], True
        return note_json(note)

    @github.route("POST", f"{REPO}/issues/comments/{{id}}/reactions")
    def react(request: Request, id: str) -> Any:  # noqa: A002
        note, emoji = world.find_note(id), request.fields("content")["content"]
        assert note is not None
        if emoji not in EMOJI:
            return Answer(422, {"message": "Validation Failed"})
        known = (world.bot.login, emoji) in note.reactions
        note.reactions += [] if known else [(world.bot.login, emoji)]
        return Answer(200 if known else 201, {"id": 1, "content": emoji})

    @github.route("GET", f"{REPO}/collaborators/{{login}}/permission")
    def permission(request: Request, login: str) -> Any:
        if login not in world.users:
            return Answer(404, {"message": "Not Found"})
        role = world.users[login].role
        basic = {"MAINTAIN": "write", "TRIAGE": "read"}.get(role.name, role.name.lower())
        return {"permission": basic, "role_name": role.name.lower(), "user": user(login)}

    @github.route("GET", "/orgs/{org}/teams/{team}/memberships/{login}")
    def membership(request: Request, org: str, team: str, login: str) -> Any:
        if org != "acme" or login not in world.teams.get(team, ()):
            return Answer(404, {"message": "Not Found"})
        return {"state": "active", "role": "member"}

    @github.route("PATCH", f"{REPO}/pulls/{{number}}")
    def change_pull(request: Request, number: str) -> Any:
        pull = pull_of(number)
        pull.state = request.fields("state", "title body base")["state"]
        return pull_json(pull)

    @github.route("POST", f"{REPO}/issues/{{number}}/labels")
    def add_labels(request: Request, number: str) -> Any:
        pull = pull_of(number)
        pull.labels = tuple(dict.fromkeys([*pull.labels, *request.fields("labels")["labels"]]))
        return [{"name": name} for name in pull.labels]

    @github.route("PUT", f"{REPO}/pulls/{{number}}/merge")
    def merge(request: Request, number: str) -> Any:
        body, pull = request.fields("", "commit_title commit_message sha merge_method"), pull_of(number)
        if world.push_before_merge:
            world.push(pull.number)
        if pull.state != "open":
            return Answer(405, {"message": "Pull Request is not mergeable"})
        if body.get("sha", pull.head) != pull.head:
            return Answer(409, {"message": "Head branch was modified. Review and try the merge again."})
        world.merge(pull)
        return {"sha": pull.merge_commit, "merged": True, "message": "Pull Request successfully merged"}

    @github.route("POST", f"{REPO}/git/refs")
    def add_ref(request: Request) -> Any:
        body = request.fields("ref sha")
        branch = body["ref"].removeprefix("refs/heads/")
        if branch in world.branches:
            return Answer(422, {"message": "Reference already exists"})
        world.branches[branch] = body["sha"]
        return Answer(201, {"ref": body["ref"], "object": {"sha": body["sha"], "type": "commit"}})

    @github.route("GET", f"{REPO}/git/ref/heads/{{branch+}}")
    def ref(request: Request, branch: str) -> Any:
        return {"ref": f"refs/heads/{branch}", "object": {"sha": world.branches[branch], "type": "commit"}}

    @github.route("GET", f"{REPO}/pulls")
    def pulls(request: Request) -> Any:
        head = request.query.get("head", "").partition(":")[2]
        found = [p for p in world.pulls.values() if p.state == "open" and p.branch == head]
        return [pull_json(p, listed=True) for p in found if p.base_branch == request.query["base"]]

    @github.route("POST", f"{REPO}/pulls")
    def open_pull(request: Request) -> Any:
        body = request.fields("title head base", "body")
        return Answer(201, pull_json(world.open_pull(body["head"], body["base"], body["title"])))

    @github.route("GET", f"{REPO}/deployments")
    def deployments(request: Request) -> Any:
        request.only("sha", "ref", "task", "environment", "per_page", "page")
        wanted = (request.query["sha"], request.query["environment"])
        return paged(request, [d for d in reversed(world.deployments) if (d["sha"], d["environment"]) == wanted])

    @github.route("POST", f"{REPO}/deployments")
    def add_deployment(request: Request) -> Any:
        options = "description task auto_merge required_contexts payload transient_environment production_environment"
        body = request.fields("ref environment", options)
        if body.get("auto_merge", True):
            return Answer(202, {"message": "Auto-merged main into topic-branch on deployment."})
        missing = [name for name in body["required_contexts"] if (body["ref"], name) not in world.statuses]
        if missing:
            return Answer(409, {"message": f"Conflict: Commit status checks failed for {', '.join(missing)}"})
        world.deployments.append(
            {"id": len(world.deployments) + 1, "sha": body["ref"], "environment": body["environment"]}
        )
        return Answer(201, world.deployments[-1])

    @github.route("POST", f"{REPO}/deployments/{{id}}/statuses")
    def deployment_status(request: Request, id: str) -> Any:  # noqa: A002
        body = request.fields("state", "description environment_url log_url auto_inactive environment target_url")
        if len(body.get("description", "")) > 140:
            return Answer(422, {"message": "Validation Failed"})
        world.deployments[int(id) - 1].update(state=body["state"], url=body.get("environment_url", ""))
        return Answer(201, body)

    return github
