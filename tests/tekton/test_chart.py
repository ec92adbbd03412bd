"""The chart of `guard` gives what the plain CronJob is, and the helmfile's entry what the chart takes."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipeline_step.config_file import parse

from ..testbed import parts
from .test_manifests import JENKINS_X, TEKTON, only

CHART = JENKINS_X / "charts/pipeline-step-guard"


def release() -> dict[str, Any]:
    """The helmfile's entry."""
    (found,) = only(JENKINS_X / "helmfile/helmfile.yaml")["releases"]
    return dict(found)


@pytest.fixture
def rendered(tmp_path: Path) -> list[dict[str, Any]]:
    """What Helm makes of the chart with the helmfile's values."""
    helm = parts.path("helm", "helm")
    if not helm.exists():
        pytest.skip("Helm is not built: run `python -m tests.testbed build --all` once")
    values = tmp_path / "values.yaml"
    values.write_text(yaml.safe_dump(release()["values"][0]))
    command = [str(helm), "template", release()["name"], str(CHART), "--namespace", "jx", "--values", str(values)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    return list(yaml.safe_load_all(done.stdout))


def test_the_chart_is_the_cron_job(rendered: list[dict[str, Any]]) -> None:
    configuration, job = rendered
    plain = only(TEKTON / "cronjob/pipeline-step-guard.yaml")

    def container(cron_job: dict[str, Any]) -> dict[str, Any]:
        return dict(cron_job["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"][0])

    theirs, ours = container(job), container(plain)
    assert {key: theirs[key] for key in theirs if key != "env"} == {key: ours[key] for key in ours if key != "env"}
    assert [variable["name"] for variable in theirs["env"]] == [variable["name"] for variable in ours["env"]]
    for cron_job in (job, plain):
        template = cron_job["spec"]["jobTemplate"]["spec"]["template"]["spec"]
        template.pop("containers")
        template["volumes"] = [volume["name"] for volume in template["volumes"]]
    assert job["spec"] == plain["spec"]
    assert configuration["metadata"]["name"] == job["metadata"]["name"]


def test_the_configuration_in_the_helmfile_is_one(rendered: list[dict[str, Any]]) -> None:
    given = parse(rendered[0]["data"][".pipeline-step.yaml"], "helmfile.yaml")
    assert given == parse(release()["values"][0]["configuration"], "helmfile.yaml")
    assert given.app == "shop"


def test_the_helmfile_finds_the_chart() -> None:
    assert (JENKINS_X / "helmfile" / release()["chart"]).resolve().parent.name == "charts"
    assert (CHART / "Chart.yaml").is_file()
