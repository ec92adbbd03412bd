"""The job gate with the real client, over a server that keeps Jobs as the API does."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec
import pytest

from pipeline_step.cluster import Cluster
from pipeline_step.errors import ConfigError
from pipeline_step.gates import Sources, Subject, job
from pipeline_step.gates.load import Load, container
from pipeline_step.gates.placeholders import sides
from pipeline_step.http import Http
from pipeline_step.model import Measurement, Outcome
from tests.gates.conftest import Answer, Site

JSON = {"Content-Type": "application/json"}
IMAGE = {"image": "shop-checks:1", "args": ["--all"]}


@dataclass
class Jobs:
    """The API's part that the gate uses: Jobs that can be created once, their pods and logs."""

    jobs: dict[str, Any] = field(default_factory=dict)
    pods: list[Any] = field(default_factory=list)
    log: str = ""
    status: int = 0
    lose_first_answer: bool = False

    def respond(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> Answer:
        where = urlsplit(path).path
        if self.status:
            return self.status, JSON, json.dumps({"message": "no"}).encode()
        if where == "/apis/batch":
            return 200, JSON, b'{"preferredVersion": {"groupVersion": "batch/v1"}}'
        if method == "POST" and where == "/apis/batch/v1/namespaces/pr-35/jobs":
            obj = json.loads(body)
            if obj["metadata"]["name"] in self.jobs:
                return 409, JSON, b'{"message": "already exists"}'
            self.jobs[obj["metadata"]["name"]] = obj
            return (500, JSON, b"{}") if self.lose_first_answer else (201, JSON, body)
        if match := re.fullmatch(r"/apis/batch/v1/namespaces/pr-35/jobs/(.+)", where):
            found = self.jobs.get(match[1])
            return (200, JSON, json.dumps(found).encode()) if found else (404, JSON, b'{"message": "not found"}')
        if where == "/api/v1/namespaces/pr-35/pods":
            return 200, JSON, json.dumps({"items": self.pods}).encode()
        if where.endswith("/log"):
            return 200, {"Content-Type": "text/plain"}, self.log.encode()
        return 404, JSON, b'{"message": "not found"}'

    def finish(self, kind: str, message: str = "") -> None:
        """The newest Job gets a condition."""
        condition = {"type": kind, "status": "True", "reason": "BackoffLimitExceeded", "message": message}
        list(self.jobs.values())[-1]["status"] = {"conditions": [condition]}


class Checks:
    """A gate that is asked again and again."""

    def __init__(self, api: Jobs, cluster: Cluster, subject: Subject) -> None:
        self.api = api
        self.sources = Sources(clusters={"test": cluster}, http=Http(patience=0.5))
        self.subject = subject
        self.counters: Any = {}

    def measure(self, **given: Any) -> Measurement:
        settings = msgspec.convert(given or IMAGE, job.Settings)
        measurement = job.measure("job", settings, self.subject, self.sources, self.counters)
        self.counters = json.loads(json.dumps(measurement.counters))
        return measurement


@pytest.fixture
def checks(connect: Callable[..., Cluster], site: Callable[..., Site], subject: Subject) -> Checks:
    api = Jobs()
    return Checks(api, connect(site(api.respond).url), subject)


def test_a_job_runs_once_and_its_completion_passes(checks: Checks) -> None:
    assert checks.measure().outcome is Outcome.WAITING
    measurement = checks.measure()
    assert (measurement.outcome, len(checks.api.jobs)) == (Outcome.WAITING, 1)
    assert re.fullmatch(r"job: Job pr-35/pipeline-step-job-[0-9a-f]{10} is still running", measurement.reason)
    checks.api.finish("Complete")
    assert checks.measure().outcome is Outcome.PASS
    checks.api.jobs.clear()  # its time to live is over
    assert checks.measure().outcome is Outcome.PASS
    assert not checks.api.jobs


def test_what_the_job_is_given(checks: Checks) -> None:
    checks.measure()
    (created,) = checks.api.jobs.values()
    assert created["apiVersion"] == "batch/v1"
    assert created["spec"]["backoffLimit"] == 0
    assert created["spec"]["activeDeadlineSeconds"] == 300
    pod = created["spec"]["template"]
    assert pod["metadata"]["labels"] == {"sidecar.istio.io/inject": "false"}
    assert pod["spec"]["restartPolicy"] == "Never"
    (container,) = pod["spec"]["containers"]
    assert (container["image"], container["args"]) == ("shop-checks:1", ["--all"])
    env = {one["name"]: one["value"] for one in container["env"]}
    assert env == {
        "PREVIEW_WEIGHT": "5",
        "PREVIEW_HOST": "shop.pr-35.svc.cluster.local",
        "PREVIEW_NAMESPACE": "pr-35",
        "PREVIEW_SERVICE": "shop",
        "STABLE_HOST": "shop.production.svc.cluster.local",
        "STABLE_NAMESPACE": "production",
        "STABLE_SERVICE": "shop",
    }


def test_a_failed_job_fails_with_its_last_words_and_stays_failed(checks: Checks) -> None:
    checks.measure()
    checks.api.pods = [{"metadata": {"name": "p", "namespace": "pr-35"}, "spec": {"containers": [{"name": "gate"}]}}]
    checks.api.log = "checking cart\ncart is empty\n"
    checks.api.finish("Failed", "Job has reached the specified backoff limit")
    measurement = checks.measure()
    assert measurement.outcome is Outcome.FAIL
    assert measurement.reason.endswith(
        "failed: Job has reached the specified backoff limit; it wrote last: checking cart cart is empty"
    )
    checks.api.jobs.clear()
    assert checks.measure().reason == measurement.reason


def test_each_step_has_its_own_job_unless_the_rollout_has_one(checks: Checks) -> None:
    for each, expected in (("step", 2), ("rollout", 1)):
        checks.api.jobs.clear()
        checks.counters = {}
        given = {**IMAGE, "each": each}
        checks.measure(**given)
        checks.api.finish("Complete")
        assert checks.measure(**given).outcome is Outcome.PASS
        checks.subject = replace(checks.subject, began=checks.subject.began + 60, weight=25)
        checks.measure(**given)
        assert len(checks.api.jobs) == expected


def test_a_resumed_run_finds_the_job_of_the_killed_one(checks: Checks) -> None:
    checks.measure()
    checks.counters = {}
    assert checks.measure().outcome is Outcome.WAITING
    assert len(checks.api.jobs) == 1


def test_an_answer_that_is_lost_starts_no_second_job(checks: Checks) -> None:
    checks.api.lose_first_answer = True
    assert checks.measure().outcome is Outcome.WAITING
    assert len(checks.api.jobs) == 1


def test_an_image_that_can_not_be_pulled_says_nothing_of_the_preview(checks: Checks) -> None:
    checks.measure()
    waiting = {"name": "gate", "state": {"waiting": {"reason": "ImagePullBackOff"}}}
    checks.api.pods = [
        {
            "metadata": {"name": "p", "namespace": "pr-35"},
            "spec": {"containers": [{"name": "gate"}]},
            "status": {"containerStatuses": [waiting]},
        }
    ]
    measurement = checks.measure()
    assert measurement.outcome is Outcome.UNREACHABLE
    assert "can't start: pod p, container gate: the image can't be pulled" in measurement.reason
    checks.api.finish("Failed", "deadline")
    assert checks.measure().outcome is Outcome.UNREACHABLE


@pytest.mark.parametrize("status", [401, 403, 500])
def test_an_api_that_refuses_is_unreachable(checks: Checks, status: int) -> None:
    checks.api.status = status
    measurement = checks.measure()
    assert measurement.outcome is Outcome.UNREACHABLE
    assert f"HTTP {status}" in measurement.reason


def test_a_manifest_is_run_as_it_is_written(checks: Checks, tmp_path: Path) -> None:
    file = tmp_path / "job.yaml"
    file.write_text(
        """\
apiVersion: batch/v1
kind: Job
metadata: {name: smoke, labels: {team: shop}}
spec:
  backoffLimit: 2
  template:
    metadata: {labels: {sidecar.istio.io/inject: "true"}}
    spec:
      restartPolicy: OnFailure
      containers:
      - {name: smoke, image: smoke:1, env: [{name: PREVIEW_HOST, value: mine}]}
"""
    )
    checks.measure(manifest=str(file), service_account="checker")
    (created,) = checks.api.jobs.values()
    assert created["metadata"]["labels"]["team"] == "shop"
    assert created["metadata"]["name"] != "smoke"
    assert created["spec"]["backoffLimit"] == 2
    pod = created["spec"]["template"]
    assert pod["metadata"]["labels"] == {"sidecar.istio.io/inject": "true"}
    assert (pod["spec"]["restartPolicy"], pod["spec"]["serviceAccountName"]) == ("OnFailure", "checker")
    # of two variables with one name, the last counts in Kubernetes
    assert pod["spec"]["containers"][0]["env"][-1] == {"name": "PREVIEW_HOST", "value": "mine"}

    file.write_text("kind: Pod\n---\nkind: Job\n")
    with pytest.raises(ConfigError, match="must hold one Job; it holds: Pod, Job"):
        checks.measure(manifest=str(file))
    file.write_text("a: [")
    with pytest.raises(ConfigError, match="can't be read"):
        checks.measure(manifest=str(file))


def test_a_context_that_is_not_there_is_named(checks: Checks) -> None:
    with pytest.raises(ConfigError, match="context: 'eu' is none of the rollout's: test"):
        checks.measure(**IMAGE, context="eu")


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, "give one of manifest, image and load"),
        ({"image": "a", "manifest": "b"}, "give one of manifest, image and load"),
        ({"manifest": "a", "args": ["b"]}, "command and args go with image"),
        ({"load": {"url": "shop"}}, "must begin with http:// or https://"),
        ({"load": {"url": "http://a", "rate": 0}}, "rate is 0 a second"),
        ({"load": {"url": "http://a", "tool": "ab"}}, "Invalid enum value 'ab'"),
        ({"load": {"url": "http://a", "duration": "5m"}}, "timeout 5m must be longer than the load's duration 5m"),
    ],
)
def test_wrong_settings_are_told_when_they_are_read(given: dict[str, Any], expected: str) -> None:
    with pytest.raises(msgspec.ValidationError, match=expected):
        msgspec.convert(given, job.Settings)


def test_the_ready_loads(subject: Subject) -> None:
    url = "http://shop.example/${preview_service}"
    load = Load(url=url, rate=20, duration="90s", connections=4, headers={"X-Load": "yes"})
    fortio = container(load, sides(subject))
    assert fortio["args"] == [
        *("load", "-qps", "20", "-c", "4", "-t", "90s", "-allow-initial-errors", "-quiet"),
        *("-H", "X-Load: yes", "http://shop.example/shop"),
    ]
    assert fortio["securityContext"]["runAsNonRoot"] is True
    hey = container(msgspec.structs.replace(load, tool="hey", image="hey:mine"), sides(subject))
    assert (hey["image"], hey["args"][:6]) == ("hey:mine", ["-q", "5", "-c", "4", "-z", "90s"])
    k6 = container(msgspec.structs.replace(load, tool="k6"), sides(subject))
    env = {one["name"]: one["value"] for one in k6["env"]}
    assert json.loads(env["LOAD"]) == {
        "url": "http://shop.example/shop",
        "headers": {"X-Load": "yes"},
        "requests": 200,
        "per": "10s",
        "duration": "90s",
        "connections": 4,
    }
