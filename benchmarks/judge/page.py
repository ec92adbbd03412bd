"""The page of the docs: the tables, their words and the goals."""

from __future__ import annotations

from benchmarks.judge import floors, table
from benchmarks.judge.runs import Summary
from benchmarks.judge.table import FAULTS, RATES, STABLE, Cell, Results, percent, share_text
from benchmarks.judge.traffic import POLL

INTRODUCTION = """# The judge against its peers

Written by `python -m benchmarks.judge table --runs {runs}`. Synthetic traffic: Poisson arrivals, stable fails 0.1 %,
polls every 5 s without delay, {runs} rollouts a cell; every judge sees the same arrivals. The peers' rules are
re-implemented from their sources and held to their own test vectors. Real installations add the delay of their
metrics to every column.

Settings. Flagger: a check a minute, success at least 99 %, threshold 5. Argo Rollouts: a measurement a minute, success
at least 99 %, failureLimit 1. Kayenta: error rate a minute, judged every 10 minutes, marginal 75, pass 95. Ours: alpha
1 %, beta 5 %, margin 0.2 pp; `auto` is the ramp with a harm budget of 50 requests. Stable is one pod here; what several
pods cost, and what their past saves, is in [judge-past.md](judge-past.md).
"""

FAULT_WORDS = """## Faults

Mean failed preview requests until the revert, with its 95 % interval / median time to the revert [share not reverted
within an hour]. All columns but the last hold 10 % and only look for a revert; `ours, auto` sets its own weight and may
promote. The floor is Wald's: the mean that no sequential test with these error rates can beat at 10 %, before the wait
for the next poll. Missed runs count with the failures of the whole hour. Few failed requests are no merit where good
previews are reverted as well, as in the next table: at 10 rps one failed request fails a peer's minute.
"""

LATE_WORDS = """## Late faults

A preview that is as good as stable for ten minutes and then fails: failed requests and median time, both from then on,
at 10 %.
"""

FALSE_REVERT_WORDS = """## False reverts

Share of rollouts of a preview as good as stable that are reverted, with its 95 % interval. All columns but the last
keep looking for an hour.
"""

SCHEDULE_WORDS = """## Each with its own schedule

Flagger raises the weight by 10 to 50 % at each passed check, Argo Rollouts promotes after 9 measurements and Kayenta
after an hour, both at 10 %. `ours, defaults` has a margin of 0.5 pp, which allows what fails less than 0.6 %, and a
harm budget of 20. First row of each rate: a good preview, the share promoted, the median time to it and the share
reverted. Others: mean failed requests / median time to the revert [share promoted all the same].
"""

GOAL_WORDS = """## Goals

`met within the error`: the goal lies inside the 95 % interval of the mean. `open`: an hour is too short to tell, being
about as long as the floor. What is missed at 10 rps is the price of late faults: half of the prior mass is kept for
them. Without it the means there are 4.5 and 3.6, and at 100 rps a late fault costs half as much again.
"""

Goal = tuple[str, str, str]


def page(results: Results, runs: int) -> str:
    """The whole Markdown page."""
    sections = [
        INTRODUCTION.format(runs=runs),
        FAULT_WORDS,
        *table.fault_table(results),
        "",
        LATE_WORDS,
        *table.late_table(results),
        "",
        FALSE_REVERT_WORDS,
        *table.false_revert_table(results),
        "",
        SCHEDULE_WORDS,
        *table.scheduled_table(results),
        "",
        GOAL_WORDS,
        "| Goal | Measured | |",
        "|---|---|---|",
        *(f"| {goal} | {measured} | {reached} |" for goal, measured, reached in goals(results)),
    ]
    return "\n".join(sections) + "\n"


def _fixed(results: Results, rps: float, preview: float, name: str) -> Summary:
    return results[Cell("fixed", rps, preview, name)]


def goals(results: Results) -> list[Goal]:
    """Each goal with what was measured and whether it is met."""
    return [_false_reverts(results), *_harm(results), *_against_flagger(results), *_speed(results)]


def _reached(value: float, limit: float, error: float = 0.0) -> str:
    if value <= limit:
        return "met"
    return "met within the error" if value - error <= limit else "**missed**"


def _false_reverts(results: Results) -> Goal:
    good = [(cell, each) for cell, each in results.items() if cell.preview == STABLE and cell.judge.startswith("ours")]
    where, worst = max(good, key=lambda pair: pair[1].share("revert")[0])
    measured = f"worst {share_text(worst, 'revert')} at {where.rps:g} rps, {where.judge}"
    return "false reverts <= 1 % in every cell", measured, _reached(worst.share("revert")[0], 0.01)


def _harm(results: Results) -> list[Goal]:
    found = []
    for rps in RATES:
        for preview in FAULTS:
            limit = 1.5 * floors.failed_requests(preview, STABLE, 0.1) + rps * 0.1 * preview * POLL
            summary = _fixed(results, rps, preview, "ours, 10 %")
            measured = f"{summary.harm:.1f} ±{summary.harm_error:.1f}"
            if summary.missed:
                measured += f", {percent(summary.missed)} % not decided in an hour"
            goal = f"at 10 %, {rps:g} rps, {100 * preview:g} %: mean harm <= {limit:.1f} (1.5 floors and one poll)"
            open_ = summary.missed > 0.05  # more than the floor allows: the mean is cut off
            found.append((goal, measured, "open" if open_ else _reached(summary.harm, limit, summary.harm_error)))
    return found


def _against_flagger(results: Results) -> list[Goal]:
    found = []
    for rps, preview, factor in ((100.0, 0.1, 10), (100.0, 1.0, 10), (1000.0, 0.1, 50), (1000.0, 1.0, 50)):
        flagger, ours = (_fixed(results, rps, preview, name).harm for name in ("Flagger", "ours, auto"))
        goal = f"auto: {factor} times fewer harmed than Flagger at {rps:g} rps, {100 * preview:g} %"
        found.append((goal, f"{flagger / ours:.0f} times", _reached(ours * factor, flagger)))
    return found


def _speed(results: Results) -> list[Goal]:
    found = []
    for rps in (100.0, 1000.0):
        median = _fixed(results, rps, 0.02, "ours, auto").seconds["revert"]
        found.append((f"auto: 2 % gone in <= 25 s at {rps:g} rps", f"median {median:g} s", _reached(median, 25.0)))
    for rps in (10.0, 100.0):
        outage = _fixed(results, rps, 1.0, "ours, auto")
        seconds, harm, error = outage.seconds["revert"], outage.harm, outage.harm_error
        found.append(
            (f"auto: an outage gone in <= 10 s at {rps:g} rps", f"median {seconds:g} s", _reached(seconds, 10.0))
        )
        goal = f"auto: an outage costs <= 50 requests at {rps:g} rps"
        found.append((goal, f"mean {harm:.1f} ±{error:.1f}", _reached(harm, 50.0, error)))
    good = results[Cell("scheduled", 100.0, STABLE, "ours, 0.2 pp")].seconds["promote"]
    goal = "auto: a good preview promoted in <= 90 s at 100 rps, 0.2 pp"
    found.append((goal, f"median {good:g} s", _reached(good, 90.0)))
    for rps in RATES:
        caught = _fixed(results, rps, 0.005, "ours, auto")
        goal = f"auto: 0.5 % caught >= 99 % at {rps:g} rps"
        found.append((goal, share_text(caught, "revert"), _reached(1.0 - caught.share("revert")[0], 0.01)))
    return found
