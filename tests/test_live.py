"""What a watcher of a rollout is told, in a terminal and elsewhere."""

from __future__ import annotations

import io
import time

import pytest
from rich.console import Console

from pipeline_step.live import Progress, Screen, destinations, followed, watched
from pipeline_step.model import (
    Backend,
    Counts,
    Decision,
    Hold,
    Measurement,
    Outcome,
    Policy,
    Revert,
    Rollout,
    Seconds,
    Step,
    Target,
)
from pipeline_step.picture import Side, View
from pipeline_step.route import Seen
from pipeline_step.run import Event, Look, Result, Run

POLICY = Policy(
    steps=(Step(weight=1, bake=Seconds(60)), Step(weight=25, bake=Seconds(60))),
    deadline=Seconds(600),
    promote=True,
    missing={},
)
PREVIEW = Backend(service="shop", namespace="pr-7")


def measurement(outcome: Outcome, reason: str = "scrape: words") -> Measurement:
    counts = {"stable": Counts(total=990, bad=1), "preview": Counts(total=10, bad=3)}
    return Measurement(gate="scrape", outcome=outcome, reason=reason, **counts)


def look(step: int, decision: Decision, *measurements: Measurement) -> Look:
    rollout = Rollout(preview=PREVIEW, run="1", by="me", step=step, weight=POLICY.steps[step].weight)
    return Look(rollout=rollout, measurements=measurements, decision=decision, policy=POLICY)


def test_progress_says_what_follows() -> None:
    progress = Progress()
    progress.show(look(0, Hold("1 % holds, 5 s of its bake left"), measurement(Outcome.PASS)))
    assert progress.coming == "1 % holds, 5 s of its bake left; then 25 %"
    progress.show(look(1, Hold("25 % holds, 5 s of its bake left")))
    assert progress.coming.endswith("; then promotion")
    progress.show(look(0, Hold("scrape: words"), measurement(Outcome.TOO_LITTLE)))
    assert progress.coming == "it waits for a verdict of scrape; then 25 %"
    progress.show(look(0, Revert("too bad")))
    assert progress.coming == "all requests go back to production: too bad"
    progress.tell(Event(kind="promoting", weight=25, reason="last step"))
    assert "production rolls out" in progress.coming
    progress.tell(Event(kind="promoted", weight=0, reason="done"))
    assert progress.coming == ""


def test_progress_has_both_sides_as_the_gate_counts_them() -> None:
    progress = Progress()
    assert progress.sides("production", "PR 7") == [Side(name="production", weight=100), Side(name="PR 7", weight=0)]
    progress.show(look(0, Hold("holds"), measurement(Outcome.PASS)))
    assert progress.sides("production", "PR 7") == [
        Side(name="production", weight=99, share=99.0, requests=990, failed=1),
        Side(name="PR 7", weight=1, share=1.0, requests=10, failed=3),
    ]


def test_without_a_terminal_there_are_only_lines() -> None:
    file = io.StringIO()
    with Screen(lambda: View(title="never drawn"), Console(file=file, highlight=False, markup=False)) as screen:
        screen.say("0:01", "a line " * 30)
    assert file.getvalue() == f" 0:01  {'a line ' * 30}\n"


def test_in_a_terminal_lines_stay_above_the_picture() -> None:
    file = io.StringIO()
    console = Console(file=file, force_terminal=True, force_interactive=True, width=80, highlight=False, markup=False)
    with Screen(lambda: View(title="the picture"), console) as screen:
        screen.say("0:01", "this stays")
    text = file.getvalue()
    assert "the picture" in text
    assert "this stays" in text


def running(tell: list[Event]) -> Run:
    class Configured:
        class pull:  # noqa: N801
            number = 7

    target = Target(app="shop", stable=Backend(service="shop", namespace="prod"), router="istio", route=None)
    return Run(
        config=Configured,
        target=target,
        preview=PREVIEW,
        policy=POLICY,
        clusters={},
        http=None,
        clock=time,
        tell=tell.append,
    )


def work(run: Run) -> Result:
    run.tell(Event(kind="shifted", weight=1, reason="begun"))
    run.show(look(0, Hold("1 % holds, 5 s of its bake left"), measurement(Outcome.PASS)))
    time.sleep(0.4)
    return Result(outcome="held", reason="")


def test_a_rollout_in_a_terminal_is_drawn_and_told() -> None:
    file, told = io.StringIO(), []
    console = Console(file=file, force_terminal=True, force_interactive=True, width=80, highlight=False, markup=False)
    assert followed(running(told), work, console).outcome == "held"
    assert [event.kind for event in told] == ["shifted"]
    for words in ("shop: shop.pr-7", "pull request 7", "1 % holds, 5 s of its bake left; then 25 %", "990"):
        assert words in file.getvalue().replace("\u00a0", " ")


def test_a_rollout_elsewhere_is_only_told() -> None:
    file, told = io.StringIO(), []
    assert followed(running(told), work, Console(file=file)).outcome == "held"
    assert [event.kind for event in told] == ["shifted"]
    assert file.getvalue() == ""


def test_destinations_and_where_their_rollouts_stand() -> None:
    target = running([]).target
    rollout = Rollout(preview=PREVIEW, run="1", by="ann", pull_request=7, weight=5)
    seen = Seen({}, {}, {"shop.pr-7": rollout}, {"shop.pr-7": 5, "shop.prod": 95})
    view = destinations(target, {"": seen})
    assert list(view.sides) == [Side(name="shop.prod", weight=95), Side(name="shop.pr-7", weight=5)]
    assert view.coming == "#7 baking at 5 %, asked for by ann"
    two = destinations(target, {"eu": seen, "us": Seen({}, {}, {}, {"shop.prod": 100})})
    assert [side.name for side in two.sides] == ["eu shop.prod", "eu shop.pr-7", "us shop.prod"]


def test_watching_looks_until_it_is_stopped() -> None:
    looks = iter([View(title="one"), View(title="two")])

    def sleep(seconds: float) -> None:
        assert seconds == 1

    with pytest.raises(StopIteration):
        watched(lambda: next(looks), sleep)
