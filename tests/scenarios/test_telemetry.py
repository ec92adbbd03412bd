"""What a whole rollout tells machines."""

from __future__ import annotations

import json

from .world import World


def test_every_line_of_a_rollout_is_an_object(world: World) -> None:
    world.deploy(sha="abcdef1")
    done = world.step("rollout", "--log-format", "json")
    assert done.code == 0, done.err
    lines = [json.loads(line) for line in done.err.splitlines()]
    assert [line["event"] for line in lines] == ["shifted", "shifted", "promoting", "promoted"]
    assert [line["weight"] for line in lines] == [10, 50, 50, 0]
    assert {(line["app"], line["pull_request"], line["level"]) for line in lines} == {("croc", 7, "info")}
    refused = world.step("rollout", "--pr", "8", PIPELINE_STEP_LOG_FORMAT="json")
    assert refused.code == 4
    (line,) = [json.loads(line) for line in refused.err.splitlines()]
    assert line["level"] == "error"
    assert "no ready pod" in line["message"]
