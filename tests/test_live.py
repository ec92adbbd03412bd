"""The picture of a rollout, as characters."""

from __future__ import annotations

import io

from rich.console import Console

from pipeline_step.live import Progress, Screen, Side, View, picture
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
)
from pipeline_step.run import Event, Look

POLICY = Policy(
    steps=(Step(weight=1, bake=Seconds(60)), Step(weight=25, bake=Seconds(60))),
    deadline=Seconds(600),
    promote=True,
    missing={},
)
PREVIEW = Backend(service="shop", namespace="pr-7")


def drawn(view: View, width: int = 80, encoding: str = "utf-8") -> str:
    file = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    console = Console(file=file, width=width, highlight=False, markup=False)
    console.print(picture(view))
    file.seek(0)
    return file.read()


def measurement(outcome: Outcome, reason: str = "scrape: words") -> Measurement:
    counts = {"stable": Counts(total=990, bad=1), "preview": Counts(total=10, bad=3)}
    return Measurement(gate="scrape", outcome=outcome, reason=reason, **counts)


def look(step: int, decision: Decision, *measurements: Measurement) -> Look:
    rollout = Rollout(preview=PREVIEW, run="1", by="me", step=step, weight=POLICY.steps[step].weight)
    return Look(rollout=rollout, measurements=measurements, decision=decision)


def test_sides_are_numbers_and_bars() -> None:
    sides = [Side(name="production", weight=75), Side(name="PR 7", weight=25)]
    lines = drawn(View(title="shop", clock="0:12", doing="pipeline-step rollout --pr 7", sides=sides)).splitlines()
    text = "\n".join(lines)
    assert "0:12" in text
    assert "$ pipeline-step rollout --pr 7" in text
    production, preview = (next(line for line in lines if line.startswith(name)) for name in ("production", "PR 7"))
    assert "75 %" in production
    assert "25 %" in preview
    assert abs(production.count("█") - 3 * preview.count("█")) <= 3
    assert max(map(len, lines)) <= 80


def test_counts_are_shown_where_they_are_known() -> None:
    known = [Side(name="PR 7", weight=1, share=0.94, requests=12345, failed=3)]
    text = drawn(View(title="shop", sides=known))
    assert "counted" in text
    assert "0.9 %" in text
    assert "12,345" in text
    assert "counted" not in drawn(View(title="shop", sides=[Side(name="PR 7", weight=1)]))


def test_a_terminal_without_unicode_has_bars_too() -> None:
    text = drawn(
        View(title="shop", sides=[Side(name="PR 7", weight=1), Side(name="production", weight=99)]), 80, "ascii"
    )
    assert text.isascii()
    assert "#" in next(line for line in text.splitlines() if line.startswith("PR 7"))


def test_every_outcome_is_a_word() -> None:
    words = {outcome: drawn(View(title="shop", gates=[measurement(outcome)])) for outcome in Outcome}
    assert "gate   FAIL scrape: words" in words[Outcome.FAIL]
    assert "gate   pass scrape: words" in words[Outcome.PASS]
    assert len(set(words.values())) == len(Outcome)


def test_digests_are_cut_and_percents_stay_with_their_number() -> None:
    reason = f"{'x' * 66} 12.5 % of sha256:{'ab' * 32}"
    text = drawn(View(title="shop", gates=[measurement(Outcome.PASS, reason)]))
    assert "sha256:abababababab…" in text
    assert "12.5\u00a0%" in text


def test_progress_says_what_follows() -> None:
    progress = Progress(POLICY)
    progress.show(look(0, Hold("1 % holds, 5 s of its bake left"), measurement(Outcome.PASS)))
    assert progress.coming == "1 % holds, 5 s of its bake left; then 25 %"
    progress.show(look(1, Hold("25 % holds, 5 s of its bake left")))
    assert progress.coming.endswith("; then promotion")
    progress.show(look(0, Hold("scrape: words"), measurement(Outcome.TOO_LITTLE)))
    assert progress.coming == "waits for a verdict of scrape; then 25 %"
    progress.show(look(0, Revert("too bad")))
    assert progress.coming == "all requests go back to production: too bad"
    progress.tell(Event(kind="promoting", weight=25, reason="last step"))
    assert "production rolls out" in progress.coming
    progress.tell(Event(kind="promoted", weight=0, reason="done"))
    assert progress.coming == ""


def test_progress_has_both_sides_as_the_gate_counts_them() -> None:
    progress = Progress(POLICY)
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
