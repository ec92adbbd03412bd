"""The picture of a rollout, as characters."""

from __future__ import annotations

import io

from rich.console import Console

from pipeline_step.model import Counts, Measurement, Outcome
from pipeline_step.picture import Side, View, picture


def drawn(view: View, width: int = 80, encoding: str = "utf-8") -> str:
    file = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    console = Console(file=file, width=width, highlight=False, markup=False)
    console.print(picture(view))
    file.seek(0)
    return file.read()


def measurement(outcome: Outcome, reason: str = "scrape: words") -> Measurement:
    counts = Counts(total=10, bad=3)
    return Measurement(gate="scrape", outcome=outcome, reason=reason, stable=counts, preview=counts)


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
