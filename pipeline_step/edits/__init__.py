"""Edits of environment repositories: one module for each kind of file, in a visible table.

Each is a pure function from a file's text to its text, in which one value differs and every other byte is as it was.
"""

from __future__ import annotations

from pipeline_step.edits import chart, helmfile, kustomize, manifest, values
from pipeline_step.edits.interface import Edit

EDITS: dict[str, Edit] = {
    "chart": chart,
    "helmfile": helmfile,
    "kustomize": kustomize,
    "manifest": manifest,
    "values": values,
}
