"""Gitea, as its API description says; tests/scm/test_gitea_server.py runs the real one."""

from __future__ import annotations

from typing import Any

from ..server import TOKEN, Answer, Provider, Request
from ..world import Note, Pull, World, sha

REPO = "/api/v1/repos/acme/shop"
MOST = 50


def provider(world: World) -> Provider:
    """The routes of one repository."""
    gitea = Provider("gitea", f"token {TOKEN}")

    def pull_json(pull: Pull) -> dict[str, Any]:
        return {
            "number": pull.number,
            "title": pull.title,
            "state": "open" if pull.state == "open" else "closed",
            "user": {"login": pull.author.login},
            "head": {"sha": pull.head, "ref": pull.branch, "repo_id": -1 if pull.fork else 1},
            "base": {"sha": sha("main"), "ref": pull.base_branch, "repo_id": 1},
            "html_url": f"https://gitea.example.com/acme/shop/pulls/{pull.number}",
            "labels": [{"id": 1, "name": name} for name in pull.labels] or None,
            "merged": pull.state == "merged",
            "merge_commit_sha": pull.merge_commit or None,
        }

    def note_json(note: Note) -> dict[str, Any]:
        return {
            "id": note.id,
            "user": {"login": note.author.login},
            "body": note.body,
            "created_at": "2026-11-01T09:00:00Z",
            "updated_at": "2026-11-01T09:05:00Z" if note.edited else "2026-11-01T09:00:00Z",
            "html_url": f"https://gitea.example.com/acme/shop/pulls/{note.pull}#issuecomment-{note.id}",
            "pull_request_url": f"https://gitea.example.com/acme/shop/pulls/{note.pull}",
        }

    def paged(request: Request, items: list[Any]) -> Answer:
        size, page = min(int(request.query.get("limit", 30)), MOST), int(request.query.get("page", 1))
        return Answer(200, items[(page - 1) * size :][:size], {"X-Total-Count": str(len(items))})

    @gitea.route("GET", "/api/v1/user")
    def me(request: Request) -> Any:
        return {"login": world.bot.login}

    @gitea.route("GET", f"{REPO}/pulls/{{number}}")
    def pull(request: Request, number: str) -> Any:
        if int(number) not in world.pulls:
            raise Answer(404, {"message": "The target couldn't be found."})
        return pull_json(world.pulls[int(number)])

    @gitea.route("GET", f"{REPO}/pulls/{{number}}/files")
    def files(request: Request, number: str) -> Any:
        found = [{"filename": new, "previous_filename": old} for new, old in world.pulls[int(number)].files]
        return paged(request, found)

    @gitea.route("GET", f"{REPO}/pulls/{{number}}/reviews")
    def reviews(request: Request, number: str) -> Any:
        states = {"approved": "APPROVED", "rejected": "REQUEST_CHANGES", "commented": "COMMENT"}
        pull = world.pulls[int(number)]
        found = [
            {
                "id": n,
                "user": {"login": review.author.login},
                "state": states[review.word],
                "commit_id": review.commit,
                "stale": review.commit != pull.head,
                "dismissed": False,
                "html_url": f"https://gitea.example.com/acme/shop/pulls/{number}#issuecomment-{n}",
            }
            for n, review in enumerate(pull.reviews, 1)
        ]
        return paged(request, found)

    @gitea.route("GET", f"{REPO}/raw/{{path+}}")
    def raw(request: Request, path: str) -> Any:
        request.only("ref")
        return world.contents.get(path) or Answer(404, {"message": "object does not exist"})

    @gitea.route("POST", f"{REPO}/statuses/{{commit}}")
    def status(request: Request, commit: str) -> Any:
        body = request.fields("state", "context description target_url")
        if body["state"] not in ("pending", "success", "error", "failure", "warning"):
            return Answer(422, {"message": "invalid state"})
        world.statuses[commit, body["context"]] = body
        return Answer(201, {"status" if key == "state" else key: value for key, value in body.items()})

    @gitea.route("GET", f"{REPO}/issues/{{number}}/comments")
    def comments(request: Request, number: str) -> Any:
        request.only("since", "before")
        return [note_json(note) for note in world.notes if note.pull == int(number)]

    @gitea.route("POST", f"{REPO}/issues/{{number}}/comments")
    def add_comment(request: Request, number: str) -> Any:
        return Answer(201, note_json(world.add_note(int(number), "bot", request.fields("body")["body"])))

    @gitea.route("GET", f"{REPO}/issues/comments/{{id}}")
    def comment(request: Request, id: str) -> Any:  # noqa: A002
        note = world.find_note(id)
        return note_json(note) if note else Answer(404, {"message": "not found"})

    @gitea.route("PATCH", f"{REPO}/issues/comments/{{id}}")
    def change_comment(request: Request, id: str) -> Any:  # noqa: A002
        note = world.find_note(id)
        assert note is not None
        note.body, note.edited = request.fields("body")["body"], True
        return note_json(note)

    @gitea.route("POST", f"{REPO}/issues/comments/{{id}}/reactions")
    def react(request: Request, id: str) -> Any:  # noqa: A002
        note, emoji = world.find_note(id), request.fields("content")["content"]
        assert note is not None
        known = (world.bot.login, emoji) in note.reactions
        note.reactions += [] if known else [(world.bot.login, emoji)]
        return Answer(200 if known else 201, {"content": emoji})

    @gitea.route("GET", f"{REPO}/collaborators/{{login}}/permission")
    def permission(request: Request, login: str) -> Any:
        if login not in world.users:
            return Answer(404, {"message": "user does not exist"})
        role = {"MAINTAIN": "write", "TRIAGE": "read"}.get(world.users[login].role.name)
        return {"permission": role or world.users[login].role.name.lower(), "user": {"login": login}}

    @gitea.route("GET", f"{REPO}/teams")
    def repo_teams(request: Request) -> Any:
        return [
            {"id": 7, "name": name, "permission": "none", "units_map": {"repo.code": "write"}} for name in world.teams
        ]

    @gitea.route("GET", "/api/v1/orgs/{org}/teams/search")
    def search_teams(request: Request, org: str) -> Any:
        request.only("q", "limit", "page", "include_desc")
        found = [{"id": 7, "name": name} for name in world.teams if request.query["q"] in name]
        return {"ok": True, "data": found}

    @gitea.route("GET", "/api/v1/teams/{id}/members/{login}")
    def team_member(request: Request, id: str, login: str) -> Any:  # noqa: A002
        return {"login": login} if login in world.teams["operators"] else Answer(404, {"message": "not a member"})

    @gitea.route("PATCH", f"{REPO}/pulls/{{number}}")
    def change_pull(request: Request, number: str) -> Any:
        pull = world.pulls[int(number)]
        pull.state = request.fields("state", "title body base")["state"]
        return Answer(201, pull_json(pull))

    labels = ["canary"]

    @gitea.route("GET", f"{REPO}/labels")
    def known_labels(request: Request) -> Any:
        return paged(request, [{"id": number, "name": name} for number, name in enumerate(labels, 1)])

    @gitea.route("POST", f"{REPO}/labels")
    def add_label(request: Request) -> Any:
        labels.append(request.fields("name color", "description exclusive")["name"])
        return Answer(201, {"id": len(labels), "name": labels[-1]})

    @gitea.route("POST", f"{REPO}/issues/{{number}}/labels")
    def put_labels(request: Request, number: str) -> Any:
        pull = world.pulls[int(number)]
        new = [labels[one - 1] for one in request.fields("labels")["labels"]]
        pull.labels = tuple(dict.fromkeys([*pull.labels, *new]))
        return [{"id": labels.index(name) + 1, "name": name} for name in pull.labels]

    @gitea.route("POST", f"{REPO}/pulls/{{number}}/merge")
    def merge(request: Request, number: str) -> Any:
        body, pull = request.fields("Do", "head_commit_id MergeTitleField MergeMessageField"), world.pulls[int(number)]
        if world.push_before_merge:
            world.push(pull.number)
        if pull.state != "open":
            return Answer(405, {"message": "The PR is already merged"})
        if body.get("head_commit_id", pull.head) != pull.head:
            return Answer(409, {"message": "head out of date"})
        world.merge(pull)
        return Answer(200)

    @gitea.route("POST", f"{REPO}/branches")
    def add_branch(request: Request) -> Any:
        body = request.fields("new_branch_name old_ref_name")
        if body["new_branch_name"] in world.branches:
            return Answer(409, {"message": "The branch already exists."})
        world.branches[body["new_branch_name"]] = body["old_ref_name"]
        return Answer(201, {"name": body["new_branch_name"], "commit": {"id": body["old_ref_name"]}})

    @gitea.route("GET", f"{REPO}/branches/{{branch+}}")
    def branch(request: Request, branch: str) -> Any:
        return {"name": branch, "commit": {"id": world.branches[branch]}}

    @gitea.route("GET", f"{REPO}/pulls")
    def pulls(request: Request) -> Any:
        return paged(request, [pull_json(p) for p in world.pulls.values() if p.state == "open"])

    @gitea.route("POST", f"{REPO}/pulls")
    def open_pull(request: Request) -> Any:
        body = request.fields("title head base", "body")
        same = (body["head"], body["base"], "open", False)
        if any((p.branch, p.base_branch, p.state, p.fork) == same for p in world.pulls.values()):
            return Answer(409, {"message": "pull request already exists for these targets"})
        return Answer(201, pull_json(world.open_pull(body["head"], body["base"], body["title"])))

    return gitea
