"""A clone of a Git repository, for one change: the only module that runs Git.

Credentials go to Git through its environment and a credential helper that reads them there, for this one host; they are
in no URL, no argument and no file.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar
from urllib.parse import urlsplit

from pipeline_step.errors import ConfigError, GitError
from pipeline_step.redaction import Redaction, shown, without_userinfo

if TYPE_CHECKING:
    from git import Repo

T = TypeVar("T")

PATIENCE = 45  # seconds that one command of Git may take
HELPER = """!f() { test "$1" = get && printf 'username=%s\\npassword=%s\\n' "$STEP_GIT_USER" "$STEP_GIT_SECRET"; }; f"""
USERS = {
    "github": "x-access-token",
    "gitlab": "oauth2",
    "bitbucket_cloud": "x-token-auth",
    "bitbucket_dc": "x-token-auth",
}
"""The user that goes with a token, where the provider minds."""
AUTHOR = ("pipeline-step", "pipeline-step@localhost")


class Access(NamedTuple):
    """The remote's URL, and the token that is for it alone; `kind` is the provider's name, "" where it is not known."""

    url: str
    token: str = ""
    kind: str = ""


class Clone:
    """A work tree at the tip of a branch. Every method raises `GitError` in one sentence, without a secret."""

    def __init__(self, repo: Repo, folder: Path, branch: str, redaction: Redaction) -> None:
        self.branch = branch
        self._repo = repo
        self._folder = folder.resolve()
        self._redaction = redaction

    @property
    def head(self) -> str:
        """The SHA of the commit in the work tree."""
        return str(self._git("rev-parse", "HEAD"))

    def read(self, path: str) -> str | None:
        """A file of the work tree, with its line ends as they are; None where there is none."""
        file = self._file(path)
        if not file.is_file():
            return None
        try:
            return file.read_bytes().decode()
        except UnicodeDecodeError as error:
            raise ConfigError(f"{path} of the environment repository is not text in UTF-8") from error

    def write(self, path: str, text: str) -> None:
        """Replace a file of the work tree."""
        self._file(path).write_bytes(text.encode())

    def commit(self, message: str) -> str:
        """Commit what was written; the SHA."""
        self._git("commit", "--all", "--quiet", "--no-verify", "--message", message)
        return self.head

    def changed(self) -> bool:
        """Whether the work tree differs from its commit."""
        return bool(self._git("status", "--porcelain"))

    def latest(self, *trailers: str) -> tuple[str, str]:
        """The newest commit whose message has one of these lines, and that line; two empty texts if none has."""
        wanted = [argument for trailer in trailers for argument in ("--grep", trailer)]
        found = self._git("log", "--fixed-strings", *wanted, "--format=%H%x00%P%x00%B%x01", "HEAD")
        for entry in filter(None, (one.strip() for one in str(found).split("\x01"))):
            sha, parents, message = entry.split("\x00", 2)
            lines = {line.strip() for line in message.splitlines()}
            # A merge may quote the message of what it merges, which is in the log as well.
            if (line := next((one for one in trailers if one in lines), "")) and len(parents.split()) < 2:
                return sha, line
        return "", ""

    def revert(self, sha: str, message: str) -> str:
        """Commit the opposite of a commit; the SHA. A merge is taken back as a whole.

        Raises `GitError` where what it changed was changed again since.
        """
        parents = str(self._git("show", "--no-patch", "--format=%P", sha)).split()
        mainline = ["--mainline", "1"] if len(parents) > 1 else []
        try:
            self._git("revert", "--no-commit", *mainline, sha)
        except GitError as error:
            self._git("reset", "--hard", "--quiet")
            raise GitError(f"commit {sha[:12]} can't be reverted: what it changed was changed again since") from error
        if not self.changed():
            return self.head
        return self.commit(message)

    def push(self, branch: str = "") -> bool:
        """Push the commit to a branch, this one by default; False where that has other commits already."""
        target = f"HEAD:refs/heads/{branch or self.branch}"
        try:
            self._git("push", "--quiet", "origin", target)
        except GitError as error:
            if any(
                words in str(error) for words in ("fetch first", "non-fast-forward", "cannot lock ref", "stale info")
            ):
                return False
            raise
        return True

    def has(self, branch: str) -> bool:
        """Whether the remote has the branch now."""
        return bool(self._git("ls-remote", "--heads", "origin", f"refs/heads/{branch}"))

    def remove(self, branch: str) -> None:
        """Delete a branch of the remote; one that is gone is fine."""
        if self.has(branch):
            self._git("push", "--quiet", "origin", f":refs/heads/{branch}")

    def update(self) -> None:
        """Go to what the branch is at the remote now."""
        self._git("fetch", "--quiet", "origin", f"+refs/heads/{self.branch}:refs/remotes/origin/{self.branch}")
        self._git("reset", "--hard", "--quiet", f"origin/{self.branch}")

    def _file(self, path: str) -> Path:
        file = (self._folder / path).resolve()
        if not file.is_relative_to(self._folder) or ".git" in file.relative_to(self._folder).parts:
            raise ConfigError(f"{path!r} leads out of the environment repository")
        return file

    def _git(self, command: str, *arguments: str) -> Any:
        from git import GitCommandError

        try:
            return _undisturbed(
                lambda: self._repo.git.execute(["git", command, *arguments], kill_after_timeout=PATIENCE)
            )
        except GitCommandError as error:
            raise GitError(self._redaction.redact(f"git {command}: {_words(error)}")) from None


@contextmanager
def cloned(access: Access, branch: str = "") -> Iterator[Clone]:
    """A clone in a folder of its own while the block runs; of the remote's own branch where none is named."""
    try:
        from git import GitCommandError, Repo
    except ImportError as error:
        raise ConfigError(
            "promoting through Git needs the program git, which is not on the PATH; the image's target with-git has it"
        ) from error

    url = without_userinfo(access.url) if "://" in access.url else access.url
    redaction = Redaction([access.token] if access.token else [])
    with tempfile.TemporaryDirectory(prefix="pipeline-step-") as place:
        folder = Path(place) / "clone"
        options = ["--single-branch", "--no-tags", "--quiet", *(["--branch", branch] if branch else [])]
        try:
            repo = _undisturbed(
                lambda: Repo.clone_from(
                    url, folder, env=_environment(access, url), multi_options=options, kill_after_timeout=PATIENCE
                )
            )
        except GitCommandError as error:
            raise GitError(redaction.redact(f"{shown(url)} can't be cloned: {_words(error)}")) from None
        try:
            repo.git.update_environment(**_environment(access, url))
            if repo.head.is_detached or not repo.head.is_valid():
                raise GitError(f"{shown(url)} has no commit on its branch")
            yield Clone(repo, folder, repo.active_branch.name, redaction)
        finally:
            repo.close()


def _environment(access: Access, url: str) -> dict[str, str]:
    """Git's environment: who commits, the credentials for this server alone, and no questions to anybody."""
    settings = {"core.autocrlf": "false", "commit.gpgSign": "false", "core.hooksPath": "/dev/null"}
    if access.token and "://" in url:
        parts = urlsplit(url)
        scope = f"credential.{parts.scheme}://{parts.netloc}.helper"
        pairs = [("credential.helper", ""), (scope, ""), (scope, HELPER), *settings.items()]
    else:
        pairs = list(settings.items())
    named = {f"GIT_CONFIG_KEY_{number}": key for number, (key, _) in enumerate(pairs)}
    values = {f"GIT_CONFIG_VALUE_{number}": value for number, (_, value) in enumerate(pairs)}
    user, _, secret = access.token.rpartition(":")
    name, mail = AUTHOR
    return {
        **named,
        **values,
        "GIT_CONFIG_COUNT": str(len(pairs)),
        "STEP_GIT_USER": user or USERS.get(access.kind, "pipeline-step"),
        "STEP_GIT_SECRET": secret,
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_AUTHOR_NAME": name,
        "GIT_AUTHOR_EMAIL": mail,
        "GIT_COMMITTER_NAME": name,
        "GIT_COMMITTER_EMAIL": mail,
        "LC_ALL": "C",
    }


def _undisturbed(work: Callable[[], T]) -> T:
    """Do it in a thread of its own and wait for it even where a signal arrives meanwhile.

    A push that is still on its way could land after it was taken back.
    """
    with ThreadPoolExecutor(max_workers=1) as pool:
        return pool.submit(work).result()


def _words(error: Any) -> str:
    """What Git said, on one line."""
    text = " ".join(str(error.stderr or error.stdout or error.status).replace("stderr:", "").split()).strip("' ")
    return text or f"it ended with {error.status}"
