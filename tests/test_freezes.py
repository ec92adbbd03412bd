"""Freezes: when they are in force, who lifts them, and that they leave the object as it was."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
import yaml

from pipeline_step import freezes
from pipeline_step.config_file import parse
from pipeline_step.errors import ConfigError
from pipeline_step.freezes import Freeze, Manual, frozen

HOLIDAYS = Freeze(
    name="holidays", reason="closed", start=datetime(2026, 12, 24, tzinfo=UTC), end=datetime(2026, 12, 27, tzinfo=UTC)
)
BEFORE, DURING, AFTER = (datetime(2026, 12, day, tzinfo=UTC).timestamp() for day in (23, 25, 27))


def routed(**metadata: Any) -> dict[str, Any]:
    return {"kind": "VirtualService", "metadata": {"name": "shop", "namespace": "prod", **metadata}}


@pytest.mark.parametrize(("now", "held"), [(BEFORE, False), (DURING, True), (AFTER, False)])
def test_a_configured_freeze_has_its_time(now: float, held: bool) -> None:
    why = frozen(routed(), [HOLIDAYS], [], now)
    assert bool(why) is held
    if held:
        assert why == "frozen until 2026-12-27T00:00:00+00:00 (holidays): closed"
        assert frozen(routed(), [HOLIDAYS], ["holidays"], now) == ""
        assert frozen(routed(), [HOLIDAYS], ["other"], now) == why


@pytest.mark.parametrize("metadata", [{}, {"annotations": {"team": "a"}}])
def test_a_manual_freeze_is_written_read_and_gone_again(metadata: dict[str, Any]) -> None:
    manual = Manual(reason="incident 7", by="ada", since=1.0)
    marked = freezes.write(routed(**metadata), {freezes.MANUAL: manual})
    assert freezes.read(marked) == {freezes.MANUAL: manual}
    assert frozen(marked, [], [], DURING) == "frozen by ada (manual): incident 7"
    assert frozen(marked, [], [freezes.MANUAL], DURING) == ""
    assert freezes.write(marked, {}) == routed(**metadata)


def test_a_freeze_of_someone_else_is_one_clear_error() -> None:
    with pytest.raises(
        ConfigError, match=r"VirtualService prod/shop: annotation pipeline-step\.dev/freezes can't be read"
    ):
        freezes.read(routed(annotations={freezes.ANNOTATION: "[]"}))


@pytest.mark.parametrize(
    ("start", "end", "error"),
    [
        ("2026-12-24T00:00:00", "2026-12-27T00:00:00Z", r"strategy\.freezes\[0\]: start needs an offset"),
        ("2026-12-24T00:00:00Z", "2026-12-23T00:00:00Z", "freeze 'x' ends before it starts"),
        ("Christmas", "2026-12-27T00:00:00Z", r"strategy\.freezes\[0\]\.start: .*; given: 'Christmas'"),
    ],
)
def test_mistakes_in_the_configuration(start: str, end: str, error: str) -> None:
    data = {
        "app": "shop",
        "production": {"namespace": "prod", "service": "shop"},
        "traffic": {"istio": {"virtual_service": "shop"}},
        "strategy": {"freezes": [{"name": "x", "reason": "y", "start": start, "end": end}]},
    }
    with pytest.raises(ConfigError, match=error):
        parse(yaml.safe_dump(data), "f")
