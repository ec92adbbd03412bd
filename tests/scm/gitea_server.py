"""A real Gitea with real users: the program and its files are parts of the test-bed."""

from __future__ import annotations

import base64
import os
import secrets
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import requests

from ..testbed import parts

START_SECONDS = 60
PASSWORD = secrets.token_urlsafe(16)
CONFIGURATION = """
I_AM_BEING_UNSAFE_RUNNING_AS_ROOT = true
RUN_MODE = prod
WORK_PATH = {place}
[server]
HTTP_ADDR = {address}
HTTP_PORT = {port}
ROOT_URL = http://{address}:{port}/
DISABLE_SSH = true
OFFLINE_MODE = true
STATIC_ROOT_PATH = {files}
[database]
DB_TYPE = sqlite3
PATH = {place}/gitea.db
[security]
INSTALL_LOCK = true
PASSWORD_HASH_ALGO = pbkdf2$1000$16
[queue]
TYPE = channel
[indexer]
ISSUE_INDEXER_TYPE = db
[cron]
ENABLED = false
[log]
MODE = file
LEVEL = warn
ROOT_PATH = {place}
[webhook]
ALLOWED_HOST_LIST = *
[openid]
ENABLE_OPENID_SIGNIN = false
"""


def missing() -> str:
    """Why it can't run here, or ""."""
    absent = [part.name for part in parts.OPTIONAL if part.name.startswith("gitea") and not parts.folder(part).exists()]
    return f"{' and '.join(absent)} not built: run `python -m tests.testbed build --all` once" if absent else ""


def _folder(name: str) -> Path:
    return parts.folder(next(part for part in parts.OPTIONAL if part.name == name))


@dataclass
class Gitea:
    """A running server with the private repository acme/shop, and everyone's token."""

    url: str
    tokens: dict[str, str] = field(default_factory=dict)

    def api(self, user: str, method: str, path: str, body: Any = None, *, accept: tuple[int, ...] = ()) -> Any:
        """A request as `user`; the answer's JSON."""
        secret = {"Authorization": f"token {self.tokens[user]}"}
        answer = requests.request(method, f"{self.url}/api/v1{path}", json=body, headers=secret, timeout=20)
        assert answer.ok or answer.status_code in accept, f"{method} {path}: {answer.status_code} {answer.text}"
        return answer.json() if answer.content and "json" in answer.headers.get("content-type", "") else None

    def add_user(self, name: str) -> None:
        """A user with a password and a token."""
        new = {"username": name, "email": f"{name}@example.com", "password": PASSWORD, "must_change_password": False}
        self.api("root", "POST", "/admin/users", new)
        answer = requests.post(
            f"{self.url}/api/v1/users/{name}/tokens",
            json={"name": "tests", "scopes": ["all"]},
            auth=(name, PASSWORD),
            timeout=20,
        )
        self.tokens[name] = answer.json()["sha1"]

    def collaborate(self, name: str, permission: str) -> None:
        """Give someone a permission in acme/shop: read, write or admin."""
        self.api("root", "PUT", f"/repos/acme/shop/collaborators/{name}", {"permission": permission})

    def commit(self, user: str, branch: str, files: dict[str, str], repo: str = "acme/shop") -> str:
        """Add files in one commit on a branch, which begins at main; its SHA. That is a push, as far as Gitea goes."""
        known = self.api(user, "GET", f"/repos/{repo}/branches/{branch}", accept=(404,))
        exists = known is not None and "commit" in known
        changes = [
            {"operation": "create", "path": path, "content": base64.b64encode(text.encode()).decode()}
            for path, text in files.items()
        ]
        where = {"branch": branch} if exists else {"branch": "main", "new_branch": branch}
        body = {**where, "message": f"Add {len(files)} files", "files": changes}
        return str(self.api(user, "POST", f"/repos/{repo}/contents", body)["commit"]["sha"])

    def open_pull(self, user: str, branch: str, head_owner: str = "") -> int:
        """A pull request into main."""
        head = f"{head_owner}:{branch}" if head_owner else branch
        body = {"title": f"Merge {branch}", "head": head, "base": "main"}
        return int(self.api(user, "POST", "/repos/acme/shop/pulls", body)["number"])

    def say(self, user: str, number: int, text: str) -> str:
        """A comment on a pull request; its id."""
        return str(self.api(user, "POST", f"/repos/acme/shop/issues/{number}/comments", {"body": text})["id"])


@contextmanager
def running(place: Path, address: str = "127.0.0.1") -> Iterator[Gitea]:
    """Run it while the block lasts, with its data in `place`."""
    with socket.socket() as probe:
        probe.bind((address, 0))
        port = probe.getsockname()[1]
    configuration = place / "app.ini"
    configuration.write_text(
        CONFIGURATION.format(place=place, address=address, port=port, files=_folder("gitea-files"))
    )
    program = [str(_folder("gitea") / "gitea"), "--config", str(configuration), "--work-path", str(place)]
    environment = {**os.environ, "HOME": str(place), "GIT_CONFIG_NOSYSTEM": "1", "GITEA_WORK_DIR": str(place)}
    with (place / "output").open("wb") as output:
        server = subprocess.Popen([*program, "web"], env=environment, stdout=output, stderr=output)
        try:
            gitea = Gitea(f"http://{address}:{port}")
            _wait(server, gitea.url, place / "output")
            create = ["admin", "user", "create", "--admin", "--access-token", "--username", "root"]
            create += ["--password", PASSWORD, "--email", "root@example.com", "--must-change-password=false"]
            made = subprocess.run([*program, *create], env=environment, capture_output=True, text=True, timeout=60)
            assert made.returncode == 0, made.stdout + made.stderr
            gitea.tokens["root"] = next(word for word in reversed(made.stdout.split()) if len(word.strip(".")) == 40)
            _furnish(gitea)
            yield gitea
        finally:
            server.terminate()
            try:
                server.wait(20)
            except subprocess.TimeoutExpired:
                server.kill()
                server.wait()


def _wait(server: subprocess.Popen[bytes], url: str, output: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while True:
        assert server.poll() is None, output.read_text(errors="replace")
        try:
            if requests.get(f"{url}/api/healthz", timeout=2).ok:
                return
        except requests.ConnectionError:
            pass
        assert time.monotonic() < deadline, output.read_text(errors="replace")
        time.sleep(0.1)


def _furnish(gitea: Gitea) -> None:
    """Everyone is named after what they may do in the private repository acme/shop."""
    for name in ("bot", "olga", "maria", "wendy", "rita", "stranger"):
        gitea.add_user(name)
    gitea.api("root", "POST", "/orgs", {"username": "acme"})
    shop = {"name": "shop", "private": True, "auto_init": True, "default_branch": "main"}
    gitea.api("root", "POST", "/orgs/acme/repos", shop)
    team = {"name": "operators", "permission": "write", "units": ["repo.code", "repo.pulls", "repo.issues"]}
    operators = gitea.api("root", "POST", "/orgs/acme/teams", team)["id"]
    gitea.api("root", "PUT", f"/teams/{operators}/members/maria")
    gitea.api("root", "PUT", f"/teams/{operators}/repos/acme/shop")
    for name, permission in (("bot", "admin"), ("olga", "admin"), ("wendy", "write"), ("rita", "read")):
        gitea.collaborate(name, permission)
    gitea.commit("root", "main", {".pipeline-step.yaml": "app: shop\n", "CODEOWNERS": "* @olga\n"})
