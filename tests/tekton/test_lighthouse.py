"""The whole story, with nothing faked, and what each stage of it takes.

A comment in a real Gitea, the real Lighthouse, Tekton, the image, istiod, Envoy: and back as a status and a comment.
"""

from __future__ import annotations

import os
import secrets
import socket
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from ..scenarios.bed import eventually
from ..scm import gitea_server
from ..scm.gitea_server import Gitea
from ..testbed import cluster
from ..testbed.environment import NODE
from . import installed
from .lane import GRACE, Lane

pytestmark = [pytest.mark.testbed, pytest.mark.timeout(400)]

Obj = dict[str, Any]
JENKINS_X = Path(__file__).parents[2] / "jenkins-x"
PACK = JENKINS_X / "packs/pipeline-step/.lighthouse/pipeline-step"
REPOSITORY = "acme/croc"


@dataclass
class Story:
    """A repository with an open pull request, whose preview runs, and Lighthouse listening to its comments."""

    lane: Lane
    gitea: Gitea
    number: int
    head: str
    began: float = 0.0
    stages: list[tuple[str, float]] = field(default_factory=list)

    def say(self, user: str, text: str) -> None:
        """Comment on the pull request; the clock starts."""
        self.stages.clear()
        self.began = time.monotonic()
        self.gitea.api(user, "POST", f"/repos/{REPOSITORY}/issues/{self.number}/comments", {"body": text})
        self.reached("the comment is stored")

    def reached(self, stage: str) -> None:
        """Note when a stage was seen."""
        self.stages.append((stage, time.monotonic() - self.began))

    def until(self, stage: str, seen: Callable[[], Any]) -> Any:
        """Wait for a stage, and note when it was seen."""
        found = eventually(seen, stage, GRACE)
        self.reached(stage)
        return found

    def listed(self, kind: str) -> list[Obj]:
        """All objects of a kind in the lane."""
        found: list[Obj] = yaml.safe_load(self.lane.kubectl("get", kind, "-o", "yaml"))["items"]
        return found

    def comments(self) -> list[str]:
        """The bodies of the bot's comments."""
        found = self.gitea.api("root", "GET", f"/repos/{REPOSITORY}/issues/{self.number}/comments")
        return [comment["body"] for comment in found if comment["user"]["login"] == "bot"]

    def status(self) -> str:
        """The state of our own status on the pull request's head."""
        found = self.gitea.api("root", "GET", f"/repos/{REPOSITORY}/commits/{self.head}/statuses")
        context = f"pipeline-step/{self.lane.world.config['app']}"
        return next((str(one["status"]) for one in found if one["context"] == context), "")


def files() -> dict[str, str]:
    """The pack as a repository at this Gitea takes it: with the kind of its server, which the address does not tell."""
    found = {f".lighthouse/pipeline-step/{path.name}": path.read_text() for path in sorted(PACK.glob("*.yaml"))}
    comment = ".lighthouse/pipeline-step/comment.yaml"
    found[comment] = found[comment].replace('value: ""', "value: gitea")
    return found


@contextmanager
def lighthouse(place: Path, namespace: str, kubeconfig: Path, gitea: Gitea) -> Iterator[tuple[str, str]]:
    """Lighthouse's two programs; the address and the secret for webhooks."""
    folder = installed.unpacked("lighthouse") / "bin"
    with socket.socket() as probe:
        probe.bind((NODE, 0))
        port = probe.getsockname()[1]
    secret = secrets.token_hex(16)
    variables = {
        "PATH": os.environ["PATH"],
        "HOME": str(place),
        "TMPDIR": str(place),
        "KUBECONFIG": str(kubeconfig),
        "GIT_KIND": "gitea",
        "GIT_SERVER": gitea.url,
        "GIT_USER": "root",
        "GIT_TOKEN": gitea.tokens["root"],
        "HMAC_TOKEN": secret,
        "LH_CUSTOM_TRIGGER_COMMAND": "jx",
    }
    commands = [
        [str(folder / "lighthouse-webhooks"), f"--namespace={namespace}", f"--port={port}", f"--bind={NODE}"],
        [str(folder / "lighthouse-tektoncontroller"), f"--namespace={namespace}"],
    ]
    running: list[subprocess.Popen[bytes]] = []
    with ExitStack() as stack:
        for command in commands:
            log = stack.enter_context((place / f"{Path(command[0]).name}.log").open("wb"))
            process = subprocess.Popen(command, env=variables, cwd=place, stdout=log, stderr=log)
            running.append(process)
            stack.callback(_end, process)
        url = f"http://{NODE}:{port}"
        eventually(lambda: _answers(f"{url}/Ready", running), "Lighthouse answers")
        yield f"{url}/hook", secret


def _answers(url: str, running: list[subprocess.Popen[bytes]]) -> bool:
    assert all(process.poll() is None for process in running), "Lighthouse has ended"
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:
            return bool(answer.status == 204)
    except OSError:
        return False


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


@pytest.fixture
def story(lane: Lane, tmp_path: Path) -> Iterator[Story]:
    if why := gitea_server.missing():
        pytest.skip(why)
    places = {name: tmp_path / name for name in ("gitea", "lighthouse")}
    for place in places.values():
        place.mkdir()
    with ExitStack() as stack:
        gitea = stack.enter_context(gitea_server.running(places["gitea"], NODE))
        furnish(gitea, lane)
        prepare(gitea, lane)
        hook, secret = stack.enter_context(lighthouse(places["lighthouse"], lane.namespace, lane.bed.kubeconfig, gitea))
        config = {"url": hook, "content_type": "json", "secret": secret}
        events = ["push", "pull_request", "issue_comment", "pull_request_comment"]
        gitea.api(
            "root",
            "POST",
            f"/repos/{REPOSITORY}/hooks",
            {"type": "gitea", "config": config, "events": events, "active": True},
        )
        head = gitea.commit("olga", "feature", {"feature.txt": "new\n"}, repo=REPOSITORY)
        pull = {"title": "A feature", "head": "feature", "base": "main"}
        number = int(gitea.api("olga", "POST", f"/repos/{REPOSITORY}/pulls", pull)["number"])
        yield Story(lane, gitea, number, head)


def furnish(gitea: Gitea, lane: Lane) -> None:
    """The repository of the story, and the one that has the catalog."""
    for owner, name in (("acme", "croc"), ("tools", "pipeline-step")):
        gitea.api("root", "POST", "/orgs", {"username": owner}, accept=(422,))
        new = {"name": name, "private": owner == "acme", "auto_init": True, "default_branch": "main"}
        gitea.api("root", "POST", f"/orgs/{owner}/repos", new)
    for user, permission in (("bot", "admin"), ("olga", "admin"), ("rita", "read")):
        gitea.api("root", "PUT", f"/repos/{REPOSITORY}/collaborators/{user}", {"permission": permission})
    catalog = {
        str(path.relative_to(JENKINS_X.parent)): path.read_text()
        for path in JENKINS_X.glob("tasks/pipeline-step/*.yaml")
    }
    gitea.commit("root", "main", catalog, repo="tools/pipeline-step")
    configuration = (lane.world.directory / ".pipeline-step.yaml").read_text()
    gitea.commit("root", "main", {".pipeline-step.yaml": configuration, **files()}, repo=REPOSITORY)
    team = gitea.api("root", "GET", "/orgs/acme/teams")[0]["id"]
    for user in ("olga", "rita"):
        gitea.api("root", "PUT", f"/teams/{gitea_team(gitea) if user == 'rita' else team}/members/{user}")


def gitea_team(gitea: Gitea) -> int:
    """A team that makes somebody a member of the organisation, and no more."""
    team = {"name": "readers", "permission": "read", "units": ["repo.code", "repo.pulls", "repo.issues"]}
    return int(gitea.api("root", "POST", "/orgs/acme/teams", team)["id"])


def prepare(gitea: Gitea, lane: Lane) -> None:
    """What Lighthouse and its jobs find in their namespace."""
    for path in sorted((installed.unpacked("lighthouse") / "crds").glob("*.yaml")):
        cluster.kubectl("apply", "--server-side", "-f", str(path))
    config = {
        "in_repo_config": {"enabled": {REPOSITORY: True}},
        "pod_namespace": lane.namespace,
        "prowjob_namespace": lane.namespace,
    }
    plugins = {
        "plugins": {REPOSITORY: ["trigger"]},
        "triggers": [{"repos": [REPOSITORY], "trusted_org": "acme"}],
    }
    for name, content in (("config", config), ("plugins", plugins)):
        text = yaml.safe_dump(content)
        data = {f"{name}.yaml": text}
        lane.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data})
    lane.apply(
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": "lighthouse-oauth-token"},
            "stringData": {"oauth": gitea.tokens["bot"]},
        }
    )


def test_a_comment_shifts_a_share_of_production_and_another_takes_it_back(
    story: Story, capsys: pytest.CaptureFixture[str]
) -> None:
    lane, world = story.lane, story.lane.world
    world.environment["PULL_NUMBER"] = str(story.number)
    namespace = world.preview_namespace(story.number)
    world.deploy(story.number, sha=story.head)
    before = world.virtual_service()

    story.say("olga", "Looks good, a quarter of it then:\n\n/jx shift-25")
    story.until("Lighthouse has made a job", lambda: story.listed("lighthousejobs"))
    story.until("a PipelineRun is there", lambda: story.listed("pipelineruns"))
    story.until("its pod is there", lambda: story.listed("pods"))
    story.until("the step has started", lambda: started(story.listed("pods")))
    story.until("the route gives the preview 25 %", lambda: world.weight(story.number) == 25)
    story.until("the first request reaches the preview", lambda: "2" in world.answers(4))
    story.until("the pull request has a comment", story.comments)
    story.until("the commit has a status", story.status)
    run = lane.wait("pipelinerun", story.listed("pipelineruns")[0]["metadata"]["name"])
    story.reached("the PipelineRun is over")
    with capsys.disabled():
        print("\n" + timeline(story))
    assert run["status"]["conditions"][0]["status"] == "True", lane.told()
    assert namespace in str(world.recorded(story.number)["preview"])  # type: ignore[index]
    assert world.recorded(story.number)["by"] == "olga"  # type: ignore[index]
    assert any("25 %" in body for body in story.comments())
    took = dict(story.stages)
    assert took["the first request reaches the preview"] < GRACE

    refused = len(story.listed("pipelineruns"))
    story.say("rita", "/jx shift-100")
    eventually(lambda: len(story.listed("pipelineruns")) > refused, "the member's comment starts a job", GRACE)
    newest = max(story.listed("pipelineruns"), key=lambda run: run["metadata"]["creationTimestamp"])
    lane.wait("pipelinerun", newest["metadata"]["name"])
    assert world.weight(story.number) == 25, "who may only read may not shift"

    story.say("olga", "/jx revert")
    story.until("production has all requests", lambda: world.weight(story.number) == 0)
    eventually(lambda: world.virtual_service()["spec"] == before["spec"], "the route is as it was")
    eventually(lambda: any("revert" in body.lower() for body in story.comments()), "the comment says so")


def started(pods: list[Obj]) -> bool:
    """Whether a container of the step runs or has run."""
    for pod in pods:
        for container in pod.get("status", {}).get("containerStatuses", []):
            if container["name"].startswith("step-") and (container["state"].keys() & {"running", "terminated"}):
                return True
    return False


def timeline(story: Story) -> str:
    """Each stage, when it was seen, and how long after the one before."""
    lines, previous = [], 0.0
    for stage, seconds in story.stages:
        lines.append(f"{seconds:6.1f} s  +{seconds - previous:5.1f}  {stage}")
        previous = seconds
    return "\n".join(lines)
