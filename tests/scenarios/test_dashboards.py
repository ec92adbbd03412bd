"""Every query of the dashboard has an answer while a real rollout goes on: a real Prometheus reads the Pushgateway that
the step pushes to, and the Envoy that shares the requests.
"""

from __future__ import annotations

import functools
import json
import math
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import requests
import yaml

from tests.dashboards.files import DASHBOARD, FOLDER, filled, queries
from tests.sinks.programs import serving
from tests.testbed import configuration

from .bed import eventually
from .world import World

TESTBED = Path(configuration.__file__).parent / "config"


@contextmanager
def prometheus(world: World, pushgateway: str) -> Iterator[str]:
    """One that gives Envoy's counters Istio's names, as the test-bed's own does."""
    own = yaml.safe_load((TESTBED / "prometheus.yaml").read_text())
    gateway = next(job for job in own["scrape_configs"] if job["job_name"] == "gateway")
    del gateway["file_sd_configs"]
    stats = urlsplit(world.bed.stats_url)
    gateway |= {"metrics_path": stats.path, "static_configs": [{"targets": [stats.netloc]}]}
    pushed = {
        "job_name": "pushgateway",
        "honor_labels": True,
        "static_configs": [{"targets": [urlsplit(pushgateway).netloc]}],
    }
    rules = yaml.safe_load((FOLDER / "rules.yaml").read_text())
    rules["groups"] = [{**group, "interval": "1s"} for group in rules["groups"]]
    (world.directory / "rules.yaml").write_text(yaml.safe_dump(rules))
    settings = {
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "rule_files": [str(TESTBED / "istio-rules.yaml"), str(world.directory / "rules.yaml")],
        "scrape_configs": [gateway, pushed],
    }
    (world.directory / "prometheus.json").write_text(json.dumps(settings))
    flags = [
        f"--config.file={world.directory / 'prometheus.json'}",
        f"--storage.tsdb.path={world.directory / 'prometheus'}",
    ]
    with serving(
        "prometheus", lambda address: [*flags, f"--web.listen-address={address}"], world.directory, "/-/ready"
    ) as url:
        yield url


def ask(url: str, path: str, **parameters: Any) -> Any:
    answer = requests.get(f"{url}/api/v1/{path}", parameters, timeout=10).json()
    assert answer["status"] == "success", answer
    return answer["data"]


def variables(url: str, fixed: dict[str, str]) -> dict[str, str]:
    """What Grafana makes of the dashboard's variables when all of their values are chosen."""
    values = dict(fixed)
    for variable in DASHBOARD["templating"]["list"]:
        if variable["type"] != "query":
            continue
        asked = re.fullmatch(r"label_values\((.*), (\w+)\)", variable["query"]["query"])
        assert asked
        found = ask(url, f"label/{asked[2]}/values", **{"match[]": filled(asked[1], values)})
        assert found, variable["name"]
        values[variable["name"]] = variable.get("allValue") or f"({'|'.join(found)})"
    return values


def numbers(url: str, query: str) -> list[float]:
    """The values of a query that are numbers."""
    values = (float(one["value"][1]) for one in ask(url, "query", query=query)["result"])
    return [value for value in values if not math.isnan(value)]


def listening(address: str) -> list[str]:
    return [f"--web.listen-address={address}"]


def test_every_query_has_an_answer_after_a_rollout(world: World) -> None:
    gates = [{"compare": {"errors": {"max_increase": "5pp"}}}]
    world.configure(gates=gates, strategy={"steps": [20, 50], "bake": "3s"}, promote=None)
    world.deploy()
    with (
        serving("prometheus-pushgateway", listening, world.directory, "/-/ready") as pushgateway,
        prometheus(world, pushgateway) as url,
        world.bed.load(world.host),
    ):
        done = world.step("rollout", PIPELINE_STEP_PUSHGATEWAY=pushgateway)
        assert "could not be told" not in done.err, done.err
        eventually(lambda: numbers(url, "pipeline_step_outcome == 1"), "the outcome is scraped")
        values = variables(url, {"__rate_interval": "1m", "__interval": "10m", "__range_s": "3600"})
        for title, query in queries():
            if title == "Transitions":  # one before the first scrape is none that Prometheus saw
                numbers(url, filled(query, values))
            else:
                eventually(functools.partial(numbers, url, filled(query, values)), f"{title}: {query}")
        for group in yaml.safe_load((FOLDER / "rules.yaml").read_text())["groups"]:
            for rule in group["rules"]:
                if "record" in rule:
                    eventually(functools.partial(numbers, url, rule["record"]), rule["record"])
        rules = [rule for group in ask(url, "rules")["groups"] for rule in group["rules"]]
        assert {rule["health"] for rule in rules} == {"ok"}, rules
