"""Bitbucket Cloud, as https://developer.atlassian.com/cloud/bitbucket/rest/ describes it."""

from __future__ import annotations

import re
from typing import Any

from ..server import TOKEN, Answer, Provider, Request
from ..world import Note, Pull, User, World, sha

REPO = "/2.0/repositories/acme/shop"
STATES = ("FAILED", "INPROGRESS", "STOPPED", "SUCCESSFUL")


def provider(world: World) -> Provider:
    """The routes of one repository."""
    bitbucket = Provider("bitbucket_cloud", f"Bearer {TOKEN}")

    def account(user: User) -> dict[str, Any]:
        return {"type": "user", "uuid": f"{{{user.uuid}}}", "display_name": user.login.title(), "nickname": user.login}

    def failed(status: int, message: str) -> Answer:
        return Answer(status, {"type": "error", "error": {"message": message}})

    def pull_json(pull: Pull) -> dict[str, Any]:
        place = {"type": "repository", "full_name": "acme/shop"}
        elsewhere = {"type": "repository", "full_name": f"{pull.author.login}/shop"}
        participants = [
            {
                "type": "participant",
                "user": account(review.author),
                "role": "REVIEWER",
                "approved": review.word == "approved",
                "state": {"approved": "approved", "rejected": "changes_requested"}[review.word],
            }
            for review in pull.last_words()
        ]
        return ({"participants": participants} if participants else {}) | {
            "type": "pullrequest",
            "id": pull.number,
            "title": pull.title,
            "state": {"open": "OPEN", "closed": "DECLINED"}.get(pull.state, pull.state.upper()),
            "author": account(pull.author),
            "source": {
                "branch": {"name": pull.branch},
                "commit": {"type": "commit", "hash": pull.head[:12]},
                "repository": elsewhere if pull.fork else place,
            },
            "destination": {
                "branch": {"name": pull.base_branch},
                "commit": {"type": "commit", "hash": sha("main")[:12]},
                "repository": place,
            },
            "merge_commit": {"type": "commit", "hash": pull.merge_commit[:12]} if pull.merge_commit else None,
            "links": {"html": {"href": f"https://bitbucket.org/acme/shop/pull-requests/{pull.number}"}},
        }

    def note_json(note: Note) -> dict[str, Any]:
        page = f"https://bitbucket.org/acme/shop/pull-requests/{note.pull}/_/diff#comment-{note.id}"
        return {
            "type": "pullrequest_comment",
            "id": note.id,
            "user": account(note.author),
            "content": {"raw": note.body, "markup": "markdown", "html": ""},
            "created_on": "2026-11-01T09:00:00.123456+00:00",
            "updated_on": "2026-11-01T09:05:00.123456+00:00" if note.edited else "2026-11-01T09:00:00.123456+00:00",
            "links": {"html": {"href": page}},
            "deleted": False,
        }

    def paged(request: Request, items: list[Any]) -> dict[str, Any]:
        size, page = min(int(request.query.get("pagelen", 10)), 100), int(request.query.get("page", 1))
        answer = {"pagelen": size, "page": page, "size": len(items), "values": items[(page - 1) * size :][:size]}
        if len(items) > page * size:
            answer["next"] = f"{request.url}{request.path}?pagelen={size}&page={page + 1}"
        return answer

    @bitbucket.route("GET", "/2.0/user")
    def me(request: Request) -> Any:
        return account(world.bot)

    @bitbucket.route("GET", "/2.0/repositories/{owner}/{name}/commit/{short}")
    def commit(request: Request, owner: str, name: str, short: str) -> Any:
        owners = {pull.head: pull.author.login if pull.fork else "acme" for pull in world.pulls.values()}
        found = [
            full for full in [*owners, sha("main")] if full.startswith(short) and owners.get(full, "acme") == owner
        ]
        return {"type": "commit", "hash": found[0]} if found else failed(404, "Commit not found")

    @bitbucket.route("GET", f"{REPO}/pullrequests/{{number}}")
    def pull(request: Request, number: str) -> Any:
        return pull_json(world.pulls[int(number)])

    @bitbucket.route("GET", f"{REPO}/pullrequests/{{number}}/diffstat")
    def diffstat(request: Request, number: str) -> Any:
        place = f"{request.url}{REPO}/diffstat/acme/shop:{world.pulls[int(number)].head[:12]}%0D{sha('main')[:12]}"
        return Answer(302, None, {"Location": f"{place}?from_pullrequest_id={number}&pagelen=100"})

    @bitbucket.route("GET", f"{REPO}/diffstat/{{spec+}}")
    def diffstat_of(request: Request, spec: str) -> Any:
        files = next(p.files for p in world.pulls.values() if p.head[:12] in spec)
        return paged(request, [{"type": "diffstat", "new": {"path": new}, "old": {"path": old}} for new, old in files])

    @bitbucket.route("GET", f"{REPO}/src/{{commit}}/{{path+}}")
    def src(request: Request, commit: str, path: str) -> Any:
        if commit not in world.branches.values():
            return failed(404, "Commit not found")
        return world.contents.get(path) or failed(404, f"No such file or directory: {path}")

    @bitbucket.route("POST", f"{REPO}/commit/{{commit}}/statuses/build")
    def status(request: Request, commit: str) -> Any:
        body = request.fields("key state url", "name description refname")
        if len(body["key"]) > 40 or body["state"] not in STATES or not body["url"].startswith("http"):
            return failed(400, "Bad request: key is limited to 40 characters")
        world.statuses[commit, body["key"]] = body
        return Answer(201, {"type": "build", **body})

    @bitbucket.route("GET", f"{REPO}/pullrequests/{{number}}/comments")
    def comments(request: Request, number: str) -> Any:
        return paged(request, [note_json(note) for note in world.notes if note.pull == int(number)])

    @bitbucket.route("POST", f"{REPO}/pullrequests/{{number}}/comments")
    def add_comment(request: Request, number: str) -> Any:
        text = request.fields("content")["content"]["raw"]
        return Answer(201, note_json(world.add_note(int(number), "bot", text)))

    @bitbucket.route("GET", f"{REPO}/pullrequests/{{number}}/comments/{{id}}")
    def comment(request: Request, number: str, id: str) -> Any:  # noqa: A002
        note = world.find_note(id)
        return note_json(note) if note and note.pull == int(number) else failed(404, "Comment not found")

    @bitbucket.route("PUT", f"{REPO}/pullrequests/{{number}}/comments/{{id}}")
    def change_comment(request: Request, number: str, id: str) -> Any:  # noqa: A002
        note = world.find_note(id)
        assert note is not None
        note.body, note.edited = request.fields("content")["content"]["raw"], True
        return note_json(note)

    @bitbucket.route("GET", "/2.0/workspaces/acme/permissions/repositories/shop")
    def permissions(request: Request) -> Any:
        request.only("q", "sort", "pagelen", "page")
        wanted = re.fullmatch(r'user\.uuid="(\{[0-9a-f-]{36}\})"', request.query["q"])
        assert wanted is not None
        words = {"MAINTAIN": "write", "TRIAGE": "read"}
        found = [
            {"permission": words.get(user.role.name, user.role.name.lower()), "user": account(user)}
            for user in world.users.values()
            if account(user)["uuid"] == wanted[1] and user.role.name != "NONE"
        ]
        return paged(request, found)

    @bitbucket.route("POST", f"{REPO}/pullrequests/{{number}}/merge")
    def merge(request: Request, number: str) -> Any:
        request.fields("", "type message close_source_branch merge_strategy")
        pull = world.pulls[int(number)]
        if world.push_before_merge:
            world.push(pull.number)
        if pull.state != "open":
            return failed(400, "You can't merge until you resolve all merge requirements")
        world.merge(pull)
        return pull_json(pull)

    @bitbucket.route("POST", f"{REPO}/pullrequests/{{number}}/decline")
    def decline(request: Request, number: str) -> Any:
        world.pulls[int(number)].state = "closed"
        return pull_json(world.pulls[int(number)])

    @bitbucket.route("POST", f"{REPO}/refs/branches")
    def add_branch(request: Request) -> Any:
        body = request.fields("name target")
        if body["name"] in world.branches:
            return Answer(400, {"type": "error", "error": {"message": f'Branch "{body["name"]}" already exists.'}})
        world.branches[body["name"]] = body["target"]["hash"]
        return Answer(201, {"name": body["name"], "target": body["target"]})

    @bitbucket.route("GET", f"{REPO}/refs/branches/{{branch+}}")
    def branch(request: Request, branch: str) -> Any:
        return {"name": branch, "target": {"hash": world.branches[branch]}}

    @bitbucket.route("GET", f"{REPO}/pullrequests")
    def pulls(request: Request) -> Any:
        words = re.findall(r'"([^"]*)"', request.query["q"])
        found = [p for p in world.pulls.values() if [p.branch, p.base_branch, p.state.upper()] == words]
        return paged(request, [pull_json(p) for p in found])

    @bitbucket.route("POST", f"{REPO}/pullrequests")
    def open_pull(request: Request) -> Any:
        body = request.fields("title source", "destination description close_source_branch")
        ends = body["source"]["branch"]["name"], body["destination"]["branch"]["name"]
        return Answer(201, pull_json(world.open_pull(*ends, body["title"])))

    return bitbucket
