"""The progress page of real rollouts: kept in a file or a ConfigMap, and gone on with by the next run."""

from __future__ import annotations

from pathlib import Path

from pipeline_step.page.document import history_in
from pipeline_step.page.history import History, decoded

from .bed import eventually
from .world import World

COMPARED = [{"compare": {"errors": {"max_increase": "30pp"}}}]


def kept(page: str) -> History:
    """The history that a page carries."""
    found = decoded(history_in(page))
    assert found, page[:300]
    return found


def configmap(world: World) -> str:
    """The page in the ConfigMap, "" where there is none."""
    found = world.bed.api.find("ConfigMap", world.namespace, "croc-progress")
    return str(found["data"]["index.html"]) if found else ""


def test_a_rollout_keeps_its_page_in_a_file_and_a_promotion_goes_on_with_it(world: World) -> None:
    world.configure(gates=COMPARED, strategy={"bake": "4s"})
    world.deploy(sha="abcdef1")
    page = world.directory / "progress.html"

    with world.bed.load(world.host):
        held = world.step("shift", "20", "--report", "progress.html")
    assert held.code == 0, held.err
    first = kept(page.read_text())
    assert (first.standing, first.weight) == ("held", 20)
    assert [event.kind for event in first.events] == ["shifted", "held"]
    assert first.plan == ((20, 4.0),)
    assert first.samples and first.samples[-1].compared[0].preview.total > 0
    assert first.samples[-1].weighed[0].gate == "compare"
    assert first.sha == "abcdef1" and first.digest.startswith("sha256:")

    done = world.step("promote", "--report", "progress.html")
    assert done.code == 0, done.err
    last = kept(page.read_text())
    assert (last.standing, last.weight) == ("promoted", 0)
    assert [event.kind for event in last.events] == ["shifted", "held", "resumed", "promoting", "promoted"]
    assert last.samples[0] == first.samples[0], "what the first run saw is still there"
    assert [path.name for path in world.directory.glob(".progress.html*")] == [], "nothing half written is left"


def test_a_rollout_keeps_its_page_in_a_configmap(world: World) -> None:
    world.configure(report="configmap/croc-progress", gates=COMPARED, strategy={"steps": [20], "bake": "60s"})
    world.deploy()
    with world.bed.load(world.host):
        run = world.begin("rollout")
        eventually(lambda: configmap(world), "the page is there")
        assert kept(configmap(world)).weight in (0, 20)
        reverted = world.step("revert", "--reason", "seen enough")
        ended = run.end()
    assert (reverted.code, ended.code) == (0, 3), ended.err
    last = kept(configmap(world))
    assert last.over and last.weight == 0
    labels = world.bed.api.get("ConfigMap", world.namespace, "croc-progress")["metadata"]["labels"]
    assert labels == {"app.kubernetes.io/managed-by": "pipeline-step", "pipeline-step.dev/app": "croc"}


def test_what_is_no_page_of_ours_stays_and_never_stops_a_rollout(world: World) -> None:
    theirs = {"kind": "ConfigMap", "apiVersion": "v1", "metadata": {"name": "croc-progress"}, "data": {"a": "b"}}
    world.bed.api.create(theirs, world.namespace)
    world.configure(report="configmap/croc-progress", strategy={"bake": "1s"})
    world.deploy()
    held = world.step("shift", "20")
    assert held.code == 0, held.err
    assert "the progress page could not be told: configmaps" in held.err
    assert world.bed.api.get("ConfigMap", world.namespace, "croc-progress")["data"] == {"a": "b"}

    notes: Path = world.directory / "notes.html"
    notes.write_text("<p>mine</p>")
    refused = world.step("rollout", "--report", "notes.html")
    assert refused.code == 2
    assert "notes.html: this is no progress page" in refused.err
    assert notes.read_text() == "<p>mine</p>"
    missing = world.step("rollout", "--report", "nowhere/page.html")
    assert missing.code == 2 and "there is no folder nowhere" in missing.err
    assert world.weight() == 20, "neither has changed anything"
