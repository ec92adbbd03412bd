"""`python -m benchmarks [NAME...]`: measures everything, or what is named, and writes docs/benchmarks.md."""

from __future__ import annotations

import argparse
import os
import platform
import sys
from pathlib import Path

from benchmarks import availability, calls, many, memory, shares, start

PAGE = Path(__file__).parents[1] / "docs" / "benchmarks.md"
PARTS = {
    "start": start,
    "calls": calls,
    "shares": shares,
    "availability": availability,
    "memory": memory,
    "many": many,
}
INTRODUCTION = """# Measured

Written by `make bench`, on {cores} cores of {machine} with Python {python}; the load average was {busy:.1f}
before it began. Everything runs against the sandbox: its API, its pods and a real Envoy share those cores with the
program and the load.

"""


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", choices=[*PARTS, []], help="parts to measure and print, without the page")
    names = parser.parse_args().names
    busy = os.getloadavg()[0]
    sections = []
    for name, part in PARTS.items():
        if not names or name in names:
            sections.append(part.measure())
            print(sections[-1].markdown(), flush=True)
    if not names:
        facts = {"cores": os.cpu_count(), "machine": platform.machine(), "python": platform.python_version(),
                 "busy": busy}  # fmt: skip
        PAGE.parent.mkdir(exist_ok=True)
        PAGE.write_text(INTRODUCTION.format(**facts) + "\n".join(section.markdown() for section in sections))
        print(f"written: {PAGE.relative_to(PAGE.parents[1])}")
    sys.exit(not all(goal.reached for section in sections for goal in section.goals))


if __name__ == "__main__":
    main()
