"""`python -m benchmarks.judge table|errors|speed`: measures the judge; the first two write pages of the docs."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from benchmarks.judge import page, table
from benchmarks.judge.runs import Summary, simulate

DOCS = Path(__file__).parents[2] / "docs"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.judge", description=__doc__)
    parser.add_argument("mode", choices=["table"])
    parser.add_argument("--runs", type=int, help="rollouts a cell")
    parser.add_argument("--jobs", type=int, default=2, help="processes")
    parser.add_argument("--out", type=Path, help="the page to write")
    options = parser.parse_args()
    runs = options.runs or 2000
    cells, work = table.jobs(runs)
    start = time.monotonic()

    def done(number: int, summary: Summary) -> None:
        cell = cells[number]
        print(
            f"{time.monotonic() - start:6.0f} s  {number + 1}/{len(cells)}  {cell.table} {cell.rps:g} rps "
            f"{100 * cell.preview:g} % {cell.judge}: {summary.harm:.1f} {summary.counts}",
            file=sys.stderr, flush=True,
        )  # fmt: skip

    results = dict(zip(cells, simulate(work, options.jobs, done), strict=True))
    out = options.out or DOCS / "judge-benchmark.md"
    out.write_text(page.page(results, runs))
    print(out)


if __name__ == "__main__":
    main()
