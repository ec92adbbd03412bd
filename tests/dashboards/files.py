"""The dashboard and the rules, and how Grafana fills in a query."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent.parent.parent / "dashboards"
DASHBOARD: dict[str, Any] = json.loads((FOLDER / "pipeline-step.json").read_text())


def queries() -> Iterator[tuple[str, str]]:
    """Every query, by its panel's title."""
    for panel in DASHBOARD["panels"]:
        for target in panel.get("targets", ()):
            yield panel["title"], target["expr"]
    for annotation in DASHBOARD["annotations"]["list"]:
        yield annotation["name"], annotation["expr"]


def filled(query: str, values: Mapping[str, str]) -> str:
    """As Grafana sends it, with these values of its variables; the longest name goes first."""
    for name in sorted(values, key=len, reverse=True):
        query = query.replace(f"${name}", values[name])
    assert "$" not in query, query
    return query
