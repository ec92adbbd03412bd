"""The program's entry: runs a command and turns how it ended into an exit code. The only broad `except` is here."""

from __future__ import annotations

import os
import signal
import sys
import traceback
from types import FrameType

from pipeline_step.errors import Exit, Interrupted, StepError


def main() -> None:
    """Run the command line and leave with a code of `Exit`."""
    for signum in (signal.SIGINT, signal.SIGTERM):
        signal.signal(signum, _interrupt)
    from pipeline_step.cli import cli

    try:
        cli(prog_name="pipeline-step")
    except Interrupted as error:
        _leave(str(error), error.exit)
    except StepError as error:
        _leave(f"error: {error}", error.exit)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(Exit.UNEXPECTED)
    except Exception as error:
        if os.environ.get("PIPELINE_STEP_DEBUG"):
            traceback.print_exc()
        kind = type(error).__name__
        _leave(f"unexpected error: {kind}: {error} (PIPELINE_STEP_DEBUG=1 shows where)", Exit.UNEXPECTED)


def _interrupt(signum: int, frame: FrameType | None) -> None:
    """The first signal ends the work; those that follow must not disturb the traffic's way home."""
    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, signal.SIG_IGN)
    raise Interrupted(signum)


def _leave(message: str, code: Exit) -> None:
    from pipeline_step.lines import log

    log.error(message)
    sys.exit(code)


if __name__ == "__main__":
    main()
