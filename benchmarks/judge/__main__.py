"""`python -m benchmarks.judge MODE`: measures the judge; all modes but `speed` write a page of the docs."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from benchmarks.judge import error_page, page, past, table
from benchmarks.judge.runs import Summary, simulate
from benchmarks.judge.speed import milliseconds

DOCS = Path(__file__).parents[2] / "docs"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.judge", description=__doc__)
    parser.add_argument("mode", choices=["table", "errors", "past", "speed"])
    parser.add_argument("--runs", type=int, help="rollouts a cell: 2000 in the tables, 20000 for the error rates")
    parser.add_argument("--jobs", type=int, default=2, help="processes")
    parser.add_argument("--out", type=Path, help="the page to write")
    options = parser.parse_args()
    if options.mode == "table":
        out = options.out or DOCS / "judge-benchmark.md"
        out.write_text(compare(options.runs or 2000, options.jobs))
        print(out)
    elif options.mode == "errors":
        out, runs = options.out or DOCS / "judge-error-rates.md", options.runs or 20_000
        out.write_text(error_page.page(error_page.measure(runs, options.jobs, progress), runs))
        print(out)
    elif options.mode == "past":
        out = options.out or DOCS / "judge-past.md"
        out.write_text(past.page(options.runs or 2000, progress))
        print(out)
    else:
        fold, judge = milliseconds()
        print(f"a poll with ten metrics: {fold:.2f} ms to fold, {judge:.2f} ms to judge")


def compare(runs: int, jobs: int) -> str:
    """The page that compares the judge with its peers."""
    cells, work = table.jobs(runs)

    def done(number: int, summary: Summary) -> None:
        progress(f"{number + 1}/{len(cells)}  {cells[number]}: {summary.harm:.1f} {summary.counts}")

    return page.page(dict(zip(cells, simulate(work, jobs, done), strict=True)), runs)


def progress(line: str) -> None:
    print(f"{time.strftime('%H:%M:%S')}  {line}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
