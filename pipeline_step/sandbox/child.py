"""Run a program that dies with the sandbox: `python child.py PARENT_PID PROGRAM [ARGUMENT...]`.

The kernel is asked to kill the process when its parent goes (prctl PR_SET_PDEATHSIG), so even a sandbox that
is killed with SIGKILL leaves nothing behind. Standard library only: it also runs at the start of every pod.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def die_with(parent: int) -> None:
    """Be killed when `parent` (a process id) goes; at once if it has gone already."""
    if ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0 or os.getppid() != parent:
        sys.exit(1)


def main() -> None:
    """Tie this process to its parent, then become the program."""
    die_with(int(sys.argv[1]))
    os.execv(sys.argv[2], sys.argv[2:])  # noqa: S606


if __name__ == "__main__":
    main()
