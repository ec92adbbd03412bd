"""What the command `simulate` answers: what a strategy would have cost, or how the judge fares on stable's past."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline_step.config import Config
from pipeline_step.errors import ConfigError
from pipeline_step.gates import compare
from pipeline_step.gates.history import History, read
from pipeline_step.gates.latency import latency
from pipeline_step.http import Http
from pipeline_step.settings import seconds
from pipeline_step.simulate import backtest, history, plot
from pipeline_step.simulate.play import Strategy
from pipeline_step.simulate.summary import Summary, simulate
from pipeline_step.simulate.traffic import Kind, Recorded, Scenario, slower_than


@dataclass(frozen=True, kw_only=True)
class Asked:
    """The command's options: shares are percentages as people write them, durations texts such as 2m."""

    rps: Sequence[float]
    faults: Sequence[str]
    failing: float
    rate: float
    after: str
    slower: float
    pods: int
    lag: str
    runs: int
    seed: int
    svg: Path | None
    prometheus: str
    since: str
    json: bool


def simulated(config: Config, asked: Asked) -> str:
    """The cost of the configured strategy on each fault and rate, as text or JSON; the picture is written beside."""
    settings = _gate(config)
    poll, lag = seconds(config.file.strategy.poll), _duration("--lag", asked.lag)
    recorded: Recorded | None = None
    if asked.prometheus:
        found = _history(config, asked, settings)
        recorded, lag = history.recorded(found), max(lag, found.step if found.step > poll else 0.0)
        if not recorded.rate:
            raise ConfigError(f"{asked.prometheus} has counted no request of stable in the last {asked.since}")
    strategy = Strategy(policy=config.policy, gate=settings, poll=poll, lag=lag)
    kinds = [Kind(name) for name in asked.faults] or [
        kind for kind in Kind if kind is not Kind.LATENCY or settings.latency
    ]
    if Kind.LATENCY in kinds and settings.latency is None:
        raise ConfigError("--fault latency: the compare gate looks at errors only; give it latency: {} to see slowness")
    base = Scenario(
        rps=0.0,
        failing=asked.failing / 100.0,
        rate=asked.rate / 100.0,
        after=_duration("--after", asked.after),
        slower=asked.slower,
        pods=asked.pods,
        recorded=recorded,
    )
    rates = [recorded.rate] if recorded else asked.rps
    scenarios = [dataclasses.replace(base, rps=rps, kind=kind) for rps in rates for kind in kinds]
    summaries = simulate(strategy, scenarios, asked.runs, asked.seed)
    if asked.svg:
        _draw(asked.svg, f"{config.file.app}: what its strategy costs", summaries)
    return plot.document(summaries) if asked.json else "\n".join(_text(config, asked, strategy, summaries))


def backtested(config: Config, asked: Asked) -> str:
    """How the judge fares on stable's own past, as text or JSON."""
    settings = _gate(config)
    found = _history(config, asked, settings)
    result = backtest.backtest(settings, found, seconds(config.file.strategy.deadline))
    return backtest.document(result) if asked.json else backtest.words(result)


def _gate(config: Config) -> compare.Settings:
    judges = [settings for kind, settings in config.gates.values() if kind == "compare"]
    if len(judges) != 1:
        raise ConfigError(f"simulate plays exactly one compare gate; `gates` has {len(judges)}")
    settings: compare.Settings = judges[0]
    return settings


def _history(config: Config, asked: Asked, settings: compare.Settings) -> History:
    since, poll = _duration("--since", asked.since), seconds(config.file.strategy.poll)
    server = history.server_of(settings, asked.prometheus)
    http = Http(timeout=(5, 60), patience=10)
    return read(
        server, config.target.stable, http, limit=compare.slow_from(settings), end=time.time(), since=since, poll=poll
    )


def _duration(option: str, text: str) -> float:
    try:
        return seconds(text)
    except ValueError as error:
        raise ConfigError(f"{option}: {error}") from error


def _draw(file: Path, title: str, summaries: Sequence[Summary]) -> None:
    try:
        file.write_text(plot.svg(title, summaries), encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"--svg {file}: can't be written: {error}") from error


def _text(config: Config, asked: Asked, strategy: Strategy, summaries: Sequence[Summary]) -> list[str]:
    recorded = summaries[0].scenario.recorded
    failing = recorded.failing if recorded else asked.failing / 100.0
    stable = f"stable fails {100 * failing:.3g} %"
    if strategy.gate.latency:
        limit = latency(strategy.gate.latency.slower_than)
        stable += f", and {100 * slower_than(limit, 1.0):.2g} % take over {strategy.gate.latency.slower_than}"
    others = [name for name, (kind, _) in config.gates.items() if kind != "compare"]
    lines = [
        f"{asked.runs} rollouts each; {stable}" + (f"; recorded {asked.since}" if recorded else ""),
        "",
        plot.table(summaries),
        "",
        plot.chart(summaries),
    ]
    if others:
        lines += ["", f"Not played, taken as passing: {', '.join(others)}."]
    return lines
