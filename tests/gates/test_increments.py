"""Counters that fall, pods that come and go: nothing is counted twice, nothing that could be known is lost."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline_step.gates.increments import Reading, advance


def test_the_first_row_of_an_old_pod_is_only_a_baseline() -> None:
    first = advance({}, {"a": Reading((100, 3), started=50)}, began=60, width=2)
    assert first.total == (0, 0)
    second = advance(first.state, {"a": Reading((120, 4), started=50)}, began=60, width=2)
    assert (second.total, second.by_pod) == ((20, 1), {"a": (20, 1)})


def test_a_pod_that_started_after_the_step_counts_from_zero() -> None:
    first = advance({}, {"a": Reading((100, 3), started=50)}, began=60, width=2)
    later = advance(first.state, {"a": Reading((100, 3), started=50), "b": Reading((7, 2), 61)}, began=60, width=2)
    assert later.total == (7, 2)
    assert advance(first.state, {"b": Reading((7, 2))}, began=60, width=2).total == (0, 0)


def test_a_restart_is_told_by_its_start_even_where_the_counter_has_caught_up() -> None:
    first = advance({}, {"a": Reading((10, 0), started=50)}, began=60, width=2)
    assert advance(first.state, {"a": Reading((11, 5), started=70)}, began=60, width=2).total == (11, 5)
    assert advance(first.state, {"a": Reading((11, 5), started=50.4)}, began=60, width=2).total == (1, 5)


def test_what_a_vanished_pod_added_stays_and_it_may_come_back() -> None:
    state: object = {}
    totals = []
    for reading in ({"a": Reading((5,))}, {"a": Reading((9,))}, {}, {"a": Reading((10,))}, {"a": Reading((1,))}):
        result = advance(state, reading, began=0, width=1)  # type: ignore[arg-type]
        state = result.state
        totals.append(result.total[0])
    assert totals == [0, 4, 4, 5, 6]


def test_a_state_of_another_width_is_dropped() -> None:
    first = advance({}, {"a": Reading((5,))}, began=0, width=1)
    assert advance(first.state, {"a": Reading((9, 1))}, began=0, width=2).total == (0, 0)


def test_the_state_is_small_json() -> None:
    readings = {f"shop-6d4cf56db6-{n:05}": Reading((1e7 + n, n, 1e7, n), started=1.79e9) for n in range(20)}
    state = advance({}, readings, began=0, width=4).state
    text = json.dumps(state, separators=(",", ":"))
    assert len(text) < 20 * 80
    assert advance(json.loads(text), readings, began=0, width=4).total == advance(state, readings, 0, 4).total


EVENTS = st.lists(
    st.lists(
        st.tuples(st.sampled_from("abc"), st.sampled_from(["serve", "restart", "hide", "show"]), st.integers(0, 50)),
        max_size=4,
    ),
    max_size=12,
)


@given(EVENTS)
@pytest.mark.timeout(60)
def test_the_sum_is_what_was_served_while_it_could_be_seen(rounds: list[list[tuple[str, str, int]]]) -> None:
    """With start times known, only what a pod served before a restart and after its last reading is lost."""
    value = dict.fromkeys("abc", 1000)
    unread = dict.fromkeys("abc", 0)
    start = dict.fromkeys("abc", 0.0)
    hidden: set[str] = set()
    counted, clock = 0, 100.0
    state = advance({}, {pod: Reading((value[pod],), start[pod] or 1) for pod in "abc"}, 50, 1).state
    for events in rounds:
        for pod, event, amount in events:
            clock += 10
            if event == "serve":
                value[pod] += amount
                unread[pod] += amount
            elif event == "restart":
                value[pod], unread[pod], start[pod] = 0, 0, clock
            elif event == "hide":
                hidden.add(pod)
            else:
                hidden.discard(pod)
        shown = {pod: Reading((value[pod],), start[pod] or 1) for pod in "abc" if pod not in hidden}
        result = advance(json.loads(json.dumps(state)), shown, 50, 1)
        state = result.state
        for pod in shown:
            counted += unread[pod]
            unread[pod] = 0
        assert result.total == (counted,)
        assert all(min(added) >= 0 for added in result.by_pod.values())
