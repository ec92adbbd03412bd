"""Acceptance scenarios: the real command line against the sandbox and, by the same code, against the test-bed."""
