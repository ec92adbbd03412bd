"""Runs of the Tasks and Pipelines by real Tekton, on real routes: promoted, reverted, cancelled, killed, resumed."""

from __future__ import annotations

import contextlib
import copy
import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from ..scenarios.bed import Bed, eventually
from ..scenarios.watching import bare
from ..scenarios.world import assert_untouched
from .lane import CATALOG, Lane, exit_code, reason, results
from .test_manifests import FILES, documents, name_of

pytestmark = [pytest.mark.testbed, pytest.mark.timeout(400)]

NEVER = [{"http": {"url": "http://${preview_service}.${preview_namespace}.svc.cluster.local/status?code=503"}}]
"""A gate that the preview fails: its own service answers 503 there, asked for by the step's pod."""
LONG = {"strategy": {"steps": [10, 50], "bake": "5m", "deadline": "20m"}}


def files_for_the_api() -> list[Path]:
    """What an API server knows: all but the triggers of projects that the test-bed has no CRDs of, and Helm's files."""
    kinds = {"Task", "TaskRun", "Pipeline", "PipelineRun", "StepAction", "CronJob", "ServiceAccount"}
    return [path for path in FILES if documents(path)[0].get("kind") in kinds]


@pytest.mark.parametrize("path", files_for_the_api(), ids=name_of)
def test_the_admission_webhook_takes_it(bed: Bed, path: Path) -> None:
    text = path.read_text().replace(
        "kind: PipelineRun\nmetadata:\n  name: ", "kind: PipelineRun\nmetadata:\n  name: x-"
    )
    assert "dry run" in bed.kubectl("create", "--dry-run=server", "-f", "-", text=text)


def test_the_admission_webhook_is_there(bed: Bed) -> None:
    task = yaml.safe_load((CATALOG / "task/pipeline-step-shift/0.1/pipeline-step-shift.yaml").read_text())
    task["spec"]["steps"][0]["args"].append("$(params.nothing)")
    with pytest.raises(AssertionError, match=r"params\.nothing"):
        bed.kubectl("create", "--dry-run=server", "-f", "-", text=yaml.safe_dump(task))


def test_a_pull_request_is_promoted(lane: Lane) -> None:
    before = lane.world.virtual_service()

    run = lane.wait("pipelinerun", lane.start_pipeline())

    assert reason(run) == "Completed", lane.told()  # succeeded, with the revert left out
    tasks = lane.task_runs(run["metadata"]["name"])
    assert set(tasks) == {"build", "preview", "rollout"}
    assert results(tasks["preview"])["outcome"] == "ready"
    promoted = results(tasks["rollout"])
    assert promoted["outcome"] == "promoted" and promoted["weight"] == "0"
    assert results(run) == {
        "outcome": "promoted",
        "url": results(tasks["preview"])["url"],
        "digest": promoted["digest"],
    }
    assert lane.world.production_image() == f"localhost/sample@{promoted['digest']}"
    assert_untouched(before, lane.world.virtual_service())
    lane.world.await_answers({"2"})


def test_a_gate_that_fails_ends_the_run_with_3_and_the_revert_finds_nothing_left(
    lane: Lane, configure: Callable[..., None]
) -> None:
    configure(gates=NEVER)
    before, image = lane.world.virtual_service(), lane.world.production_image()

    run = lane.wait("pipelinerun", lane.start_pipeline())

    assert reason(run) == "Failed"
    tasks = lane.task_runs(run["metadata"]["name"])
    assert exit_code(tasks["rollout"]) == 3, lane.told()
    assert results(tasks["rollout"])["outcome"] == "reverted"
    assert "503" in results(tasks["rollout"])["reason"]
    assert reason(tasks["revert"]) == "Succeeded"
    assert_untouched(before, lane.world.virtual_service())
    assert lane.world.production_image() == image
    lane.world.await_answers({"1"})


@pytest.mark.parametrize(("how", "reverted_again"), [("Cancelled", False), ("CancelledRunFinally", True)])
def test_a_cancelled_run_leaves_production_whole(
    lane: Lane, configure: Callable[..., None], how: str, reverted_again: bool
) -> None:
    configure(**LONG)
    before, image = lane.world.virtual_service(), lane.world.production_image()
    name = lane.start_pipeline()
    lane.await_weight(10)

    lane.cancel(name, how)

    run = lane.wait("pipelinerun", name)
    assert reason(run) == "Cancelled"
    assert ("revert" in lane.task_runs(name)) == reverted_again
    lane.await_weight(0)
    assert_untouched(before, lane.world.virtual_service())
    assert lane.world.production_image() == image


def test_a_run_that_is_stopped_with_finally_ends_its_rollout_first(lane: Lane, configure: Callable[..., None]) -> None:
    configure(strategy={"steps": [10], "bake": "5s"})
    name = lane.start_pipeline()
    lane.await_weight(10)

    lane.cancel(name, "StoppedRunFinally")

    run = lane.wait("pipelinerun", name)
    assert results(lane.task_runs(name)["rollout"])["outcome"] == "promoted"
    assert reason(run) in ("Cancelled", "Completed", "Succeeded")
    lane.await_weight(0)


def test_a_task_run_out_of_time_reverts_within_its_grace(lane: Lane, configure: Callable[..., None]) -> None:
    configure(**LONG)
    lane.world.deploy()
    before = lane.world.virtual_service()

    run = lane.wait("taskrun", lane.start_task("rollout", spec={"timeout": "20s"}))

    assert reason(run) == "TaskRunTimeout"
    lane.await_weight(0)
    assert_untouched(before, lane.world.virtual_service())


def test_a_step_that_is_killed_without_warning_is_healed_by_finally(lane: Lane, configure: Callable[..., None]) -> None:
    configure(**LONG)
    before = lane.world.virtual_service()
    task = yaml.safe_load((CATALOG / "task/pipeline-step-rollout/0.1/pipeline-step-rollout.yaml").read_text())
    task["spec"]["steps"][0]["timeout"] = "15s"
    lane.apply(task)
    name = lane.start_pipeline()
    lane.await_weight(10)

    run = lane.wait("pipelinerun", name)

    assert reason(run) == "Failed"
    tasks = lane.task_runs(name)
    assert "reverted" in results(tasks["revert"])["outcome"]
    assert "no share" not in results(tasks["revert"])["reason"], "the killed step had left its share"
    assert_untouched(before, lane.world.virtual_service())


def test_guard_heals_what_a_killed_pod_left(lane: Lane, configure: Callable[..., None]) -> None:
    configure(**LONG)
    lane.world.deploy()
    before = lane.world.virtual_service()
    name = lane.start_task("rollout")
    lane.await_weight(10)
    kill(lane, name)
    lane.wait("taskrun", name)
    assert lane.world.weight() == 10, "nothing could be done at that moment"

    lane.apply(yaml.safe_load((CATALOG / "cronjob/pipeline-step-guard.yaml").read_text()))
    lane.world.age_lease()

    lane.await_weight(0)
    assert_untouched(before, lane.world.virtual_service())


@pytest.mark.usefixtures("memory_is_limited")
def test_a_step_that_runs_out_of_memory_is_healed_by_finally(lane: Lane, configure: Callable[..., None]) -> None:
    configure(**LONG)
    before, image = lane.world.virtual_service(), lane.world.production_image()
    limit = {"pipelineTaskName": "rollout", "computeResources": {"limits": {"memory": "120Mi"}}}
    name = lane.start_pipeline(lambda spec: spec["taskRunSpecs"].append(limit))
    lane.await_weight(10)

    squeeze(lane, lane.task_runs(name)["rollout"]["metadata"]["name"])

    run = lane.wait("pipelinerun", name)
    assert reason(run) == "Failed"
    tasks = lane.task_runs(name)
    pod = lane.get("pod", tasks["rollout"]["status"]["podName"])
    ended = [status["state"]["terminated"] for status in pod["status"]["containerStatuses"]]
    assert [end["reason"] for end in ended] == ["OOMKilled"], ended
    assert "no share" not in results(tasks["revert"])["reason"], "the killed step had left its share"
    assert_untouched(before, lane.world.virtual_service())
    assert lane.world.production_image() == image
    lane.world.await_answers({"1"})


@pytest.fixture
def memory_is_limited() -> None:
    """Skips where the kernel gives containers no limit of memory."""
    if (
        not list(Path("/sys/fs/cgroup").glob("memory/memory.limit_in_bytes"))
        and not Path("/sys/fs/cgroup/cgroup.controllers").exists()
    ):
        pytest.skip("this kernel has no memory controller")


def squeeze(lane: Lane, task_run: str) -> None:
    """Lower the container's limit to what it uses, as often as it takes until the kernel kills the step for it."""
    process = process_of(lane, task_run)
    lines = [line.split(":", 2) for line in read(process / "cgroup").decode().splitlines()]
    groups = {controller: path for _, controller, path in lines}
    one = Path("/sys/fs/cgroup/memory") / groups["memory"].lstrip("/") if "memory" in groups else None
    group = one or Path("/sys/fs/cgroup") / groups[""].lstrip("/")
    limit, usage = ("limit_in_bytes", "usage_in_bytes") if one else ("max", "current")

    def killed() -> bool:
        if not process.exists():
            return True
        # Refused while nothing can be given back, and a group that is gone has no files.
        with contextlib.suppress(OSError):
            used = int((group / f"memory.{usage}").read_text())
            (group / f"memory.{limit}").write_text(str(max(used - 4096, 4096)))
        return False

    eventually(killed, "the kernel kills the step", 60)


def kill(lane: Lane, task_run: str) -> None:
    """End the step's process at once, without a signal that it could heed."""
    os.kill(int(process_of(lane, task_run).name), signal.SIGKILL)


def process_of(lane: Lane, task_run: str) -> Path:
    """The folder in /proc of the step's process."""
    pod = lane.get("taskrun", task_run)["status"]["podName"]
    uid = lane.get("pod", pod)["metadata"]["uid"]
    (process,) = (
        folder
        for folder in Path("/proc").glob("[0-9]*")
        if b"pipeline-step\0rollout" in read(folder / "cmdline")
        and b"python" in read(folder / "cmdline").split(b"\0")[0]
        and uid.encode() in read(folder / "cgroup").replace(b"_", b"-")
    )
    return process


def read(path: Path) -> bytes:
    """A file of a process, empty where it has ended."""
    try:
        return path.read_bytes()
    except OSError:
        return b""


def test_a_lost_pod_leaves_production_whole(lane: Lane, configure: Callable[..., None]) -> None:
    """Tekton starts the pod of a TaskRun again where it is gone, while the old one may still be in its grace."""
    configure(strategy={"steps": [10, 50], "bake": "10s", "deadline": "5m"})
    lane.world.deploy()
    before = lane.world.virtual_service()
    name = lane.start_task("rollout")
    lane.await_weight(10)

    pod = lane.get("taskrun", name)["status"]["podName"]
    lane.kubectl("delete", "pod", pod, "--grace-period=0", "--force")

    run = lane.wait("taskrun", name)
    assert results(run)["outcome"] in ("promoted", "superseded", "interrupted", "reverted"), lane.told()
    assert_untouched(before, lane.world.virtual_service())


def test_a_retry_resumes_what_a_killed_pod_began(lane: Lane, configure: Callable[..., None]) -> None:
    configure(strategy={"steps": [10, 50], "bake": "15s", "deadline": "5m"})
    lane.world.deploy()
    name = lane.start_task("rollout", spec={"retries": 1})
    lane.await_weight(50)
    began = lane.world.recorded()
    assert began is not None
    kill(lane, name)

    def resumed() -> bool:
        found = lane.world.recorded()
        assert lane.world.weight() in (50, 0), "it must not begin again"
        return found is None

    eventually(resumed, "the second attempt ends it", 120)
    run = lane.wait("taskrun", name)
    assert len(run["status"]["retriesStatus"]) == 1
    assert results(run)["outcome"] == "promoted", lane.told()


def test_one_shift_is_held_and_reverted_by_its_task(lane: Lane) -> None:
    lane.world.deploy()
    before = lane.world.virtual_service()

    held = lane.wait("taskrun", lane.start_task("shift", weight="25"))
    assert results(held)["outcome"] == "held", lane.told()
    assert results(held)["weight"] == "25"
    lane.world.await_answers({"1", "2"})

    reverted = lane.wait("taskrun", lane.start_task("revert", reason="seen enough; $(touch /tmp/x) `id`"))
    assert results(reverted)["reason"] == "seen enough; $(touch /tmp/x) `id`"
    assert_untouched(before, lane.world.virtual_service())


def test_the_step_action_is_as_good_as_the_task(lane: Lane) -> None:
    lane.world.deploy()
    run = yaml.safe_load((CATALOG / "stepaction/pipeline-step/0.1/samples/run.yaml").read_text())
    run["metadata"] = {"name": "by-reference"}
    for parameter in run["spec"]["taskSpec"]["steps"][0]["params"]:
        if parameter["name"] == "pull-request":
            parameter["value"] = "7"
    lane.create(run)

    done = lane.wait("taskrun", "by-reference")

    assert results(done) == {"outcome": "held"}, lane.told()
    assert lane.world.weight() == 5


def test_the_account_of_previews_can_not_shift(lane: Lane) -> None:
    lane.world.deploy()
    before = lane.world.virtual_service()

    run = lane.wait("taskrun", lane.start_task("shift", account="preview", weight="25"))

    assert exit_code(run) == 5, lane.told()
    assert "forbidden" in results(run)["reason"]
    assert bare(lane.world.virtual_service()) == bare(before)


def test_a_weight_that_is_none_is_one_sentence(lane: Lane) -> None:
    run = lane.wait("taskrun", lane.start_task("shift", weight="--help; rm -rf /"))
    assert exit_code(run) == 2
    assert copy.deepcopy(lane.world.weight()) == 0
