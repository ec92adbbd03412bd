"""The dashboard is what Grafana reads, and the rules are what Prometheus reads."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard

from pipeline_step.sinks import metrics
from tests.dashboards.files import DASHBOARD, FOLDER, queries
from tests.sinks.story import DONE, PROMOTED, config, look, story


def lost(before: Any, after: Any, path: str = "") -> Iterator[str]:
    """What a reader did not understand, by what it writes again."""
    if isinstance(before, dict) and isinstance(after, dict):
        for key, value in before.items():
            yield from lost(value, after[key], f"{path}.{key}") if key in after else [f"{path}.{key}"]
    elif isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        for index, (one, other) in enumerate(zip(before, after, strict=True)):
            yield from lost(one, other, f"{path}[{index}]")
    elif before != after:
        yield f"{path}: {before!r}, read as {after!r}"


def test_grafana_s_models_know_every_key() -> None:
    register_default_plugins()
    read = Dashboard.from_json(DASHBOARD)
    written = json.loads(JSONEncoder(sort_keys=True).encode(read))
    assert list(lost(DASHBOARD, written)) == []
    broken = json.loads(json.dumps(DASHBOARD))
    broken["panels"][1]["fieldConfig"]["defaults"]["unitt"] = "s"
    known = json.loads(JSONEncoder(sort_keys=True).encode(Dashboard.from_json(broken)))
    assert list(lost(broken, known)) == [".panels[1].fieldConfig.defaults.unitt"]


def test_it_can_be_provisioned() -> None:
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(set(ids)) == len(ids)
    sources = {json.dumps(panel["datasource"]) for panel in DASHBOARD["panels"] if "datasource" in panel}
    assert sources == {'{"type": "prometheus", "uid": "${datasource}"}'}
    known = {variable["name"] for variable in DASHBOARD["templating"]["list"]} | {
        "__rate_interval",
        "__range_s",
        "__interval",
    }
    assert {name for _, query in queries() for name in re.findall(r"\$(\w+)", query)} <= known
    for panel in DASHBOARD["panels"]:
        assert panel["type"] == "row" or panel["description"], panel["title"]
        assert panel["gridPos"]["x"] + panel["gridPos"]["w"] <= 24


def test_every_metric_that_is_asked_for_is_told() -> None:
    text = metrics.exposition(
        story(config(), PROMOTED, looks=[look(25, 120)], decisions={"hold": 1}, end=DONE)
    ).decode()
    told = set(re.findall(r"^(pipeline_step_\w+)\{", text, re.M))
    asked = " ".join([query for _, query in queries()] + [(FOLDER / "rules.yaml").read_text()])
    assert set(re.findall(r"pipeline_step_[a-z_]+", asked)) <= told


@pytest.mark.parametrize("command", [["check", "rules", "rules.yaml"], ["test", "rules", "rules_test.yaml"]])
def test_the_rules_please_promtool(command: list[str]) -> None:
    program = shutil.which("promtool")
    if program is None:
        pytest.skip("no promtool program is installed")
    done = subprocess.run([program, *command], cwd=FOLDER, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
