"""`python -m tests.testbed run -- .venv/bin/python -m benchmarks.flagger`: a race on one cluster, written to the docs.

The same application, gateway and Prometheus for all: how long users meet a bad preview, and how many see it fail.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from benchmarks.flagger.peer import DOCUMENTED, FASTEST, REST, WARM, Flagger, Rolled, Setting
from benchmarks.flagger.users import Crowd, exposure
from tests.scenarios.bed import Api, Bed
from tests.scenarios.world import make
from tests.testbed import environment

DOCS = Path(__file__).parents[2] / "docs" / "flagger.md"
OURS = "pipeline-step, its defaults"
FAULTS: Mapping[str, Mapping[str, str]] = {
    "fails 2 %": {"FAIL_RATE": "0.02"},
    "fails 10 %": {"FAIL_RATE": "0.1"},
    "fails always": {"FAIL_RATE": "1"},
    "half take 0.7 s": {"SLOW_RATE": "0.5", "SLOW_SECONDS": "0.7"},
}
AT_ONCE = 8  # the two settings of Flagger first; ours begin as those of the faster one end

WORDS = """# Against the real Flagger, on one cluster

Written by `python -m tests.testbed run -- .venv/bin/python -m benchmarks.flagger --rate {rate:g}`, on {cores} cores of
{machine} that also ran everything else; the load average was {busy:.1f} before it began. Flagger 1.36.1 and
pipeline-step roll out the same application on the same Kubernetes with the same istiod, Envoy and Prometheus, which
scrapes every second. A user's requests come at {rate:g} a second to each, {warm:g} s before the preview does.

Seen from outside, by those users: the time from the first answer of a bad preview to its last, how many requests
reached it, and how many of these failed (or took over 0.5 s, where it is slow).

- **Flagger, as documented**: `interval: 1m`, `threshold: 5`, `stepWeight: 10`, `maxWeight: 50`, success at least 99 %
  over 1m, p99 at most 500 ms over 30s.
- **Flagger, its fastest**: `interval: 10s` and `threshold: 1`, both over 10s. One failed check ends it, whoever failed.
- **pipeline-step, its defaults**: `steps: auto`, gate `compare` of errors and of `latency: {{slower_than: 500ms}}` on
  the same Prometheus, with polls every 5 s.

Flagger's queries are those of its built-in checks with the labels of a gateway in place of a sidecar's.

One run of each: how many requests of a few hundred fail is chance, and so is when that is noticed. What the fastest
setting gains it pays with good previews: at 10 % of 50 requests a second a single failure in ten seconds is 2 %, and
enough for it. [How often each reverts a good preview](judge-benchmark.md#false-reverts) takes many runs.

The ramp asks for the last minute's requests, and there were only {warm:g} s: so it began at 1 % in place of the 6 %
that its budget allows here, at which an outage costs about 15 requests until the first look, not 3.

| preview | | off after | reached it | failed | how it ended |
|---|---|---:|---:|---:|---|
"""


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.flagger", description=__doc__)
    parser.add_argument("--rate", type=float, default=50.0, help="requests a second to each application")
    parser.add_argument("--out", type=Path, default=DOCS, help="the page to write")
    options = parser.parse_args()
    facts = {"cores": os.cpu_count(), "machine": platform.machine(), "busy": os.getloadavg()[0]}
    with tempfile.TemporaryDirectory(prefix="pipeline-step-flagger-") as name:
        rows = race(Path(name), options.rate)
    options.out.write_text(WORDS.format(rate=options.rate, warm=WARM, **facts) + "\n".join(rows) + "\n")
    print(options.out)


def race(folder: Path, rate: float) -> list[str]:
    """All contestants with all faults; the rows of the table."""
    found = environment.load()
    bed = _bed(found, folder)
    with Crowd(bed.gateway) as crowd, Flagger(bed, found.prometheus_url, folder) as flagger:

        def theirs(setting: Setting, fault: str) -> Rolled:
            return flagger.roll(_bed(found, folder), setting, FAULTS[fault], crowd, rate)

        def ours(fault: str) -> Rolled:
            return _ours(_bed(found, folder), folder, FAULTS[fault], crowd, found.prometheus_url, rate)

        def told(name: str, fault: str, run: Callable[[], Rolled]) -> str:
            rolled = run()
            row = _row(fault, name, rolled)
            print(f"{time.strftime('%H:%M:%S')}  {row}  {rolled.requests:,} requests", file=sys.stderr, flush=True)
            return row

        with ThreadPoolExecutor(AT_ONCE) as pool:
            running = {
                (name, fault): pool.submit(told, name, fault, run)
                for name, of in (
                    (DOCUMENTED.name, lambda fault: lambda: theirs(DOCUMENTED, fault)),
                    (FASTEST.name, lambda fault: lambda: theirs(FASTEST, fault)),
                    (OURS, lambda fault: lambda: ours(fault)),
                )
                for fault in FAULTS
                for run in (of(fault),)
            }
        return [running[name, fault].result() for fault in FAULTS for name in (DOCUMENTED.name, FASTEST.name, OURS)]


def _ours(bed: Bed, folder: Path, fault: Mapping[str, str], crowd: Crowd, prometheus: str, rate: float) -> Rolled:
    place = Path(tempfile.mkdtemp(dir=folder))
    world = make(bed, place)
    try:
        gate = {"prometheus": {"url": prometheus, "preset": "istio"}, "latency": {"slower_than": "500ms"}}
        world.config["strategy"] = {"steps": "auto", "deadline": "10m"}
        world.configure(gates=[{"compare": gate}])
        visit = crowd.visit(world.host, rate)
        time.sleep(WARM)
        world.deploy(**fault)
        done = world.begin("rollout", "-o", "json").end(within=720)
        time.sleep(REST)
        visit.over = True
        slow = 0.5 if "SLOW_RATE" in fault else None
        print(done.result["reason"], file=sys.stderr, flush=True)
        return Rolled(exposure(visit.answers, "2", slow), done.code == 3, len(visit.answers))
    finally:
        world.close()


def _bed(found: environment.Environment, folder: Path) -> Bed:
    """A bed for the calling thread."""
    kubeconfig = Path(found.kubeconfig)
    return Bed(
        name="testbed",
        kubeconfig=kubeconfig,
        api=Api(kubeconfig, Path(tempfile.mkdtemp(dir=folder))),
        gateway=(found.gateway_address, found.gateway_port),
        stats_url=found.gateway_stats_url,
    )


def _row(fault: str, name: str, rolled: Rolled) -> str:
    seen, ended = rolled.seen, "reverted" if rolled.reverted else "**not reverted**"
    cells = (fault, name, f"{seen.seconds:.0f} s", f"{seen.requests:,}", f"{seen.failed:,}", ended)
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    main()
