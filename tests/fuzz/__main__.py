"""`python -m tests.fuzz [SECONDS]`: each target in a process of its own, for so long; needs atheris (`make fuzz`)."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

LONGEST = 4096  # bytes of an input


def search(name: str, seconds: int) -> None:
    """In the target's process; atheris ends it, with the input that failed in `crash-...` here."""
    import atheris

    with atheris.instrument_imports(include=["pipeline_step", "markdown_it", "codeowners", "tests.fuzz"]):
        import codeowners  # noqa: F401 - what is imported later would be searched blindly
        import markdown_it  # noqa: F401

        from tests.fuzz import targets
    with tempfile.TemporaryDirectory() as folder:
        for number, seed in enumerate(targets.SEEDS[name]):
            Path(folder, str(number)).write_bytes(seed)
        limits = [
            f"-max_total_time={seconds}",
            f"-max_len={LONGEST}",
            "-timeout=20",
            "-print_final_stats=1",
            "-artifact_prefix=.fuzz/",
        ]
        atheris.Setup([sys.argv[0], folder, *limits], targets.TARGETS[name])
        atheris.Fuzz()


def main() -> int:
    from tests.fuzz.targets import TARGETS

    seconds = int(sys.argv[1]) if len(sys.argv) > 1 else 60
    failed = []
    Path(".fuzz").mkdir(exist_ok=True)
    for name in TARGETS:
        command = [sys.executable, "-m", "tests.fuzz", str(seconds), name]
        done = subprocess.run(command, capture_output=True, text=True, timeout=seconds + 120, check=False)
        said = [line for line in done.stderr.splitlines() if "number_of_executed_units" in line or "Error" in line]
        print(f"{name}: {'failed' if done.returncode else 'nothing found'}; {'; '.join(said)}", flush=True)
        if done.returncode:
            failed.append(name)
            print(done.stdout[-4000:], done.stderr[-2000:], flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    if len(sys.argv) > 2:
        search(sys.argv[2], int(sys.argv[1]))
    sys.exit(main())
