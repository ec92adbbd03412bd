"""The comparison with the peers: every cell, and the tables."""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks.judge import floors
from benchmarks.judge.ours import Setting
from benchmarks.judge.runs import PEERS, Job, Peer, Summary
from benchmarks.judge.traffic import Scenario

RATES = (10.0, 100.0, 1000.0)
FAULTS = (0.003, 0.005, 0.02, 0.1, 1.0)
STABLE = 0.001
FIXED: dict[str, Peer | Setting] = {
    **{name: Peer(name=name, schedule=name == "Kayenta") for name in PEERS},
    "ours, 10 %": Setting(promotes=False),
    "ours, auto": Setting(budget=50.0),
}
SCHEDULED: dict[str, Peer | Setting] = {
    **{name: Peer(name=name, schedule=True) for name in PEERS},
    "ours, 0.2 pp": Setting(budget=50.0),
    "ours, defaults": Setting(budget=20.0, max_increase=0.005),
}


LATE = {name: judge for name, judge in FIXED.items() if name != "ours, auto"}
LATE_FAULTS = ((100.0, 0.02), (100.0, 0.1), (1000.0, 0.02))
ONSET = 600.0


@dataclass(frozen=True)
class Cell:
    """A place in one of the tables."""

    table: str
    rps: float
    preview: float
    judge: str


def jobs(runs: int) -> tuple[list[Cell], list[Job]]:
    """Every cell with the job that fills it."""
    cells, work = [], []
    for table, judges in (("fixed", FIXED), ("scheduled", SCHEDULED)):
        for rps in RATES:
            for preview in (STABLE, *FAULTS):
                for name, judge in judges.items():
                    cells.append(Cell(table, rps, preview, name))
                    scenario = Scenario(rps=rps, stable=STABLE, preview=preview)
                    work.append(Job(judge, scenario, runs, seed=round(rps * 1000 + preview * 1000)))
    for rps, preview in LATE_FAULTS:
        for name, judge in LATE.items():
            cells.append(Cell("late", rps, preview, name))
            late = Scenario(rps=rps, stable=STABLE, preview=preview, onset=ONSET)
            work.append(Job(judge, late, runs, seed=round(rps * 1000 + preview * 1000)))
    return cells, work


Results = dict[Cell, Summary]


def percent(share: float) -> str:
    """A share in percent, with two figures below ten."""
    value = 100.0 * share
    return f"{value:.2g}" if 0.0 < value < 9.95 else f"{value:.4g}" if 99.0 < value < 99.995 else f"{value:.0f}"


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}"


def _fault(summary: Summary) -> str:
    harm = f"{_number(summary.harm)} ±{_number(summary.harm_error)}"
    return f"{harm} / {_when(summary, 'revert')}" + (f" [{percent(summary.missed)} %]" if summary.missed else "")


def share_text(summary: Summary, outcome: str) -> str:
    """The share of an outcome with its 95 % interval."""
    share, low, high = (percent(value) for value in summary.share(outcome))
    return f"{share} % ({low} to {high})"


def _when(summary: Summary, outcome: str) -> str:
    return f"{summary.seconds[outcome]:g} s" if outcome in summary.seconds else "never"


def _promoted(summary: Summary) -> str:
    promoted, reverted = (percent(summary.share(outcome)[0]) for outcome in ("promote", "revert"))
    return f"{promoted} %, {_when(summary, 'promote')}; {reverted} % reverted"


def _scheduled_fault(summary: Summary) -> str:
    promoted = percent(summary.share("promote")[0])
    return f"{_number(summary.harm)} / {_when(summary, 'revert')} [{promoted} %]"


def _row(first: list[str], cells: list[str]) -> str:
    return "| " + " | ".join(first + cells) + " |"


def _header(first: list[str], names: list[str]) -> list[str]:
    return [_row(first, names), "|" + "---|" * (len(first) + len(names))]


def fault_table(results: Results) -> list[str]:
    lines = _header(["rps", "preview fails", "floor"], list(FIXED))
    for rps in RATES:
        for preview in FAULTS:
            floor = floors.failed_requests(preview, STABLE, 0.1)
            cells = [_fault(results[Cell("fixed", rps, preview, name)]) for name in FIXED]
            lines.append(_row([f"{rps:g}", f"{100 * preview:g} %", f"{floor:.1f}"], cells))
    return lines


def late_table(results: Results) -> list[str]:
    lines = _header(["rps", "preview fails"], list(LATE))
    for rps, preview in LATE_FAULTS:
        found = [results[Cell("late", rps, preview, name)] for name in LATE]
        cells = [f"{_number(each.harm)} ±{_number(each.harm_error)} / {_after(each)}" for each in found]
        lines.append(_row([f"{rps:g}", f"{100 * preview:g} %"], cells))
    return lines


def _after(summary: Summary) -> str:
    return f"{summary.seconds['revert'] - ONSET:g} s" if "revert" in summary.seconds else "never"


def false_revert_table(results: Results) -> list[str]:
    lines = _header(["rps"], list(FIXED))
    for rps in RATES:
        lines.append(
            _row([f"{rps:g}"], [share_text(results[Cell("fixed", rps, STABLE, name)], "revert") for name in FIXED])
        )
    return lines


def scheduled_table(results: Results) -> list[str]:
    lines = _header(["rps", "preview fails"], list(SCHEDULED))
    for rps in RATES:
        for preview in (STABLE, *FAULTS):
            found = [results[Cell("scheduled", rps, preview, name)] for name in SCHEDULED]
            cells = [_promoted(each) if preview == STABLE else _scheduled_fault(each) for each in found]
            lines.append(_row([f"{rps:g}", f"{100 * preview:g} %"], cells))
    return lines
