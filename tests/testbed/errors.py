"""What can go wrong with the test-bed in a way its user can act on."""

from __future__ import annotations


class TestbedError(Exception):
    """One sentence for the user; `python -m tests.testbed` prints it and exits with `code`."""

    __test__ = False  # the name starts with Test, but pytest has nothing to collect here
    code = 1


class CannotRunHereError(TestbedError):
    """This machine lacks something that the test-bed can't do without: root, Go, Debian's packages."""

    code = 3
