"""How often would the judge have been wrong here? Stable's own processes pose as previews of its own past.

None of them is worse than the others by design, so that every revert is a false one. Pure.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass

from pipeline_step import stats
from pipeline_step.gates import compare
from pipeline_step.gates.history import History, only
from pipeline_step.gates.windows import windows
from pipeline_step.judge import Evidence, Policy, update
from pipeline_step.simulate.plot import duration
from pipeline_step.simulate.summary import share
from pipeline_step.verdict import verdict


@dataclass(frozen=True, kw_only=True, slots=True)
class Episode:
    """One pretended rollout: which process was the preview, what the judge said, and after how many seconds."""

    process: str
    outcome: str
    seconds: float


@dataclass(frozen=True, kw_only=True)
class Backtest:
    """All pretended rollouts, and the overdispersion: Pearson's X2 between the processes, its degrees of freedom."""

    episodes: tuple[Episode, ...]
    processes: int
    seconds: float
    step: float
    wanted: float
    x2: float
    df: int

    @property
    def phi(self) -> float:
        """How much more the processes differ than chance makes them, at least 1."""
        return max(1.0, self.x2 / self.df) if self.df else 1.0

    def seconds_of(self, outcome: str) -> float | None:
        """How long this outcome took in the middle."""
        taken = sorted(one.seconds for one in self.episodes if one.outcome == outcome)
        return taken[len(taken) // 2] if taken else None


def backtest(settings: compare.Settings, history: History, deadline: float) -> Backtest:
    """Judge every process against the others, again and again from one end of the history to the other."""
    rules = compare.rules(settings, history.edges)
    processes = history.processes
    found: list[Episode] = []
    for process in processes if len(processes) > 1 else []:
        found += _episodes(rules, history, process, [name for name in processes if name != process], deadline)
    x2, df = 0.0, 0
    for rows in history.windows:
        # The pod's counts of failed requests; a scrape may catch more failures than requests.
        more, freedom = stats.pearson((round(min(row[1], row[0])), round(row[0])) for row in rows.values())
        x2, df = x2 + more, df + freedom
    return Backtest(
        episodes=tuple(found),
        processes=len(processes),
        seconds=len(history.windows) * history.step,
        step=history.step,
        wanted=settings.false_revert,
        x2=x2,
        df=df,
    )


def _episodes(rules: Policy, history: History, process: str, others: list[str], deadline: float) -> Iterator[Episode]:
    evidence, passed = Evidence(), 0.0
    for rows in history.windows:
        if not rows.get(process, (0.0,))[0] and not passed:
            continue  # it was not there, and no rollout had begun
        preview, stable = only(rows, [process], history.edges), only(rows, others, history.edges)
        # No weight was configured, so that the split of the requests is not judged.
        evidence = update(rules, evidence, windows(preview, stable, rules.metrics), 0.0)
        passed += history.step
        said = verdict(rules, evidence).outcome
        if said != "undecided" or passed >= deadline:
            yield Episode(process=process, outcome=said, seconds=passed)
            evidence, passed = Evidence(), 0.0


def words(result: Backtest) -> str:
    """What was found, for people."""
    count = len(result.episodes)
    lines = [
        f"{duration(result.seconds)} of {result.processes} processes, a window every {result.step:g} s: "
        f"{count} pretended rollouts"
    ]
    if result.processes < 2:
        return f"{lines[0]}; at least two processes are needed, one to pretend and one to compare with"
    if not count:
        return f"{lines[0]}; a longer --since, a shorter deadline or more traffic is needed"
    for said, name in (
        ("revert", "falsely reverted"),
        ("promote", "promoted"),
        ("undecided", "undecided at the deadline"),
    ):
        number = sum(one.outcome == said for one in result.episodes)
        chance = share(number, count)
        took = result.seconds_of(said)
        after = f", half of them within {duration(took)}" if took is not None else ""
        lines.append(
            f"{name}: {number}, {100 * chance.value:.3g} % (95 % interval {100 * chance.low:.2g} to "
            f"{100 * chance.high:.2g}){after}"
        )
        if said == "revert" and chance.low > result.wanted:
            lines.append(
                f"that is more than the {100 * result.wanted:g} % of false_revert: the processes differ by more than "
                "chance, or one of them is worse"
            )
    lines.append(f"overdispersion phi {result.phi:.2f} (X2 {result.x2:,.0f} with {result.df:,} degrees of freedom)")
    return "\n".join(lines)


def document(result: Backtest) -> str:
    """The same for machines."""
    count = len(result.episodes)
    outcomes = {}
    for said in ("revert", "promote", "undecided"):
        chance = share(sum(one.outcome == said for one in result.episodes), count)
        outcomes[said] = [round(value, 6) for value in (chance.value, chance.low, chance.high)]
    return json.dumps(
        {
            "rollouts": count,
            "processes": result.processes,
            "seconds": result.seconds,
            "outcomes": outcomes,
            "false_revert": result.wanted,
            "phi": round(result.phi, 4),
        },
        indent=2,
    )
