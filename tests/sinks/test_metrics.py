"""The run's own metrics: their text, and what a real Pushgateway and a real node exporter make of it."""

from __future__ import annotations

import subprocess
from pathlib import Path
from shutil import which

import pytest
import requests
from prometheus_client.parser import text_string_to_metric_families

from pipeline_step.config import Config
from pipeline_step.errors import ConfigError, HttpError
from pipeline_step.model import Phase
from pipeline_step.sinks import metrics
from tests.sinks.programs import serving
from tests.sinks.story import BEGAN, DONE, PROMOTED, config, event, look, story

Samples = dict[str, float]


def samples(text: str) -> Samples:
    """Values by name and labels, without those that every metric has."""
    found = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            own = {
                k: v
                for k, v in sample.labels.items()
                if k not in ("app", "namespace", "pull_request", "job", "instance")
            }
            found[sample.name + "".join(f" {k}={v}" for k, v in sorted(own.items()))] = sample.value
    return found


def told(**given: object) -> Samples:
    return samples(metrics.exposition(story(config(), **given)).decode())  # type: ignore[arg-type]


def test_a_rollout_under_way() -> None:
    found = told(events=PROMOTED[:1], looks=[look(5, 20)], decisions={"hold": 3, "advance": 1})
    assert found["pipeline_step_traffic_ratio side=stable"] == 0.95
    assert found["pipeline_step_traffic_ratio side=preview"] == 0.05
    assert found["pipeline_step_phase phase=baking"] == 1
    assert found["pipeline_step_phase phase=ended"] == 0
    assert found["pipeline_step_step"] == 0
    assert found["pipeline_step_started_timestamp_seconds"] == BEGAN
    assert found["pipeline_step_event_timestamp_seconds"] == BEGAN + 10
    assert found["pipeline_step_deadline_timestamp_seconds"] == BEGAN + 3600
    assert found["pipeline_step_events_total event=shifted"] == 1
    assert found["pipeline_step_decisions_total decision=hold"] == 3
    assert found["pipeline_step_gate_outcome gate=compare outcome=pass"] == 1
    assert found["pipeline_step_gate_outcome gate=compare outcome=fail"] == 0
    assert found["pipeline_step_gate_value gate=compare"] == 0.25
    assert found["pipeline_step_gate_requests gate=compare side=stable"] == 990
    assert found["pipeline_step_gate_bad_requests gate=compare side=preview"] == 2
    assert found["pipeline_step_gate_bad_ratio_upper_bound gate=compare"] == 0.6
    assert found["pipeline_step_gate_suspicious gate=compare"] == 1
    info = "command=rollout preview_namespace=jx-acme-shop-pr-35 preview_service=shop repository=acme/shop"
    assert found[f"pipeline_step_info {info} run=run-1 service=shop sha=abcdef1"] == 1
    assert not [name for name in found if "outcome=promoted" in name or "ended_timestamp" in name]


def test_a_rollout_that_is_over() -> None:
    found = told(events=PROMOTED, looks=[look(25, 120)], end=DONE)
    assert found["pipeline_step_traffic_ratio side=stable"] == 1
    assert found["pipeline_step_phase phase=ended"] == 1
    assert found["pipeline_step_outcome outcome=promoted"] == 1
    assert found["pipeline_step_events_total event=shifted"] == 2
    assert found["pipeline_step_duration_seconds"] == 150
    assert found["pipeline_step_ended_timestamp_seconds"] == BEGAN + 150


@pytest.mark.parametrize(
    ("kind", "phase"), [("paused", "paused"), ("held", "held"), ("undoing", "promoting"), ("resumed", "baking")]
)
def test_the_phase_that_an_event_leads_to(kind: str, phase: str) -> None:
    assert told(events=[event(kind, 5, 10)])[f"pipeline_step_phase phase={phase}"] == 1
    newer = told(events=[event(kind, 5, 10)], looks=[look(5, 20, phase=Phase.PAUSED)])
    assert newer["pipeline_step_phase phase=paused"] == 1


def test_names_and_types_please_promtool() -> None:
    program = which("promtool")
    if program is None:
        pytest.skip("no promtool program is installed")
    text = metrics.exposition(story(config(), PROMOTED, looks=[look(25, 120)], decisions={"hold": 1}, end=DONE))
    done = subprocess.run([program, "check", "metrics"], input=text, capture_output=True, check=False, timeout=60)
    assert (done.returncode, done.stdout + done.stderr) == (0, b"")


def send(config: Config, *stories: dict[str, object]) -> None:
    (told,) = metrics.connect(config, None).values()
    for given in stories:
        told(story(config, **given))  # type: ignore[arg-type]


def test_a_real_pushgateway_has_the_newest_state_of_each_pull_request(tmp_path: Path) -> None:
    with serving(
        "prometheus-pushgateway", lambda address: [f"--web.listen-address={address}"], tmp_path, "/-/ready"
    ) as url:
        mine, other = config(PIPELINE_STEP_PUSHGATEWAY=url), config(PIPELINE_STEP_PUSHGATEWAY=url, PULL_NUMBER="36")
        send(other, {"events": PROMOTED[:1]})
        send(mine, {"events": PROMOTED[:1], "looks": [look(5, 20)]}, {"events": PROMOTED, "end": DONE})
        text = requests.get(f"{url}/metrics", timeout=10).text
        ours = [line for line in text.splitlines() if 'pull_request="35"' in line and line.startswith("pipeline_step")]
        assert any('job="pipeline-step"' in line and 'namespace="prod"' in line for line in ours)
        found = samples("\n".join(ours) + "\n")
        assert found["pipeline_step_phase phase=ended"] == 1
        assert "pipeline_step_step" not in found, "the first push was replaced"
        assert 'pull_request="36"' in text

        send(mine, {"events": [event("deleted")], "command": "preview"})
        text = requests.get(f"{url}/metrics", timeout=10).text
        assert 'pull_request="35"' not in text
        assert 'pull_request="36"' in text


def test_a_real_node_exporter_reads_the_file(tmp_path: Path) -> None:
    folder = tmp_path / "textfiles"
    folder.mkdir()
    mine = config(PIPELINE_STEP_METRICS_FILE=str(folder))
    send(mine, {"events": PROMOTED[:1]}, {"events": PROMOTED, "end": DONE})
    assert [file.name for file in folder.iterdir()] == ["pipeline_step_shop_prod_35.prom"]
    flags = ["--collector.disable-defaults", "--collector.textfile", f"--collector.textfile.directory={folder}"]
    with serving(
        "prometheus-node-exporter", lambda address: [f"--web.listen-address={address}", *flags], tmp_path, "/metrics"
    ) as url:
        text = requests.get(f"{url}/metrics", timeout=10).text
    assert "node_textfile_scrape_error 0" in text
    assert 'pipeline_step_outcome{app="shop",namespace="prod",outcome="promoted",pull_request="35"} 1' in text
    send(mine, {"events": [event("deleted")], "command": "preview"})
    assert list(folder.iterdir()) == []


def test_a_file_of_ones_own(tmp_path: Path) -> None:
    file = tmp_path / "mine.prom"
    send(config(PIPELINE_STEP_METRICS_FILE=str(file)), {"events": PROMOTED, "end": DONE})
    assert samples(file.read_text())["pipeline_step_outcome outcome=promoted"] == 1
    assert [path.name for path in tmp_path.iterdir()] == ["mine.prom"]
    with pytest.raises(ConfigError, match=r"PIPELINE_STEP_METRICS_FILE: .*/no/mine.prom can't be written"):
        send(config(PIPELINE_STEP_METRICS_FILE=str(tmp_path / "no" / "mine.prom")), {"events": PROMOTED})


def test_steering_a_rollout_leaves_the_metrics_to_it(tmp_path: Path) -> None:
    file = tmp_path / "mine.prom"
    send(config(PIPELINE_STEP_METRICS_FILE=str(file)), {"events": [event("paused", 5)], "command": "pause"})
    assert not file.exists()


def test_a_pushgateway_that_refuses_shows_no_password() -> None:
    with pytest.raises(HttpError) as refused:
        send(config(PIPELINE_STEP_PUSHGATEWAY="http://me:s3cret@127.0.0.1:1"), {"events": PROMOTED})
    assert "could not be reached" in str(refused.value)
    assert "s3cret" not in str(refused.value)


def test_nothing_configured_is_no_sink() -> None:
    assert metrics.connect(config(), None) == {}
