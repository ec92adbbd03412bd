"""Simulated rollouts: the draws are exact, the faults are what they say, and the figures add up."""

from __future__ import annotations

import dataclasses
import itertools
import json
import math
import random
import re
import time
import xml.etree.ElementTree as ElementTree
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import prometheus_client
import pytest
import yaml
from click.testing import CliRunner, Result

from pipeline_step import cli
from pipeline_step.errors import ConfigError
from pipeline_step.gates import compare
from pipeline_step.gates.history import History
from pipeline_step.model import OnMissing, Outcome, Policy, Ramp, Seconds, Step
from pipeline_step.simulate.backtest import backtest, words
from pipeline_step.simulate.history import server_of
from pipeline_step.simulate.play import Played, Strategy, play
from pipeline_step.simulate.sampling import binomial, poisson
from pipeline_step.simulate.summary import Summary, share, simulate
from pipeline_step.simulate.traffic import EDGES, Kind, Recorded, Scenario, Traffic, slower_than
from tests.gates.conftest import Site, prometheus_server, site  # noqa: F401 (fixtures)

HOLD = dict.fromkeys((Outcome.NO_DATA, Outcome.TOO_LITTLE, Outcome.UNREACHABLE), OnMissing.HOLD)
AUTO = Policy(
    steps=(),
    ramp=Ramp(harm_budget=20, max_weight=50, poll=Seconds(5)),
    deadline=Seconds(3600),
    promote=True,
    missing=HOLD,
)
LIST = dataclasses.replace(
    AUTO, ramp=None, steps=tuple(Step(weight=weight, bake=Seconds(30)) for weight in (1, 10, 50))
)
GATE = compare.Settings()


def strategy(policy: Policy = AUTO, lag: float = 0.0, **gate: Any) -> Strategy:
    return Strategy(policy=policy, gate=msgspec.convert(gate, compare.Settings), poll=5.0, lag=lag)


def fits(drawn: Counter[int], expected: Callable[[int], float], runs: int) -> None:
    """A chi-square test at five standard deviations over the values that are expected at least ten times."""
    cells = [(drawn[value], expected(value) * runs) for value in range(max(drawn) + 1) if expected(value) * runs >= 10]
    statistic = sum((seen - wanted) ** 2 / wanted for seen, wanted in cells)
    assert abs(statistic - len(cells)) < 5 * math.sqrt(2 * len(cells)), cells


@pytest.mark.parametrize(("n", "p"), [(20, 0.3), (500, 0.001), (300, 0.5), (300, 0.97), (1000, 0.03), (2000, 0.02)])
def test_binomial_draws_are_exact(n: int, p: float) -> None:
    source, runs = random.Random(n), 20_000
    drawn = Counter(binomial(source, n, p) for _ in range(runs))

    def chance(k: int) -> float:
        return math.exp(
            math.lgamma(n + 1)
            - math.lgamma(k + 1)
            - math.lgamma(n - k + 1)
            + k * math.log(p)
            + (n - k) * math.log1p(-p)
        )

    fits(drawn, chance, runs)


@pytest.mark.parametrize("mean", [0.5, 8.0, 40.0, 200.0])
def test_poisson_draws_are_exact(mean: float) -> None:
    source, runs = random.Random(7), 20_000
    drawn = Counter(poisson(source, mean) for _ in range(runs))
    fits(drawn, lambda k: math.exp(k * math.log(mean) - mean - math.lgamma(k + 1)), runs)


def test_draws_at_the_ends() -> None:
    source = random.Random(1)
    assert [binomial(source, 50, p) for p in (0.0, 1.0)] == [0, 50]
    assert binomial(source, 0, 0.5) == 0
    assert binomial(source, 10**9, 1e-300) == 0
    assert abs(binomial(source, 50_000, 0.5) - 25_000) < 5 * math.sqrt(12_500)
    assert poisson(source, 0.0) == 0


@pytest.mark.parametrize(
    ("kind", "before", "after", "stable"),
    [
        (Kind.NONE, 0.001, 0.001, 0.001),
        (Kind.CONSTANT, 0.02, 0.02, 0.001),
        (Kind.BURSTS, 0.02, 0.02, 0.001),
        (Kind.AT_START, 0.02, 0.001, 0.001),
        (Kind.LATE, 0.001, 0.02, 0.001),
        (Kind.LATENCY, 0.001, 0.001, 0.001),
        (Kind.OUTAGE, 1.0, 1.0, 0.001),
        (Kind.SHARED, 0.001, 0.02, 0.02),
    ],
)
def test_what_each_fault_does(kind: Kind, before: float, after: float, stable: float) -> None:
    scenario = Scenario(rps=100, kind=kind)
    assert scenario.failing_at(119, 0.001) == (before, 0.001)
    assert scenario.failing_at(121, 0.001) == (after, stable)
    assert scenario.failing_at(181, 0.001)[1] == 0.001
    assert scenario.words


@pytest.mark.parametrize("kind", list(Kind))
def test_the_requests_are_shared_and_fail_as_the_scenario_says(kind: Kind) -> None:
    scenario = Scenario(rps=1000, kind=kind, rate=0.1, failing=0.02, pods=3, after=0.0)
    rules = compare.rules(msgspec.convert({"latency": {}}, compare.Settings), EDGES)
    traffic = Traffic(scenario, 5.0, random.Random(3))
    found = [traffic.windows(5.0 * index, 20.0, rules.metrics) for index in range(12)]
    errors = [one["errors"] for one in found]
    n_c, n_b = sum(w.preview.total for w in errors), sum(w.stable.total for w in errors)
    assert n_c / (n_c + n_b) == pytest.approx(0.2, abs=0.01)
    assert n_c + n_b == pytest.approx(60_000, rel=0.02)
    wanted_c, wanted_b = scenario.failing_at(0.0, 0.02)
    assert sum(w.preview.bad[0] for w in errors) / n_c == pytest.approx(wanted_c, abs=0.03)
    assert sum(w.stable.bad[0] for w in errors) / n_b == pytest.approx(wanted_b, abs=0.01)
    for one in found:
        window, slow = one["errors"], one["latency"]
        assert len(window.stable_pods) == 3
        assert sum(total for _, total in window.stable_pods) == window.stable.total == slow.stable.total
        assert sum(bad for bad, _ in window.stable_pods) == window.stable.bad[0]
        assert list(slow.preview.bad) == sorted(slow.preview.bad, reverse=True)
    past = EDGES.index(0.25)
    factor = 2.0 if kind is Kind.LATENCY else 1.0
    slower = sum(one["latency"].preview.bad[past] for one in found) / n_c
    assert slower == pytest.approx(slower_than(0.25, factor), abs=0.01)


def test_the_same_seed_plays_the_same_rollout() -> None:
    scenario = Scenario(rps=100, kind=Kind.CONSTANT)
    assert play(strategy(), scenario, 5) == play(strategy(), scenario, 5)
    assert play(strategy(), scenario, 5) != play(strategy(), scenario, 6)


def test_a_good_preview_is_promoted_and_a_dead_one_gone_at_the_first_look() -> None:
    for rps in (10.0, 100.0, 10_000.0):
        good = play(strategy(), Scenario(rps=rps), 1)
        assert good.outcome == "promoted"
        raised = [weight for _, weight in good.weights]
        assert raised[0] <= 10
        assert all(later <= 4 * earlier for earlier, later in itertools.pairwise(raised))
        times = [since for since, _ in good.weights]
        assert all(later - earlier >= 5 for earlier, later in itertools.pairwise(times))
    dead = play(strategy(), Scenario(rps=100, kind=Kind.OUTAGE), 1)
    assert (dead.outcome, dead.seconds, dead.weights) == ("reverted", 5.0, ((0.0, 4),))
    assert dead.harmed == pytest.approx(20, abs=15), "4 % of 100 requests a second in 5 s"


def test_listed_steps_take_their_time() -> None:
    good = play(strategy(LIST), Scenario(rps=1000), 2)
    assert good.outcome == "promoted"
    assert good.weights == ((0.0, 1), (30.0, 10), (60.0, 50))
    assert good.seconds >= 90
    held = play(strategy(dataclasses.replace(LIST, promote=False)), Scenario(rps=1000), 2)
    assert (held.outcome, held.seconds) == ("held", 90.0)


def test_a_soak_is_what_catches_a_late_fault() -> None:
    late = [Scenario(rps=200, kind=Kind.LATE, rate=0.2)]
    hasty = simulate(strategy(), late, 40, 1)[0]
    patient = simulate(strategy(dataclasses.replace(AUTO, soak=Seconds(300))), late, 40, 1)[0]
    assert hasty.outcomes["promoted"].value >= 0.9
    assert patient.outcomes["reverted"].value == 1.0
    assert patient.seconds(1.0) < 160


def test_old_counters_cost_time_and_are_allowed_for() -> None:
    dead = Scenario(rps=100, kind=Kind.OUTAGE)
    late = play(strategy(lag=15.0), dead, 1)
    assert (late.outcome, late.weights) == ("reverted", ((0.0, 1),))
    assert 20 <= late.seconds <= 30


def test_slow_answers_are_found_by_a_gate_that_looks() -> None:
    slow = [Scenario(rps=200, kind=Kind.LATENCY, slower=3.0)]
    assert simulate(strategy(latency={}), slow, 20, 1)[0].outcomes["reverted"].value == 1.0
    assert simulate(strategy(), slow, 20, 1)[0].outcomes["promoted"].value == 1.0


def test_a_quiet_service_ends_without_a_verdict() -> None:
    quiet = play(strategy(dataclasses.replace(AUTO, deadline=Seconds(300))), Scenario(rps=1), 1)
    assert (quiet.outcome, quiet.seconds) == ("inconclusive", 300.0)


def test_errors_stay_within_their_bounds() -> None:
    """At 95 % confidence for 120 rollouts; the benchmark plays 20,000 of each."""
    rates = {"failing": 0.005}
    good, shared, bad = simulate(
        strategy(),
        [
            Scenario(rps=300, **rates),
            Scenario(rps=300, kind=Kind.SHARED, after=10.0, rate=0.3, **rates),
            Scenario(rps=300, kind=Kind.CONSTANT, rate=0.02, **rates),
        ],
        120,
        1,
    )
    for one in (good, shared):
        assert "reverted" not in one.outcomes or one.outcomes["reverted"].low <= 0.01
    assert "promoted" not in bad.outcomes or bad.outcomes["promoted"].low <= 0.05
    assert bad.outcomes["reverted"].value > 0.95


def test_recorded_requests_are_replayed() -> None:
    """A service with a burst of requests, and of failures, every other window."""
    recorded = Recorded(seconds=5.0, windows=((0, 100), (20, 1000)) * 20)
    assert (recorded.rate, recorded.failing) == (110.0, pytest.approx(20 / 1100))
    good = simulate(strategy(), [Scenario(rps=1, recorded=recorded)], 30, 1)[0]
    assert good.outcomes["promoted"].value == 1.0
    bad = simulate(strategy(), [Scenario(rps=1, recorded=recorded, kind=Kind.OUTAGE)], 30, 1)[0]
    assert bad.outcomes["reverted"].value == 1.0


def test_figures_of_many_rollouts() -> None:
    played = [
        Played(outcome="reverted", seconds=10.0 * (index + 1), harmed=index, weights=((0.0, 4), (5.0, 16)))
        for index in range(9)
    ]
    promoted = Played(outcome="promoted", seconds=200.0, harmed=0, weights=((0.0, 4),))
    summary = Summary(Scenario(rps=1), (*played, promoted))
    assert summary.outcomes["reverted"].value == 0.9
    assert summary.harmed.value == 3.6
    assert (summary.harmed_at_most(0.5), summary.harmed_at_most(0.95)) == (3, 8)
    assert (summary.seconds(0.5), summary.seconds(1.0)) == (50.0, 200.0)
    assert (summary.ended(9), summary.ended(10), summary.ended(200)) == (0.0, 0.1, 1.0)
    assert summary.weight(0) == 4
    assert summary.weight(5) == pytest.approx((9 * 16 + 4) / 10)
    assert summary.weight(200) == 10.0, "one has all requests, the others none"
    wilson = share(3, 10)
    assert (wilson.low, wilson.high) == (pytest.approx(0.10779, abs=1e-5), pytest.approx(0.60322, abs=1e-5))
    assert share(0, 100).low == 0.0


def test_many_processes_give_what_one_gives() -> None:
    scenarios = [Scenario(rps=1000, kind=Kind.OUTAGE), Scenario(rps=1000)]
    alone = [tuple(play(strategy(), scenario, 1 + index) for index in range(120)) for scenario in scenarios]
    assert [one.played for one in simulate(strategy(), scenarios, 120, 1)] == alone


def configured(folder: Path, **changes: Any) -> list[str]:
    """The arguments that name a file with a strategy by harm budget, with changes."""
    file = {
        "app": "shop",
        "production": {"namespace": "prod", "service": "shop", "workload": "deployment/shop"},
        "traffic": {"istio": {"virtual_service": "shop"}},
        "strategy": {"steps": "auto"},
        "gates": [{"compare": {}}],
        "promote": {"workload": {}},
    }
    (folder / "step.yaml").write_text(yaml.safe_dump({**file, **changes}))
    return ["simulate", "--config", str(folder / "step.yaml")]


def call(*arguments: str) -> Result:
    return CliRunner().invoke(cli.cli, list(arguments))


def test_the_command_says_and_draws_what_the_strategy_costs(tmp_path: Path) -> None:
    picture = tmp_path / "cost.svg"
    wanted = ["--runs", "8", "--rps", "100", "--rps", "2000", "--svg", str(picture)]
    done = call(*configured(tmp_path), *wanted, "--fault", "none", "--fault", "outage")
    assert done.exception is None, done.output
    lines = done.output.splitlines()
    assert lines[0] == "8 rollouts each; stable fails 0.1 %"
    assert lines[3].startswith("a  100         as good as stable  promoted 100 % (68-100)")
    assert lines[4].startswith("b  100         all fail           reverted 100 % (68-100)")
    assert lines[6].startswith("d  2,000")
    drawn = ElementTree.fromstring(picture.read_text())
    assert len(drawn.findall("{*}polyline")) == 8
    assert "shop: what its strategy costs" in picture.read_text()
    assert "http" not in picture.read_text().replace("http://www.w3.org/2000/svg", "")


def test_the_command_s_figures_for_machines(tmp_path: Path) -> None:
    one = [*configured(tmp_path), "--runs", "5", "--fault", "constant", "--rate", "50", "-o", "json"]
    first, listed = call(*one), call(*one, "--steps", "1,5", "--bake", "10s", "--lag", "15s")
    (found,), (other,) = json.loads(first.output), json.loads(listed.output)
    assert (found["fault"], found["preview"], found["runs"]) == ("constant", "50 % fail", 5)
    assert found["outcomes"]["reverted"][0] == 1.0
    assert other["seconds"]["median"] >= 20 > found["seconds"]["median"]


@pytest.mark.parametrize(
    ("changes", "arguments", "error"),
    [
        ({"gates": []}, ["--steps", "5"], "simulate plays exactly one compare gate; `gates` has 0"),
        ({}, ["--fault", "latency"], "--fault latency: the compare gate looks at errors only"),
        ({}, ["--after", "soon"], "--after: 'soon' is not a duration such as 30s"),
        ({}, ["--svg", "/nowhere/x.svg", "--runs", "1", "--fault", "outage"], "--svg /nowhere/x.svg: can't be written"),
        ({}, ["--backtest"], "which server. Give --prometheus URL"),
        ({}, ["--backtest", "--prometheus", "shop:9090"], "--prometheus: .*http"),
    ],
)
def test_what_the_command_can_t_do(tmp_path: Path, changes: dict[str, Any], arguments: list[str], error: str) -> None:
    done = call(*configured(tmp_path, **{"gates": [{"compare": {}}], **changes, "strategy": {}}), *arguments)
    assert isinstance(done.exception, ConfigError)
    assert re.search(error, str(done.exception)), done.exception


def served(failing: dict[str, float], windows: int = 1500, together: int = 1, seed: int = 1) -> History:
    """Two hours and more of pods that fail at their own rates, `together` requests at a time."""
    source = random.Random(seed)
    rows = []
    for _ in range(windows):
        row = {}
        for pod, rate in failing.items():
            total = poisson(source, 250.0)
            failed = together * binomial(source, total // together, rate)
            row[pod] = (float(total), float(failed), float(total))
        rows.append(row)
    return History(step=5.0, edges=(), windows=rows)


def test_alike_pods_are_not_reverted() -> None:
    found = backtest(GATE, served({"a": 0.01, "b": 0.01, "c": 0.01}), 600.0)
    outcomes = Counter(one.outcome for one in found.episodes)
    assert outcomes["promote"] >= 30
    assert share(outcomes["revert"], len(found.episodes)).low <= 0.01
    assert found.phi == pytest.approx(1.0, abs=0.1)
    assert found.processes == 3
    assert "falsely reverted: 0, 0 %" in words(found)
    assert "2.08 h of 3 processes, a window every 5 s" in words(found)


def test_a_pod_that_is_worse_is_told() -> None:
    found = backtest(GATE, served({"a": 0.002, "b": 0.002, "c": 0.05}), 600.0)
    assert {one.process for one in found.episodes if one.outcome == "revert"} == {"c"}
    assert found.phi > 5
    assert "more than the 1 % of false_revert" in words(found)


def test_failures_that_come_together_show_as_overdispersion() -> None:
    found = backtest(GATE, served({"a": 0.01, "b": 0.01, "c": 0.01}, together=4), 600.0)
    assert found.phi == pytest.approx(4.0, rel=0.15)
    reverted = sum(one.outcome == "revert" for one in found.episodes)
    assert share(reverted, len(found.episodes)).low <= 0.01


def test_one_pod_alone_has_nobody_to_be_compared_with() -> None:
    assert "at least two processes are needed" in words(backtest(GATE, served({"a": 0.01}, windows=10), 600.0))
    short = backtest(GATE, served({"a": 0.01, "b": 0.01}, windows=2), 600.0)
    assert "a longer --since" in words(short)


def test_the_gate_s_series_are_asked_of_the_server_that_is_named() -> None:
    gate = msgspec.convert({"scrape": {"preset": "envoy", "url": "http://proxy/stats"}}, compare.Settings)
    assert server_of(gate, "http://prom:9090").preset == "envoy"
    own = msgspec.convert({"prometheus": {"url": "http://own", "preset": "istio"}}, compare.Settings)
    assert server_of(own, "").url == "http://own"
    assert (server_of(own, "http://other").url, server_of(own, "http://other").preset) == ("http://other", "istio")
    with pytest.raises(ConfigError, match="which server"):
        server_of(gate, "")


class Exporter:
    """A pod of stable that has answered requests ever since it was made, 2 % of them badly."""

    def __init__(self, seed: int) -> None:
        self.source, self.last = random.Random(seed), time.monotonic()
        self.registry = prometheus_client.CollectorRegistry()
        names = ("namespace", "service", "code")
        self.requests = prometheus_client.Counter("http_requests", "Answered.", names, registry=self.registry)

    def answer(self, *_: Any) -> tuple[int, dict[str, str], bytes]:
        now = time.monotonic()
        served = poisson(self.source, 500 * (now - self.last))
        self.last = now
        bad = binomial(self.source, served, 0.02)
        self.requests.labels("prod", "shop", "200").inc(served - bad)
        self.requests.labels("prod", "shop", "503").inc(bad)
        return 200, {}, prometheus_client.generate_latest(self.registry)


def test_a_real_prometheus_is_replayed(
    prometheus_server: Callable[..., str],  # noqa: F811
    site: Callable[..., Site],  # noqa: F811
    tmp_path: Path,
) -> None:
    url = prometheus_server(
        [site(Exporter(number).answer).url for number in range(3)], "count(http_requests_total) == 6"
    )
    time.sleep(9)
    arguments = configured(tmp_path, strategy={"steps": "auto", "poll": "1s", "deadline": "5s"})
    history = [*arguments, "--prometheus", url, "--since", "12s", "-o", "json"]
    judged = call(*history, "--backtest")
    assert judged.exception is None, judged.output
    found = json.loads(judged.output)
    assert found["processes"] == 3
    assert found["rollouts"] >= 3
    assert found["outcomes"]["revert"][0] == 0
    assert 1 <= found["phi"] < 3

    played = call(*history, "--runs", "5", "--fault", "none", "--fault", "outage")
    assert played.exception is None, played.output
    good, dead = json.loads(played.output)
    assert good["requests_per_second"] == pytest.approx(1500, rel=0.4)
    assert dead["outcomes"]["reverted"][0] == 1.0

    nothing = call(
        *configured(tmp_path), "--backtest", "--prometheus", url, "--since", "12s", "--config", other(tmp_path)
    )
    assert isinstance(nothing.exception, ConfigError)
    assert "has no history of stable in that time: sum by" in str(nothing.exception)


def other(folder: Path) -> str:
    """A file whose stable nobody has scraped."""
    text = (folder / "step.yaml").read_text().replace("service: shop", "service: till")
    (folder / "other.yaml").write_text(text)
    return str(folder / "other.yaml")
