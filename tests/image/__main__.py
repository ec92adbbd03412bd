"""Builds the image if it has changed and prints where its archive is: `python -m tests.image [TARGET]`."""

from __future__ import annotations

import sys

from .build import archive

print(archive(*sys.argv[1:]))
