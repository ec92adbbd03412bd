"""Containers that send requests at a steady rate, for services that are too quiet to be judged. Pure."""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal

import msgspec

from pipeline_step.gates.placeholders import SIDES, fill
from pipeline_step.gates.query import check_url
from pipeline_step.settings import Duration, Strict, says, seconds

IMAGES = {
    "fortio": "fortio/fortio:1.66.5",
    "hey": "williamyeh/hey:latest",
    "k6": "grafana/k6:1.0.0",
}
K6_SCRIPT = """\
import http from 'k6/http';
const load = JSON.parse(__ENV.LOAD);
export const options = {
  scenarios: {load: {executor: 'constant-arrival-rate', rate: load.requests, timeUnit: load.per,
    duration: load.duration, preAllocatedVUs: load.connections}},
};
export default () => http.get(load.url, {headers: load.headers});
"""


class Load(Strict, frozen=True, kw_only=True):
    """Requests to send: `rate` a second over so many `connections`, for `duration`, to `url` with `headers`.

    The URL should be production's own, so that the requests are split as everybody's are. `tool` is the program,
    and `image` what it runs from where that is not its usual one.
    """

    url: Annotated[str, says("where to: production's own address, so that the requests are split as everybody's are")]
    rate: Annotated[float, says("requests a second")] = 10
    duration: Annotated[Duration, says("how long")] = "1m"
    connections: Annotated[int, says("how many connections at a time")] = 4
    headers: Annotated[dict[str, str], says("headers to send")] = msgspec.field(default_factory=dict)
    tool: Annotated[Literal["fortio", "hey", "k6"], says("the program that sends them")] = "fortio"
    image: Annotated[str, says("its image, where it is not the usual one")] = ""

    def __post_init__(self) -> None:
        check_url(self.url)
        if not 0 < self.rate <= 10_000:
            raise ValueError(f"rate is {self.rate:g} a second; valid: above 0, at most 10000")
        if not 1 <= self.connections <= 1000:
            raise ValueError(f"connections is {self.connections}; valid: 1 to 1000")


def container(load: Load, values: dict[str, str]) -> dict[str, Any]:
    """The container that sends the load; `values` are those of the sides' placeholders."""
    url = fill(load.url, {name: values[name] for name in SIDES})
    length = f"{seconds(load.duration):g}s"
    found: dict[str, Any] = {
        "name": "load",
        "image": load.image or IMAGES[load.tool],
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": 65532,
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "resources": {"requests": {"cpu": "50m", "memory": "32Mi"}},
    }
    headers = [part for name, value in load.headers.items() for part in ("-H", f"{name}: {value}")]
    match load.tool:
        case "fortio":
            rate = ["-qps", f"{load.rate:g}", "-c", str(load.connections), "-t", length]
            found["args"] = ["load", *rate, "-allow-initial-errors", "-quiet", *headers, url]
        case "hey":
            # hey takes the rate of each of its workers.
            rate = ["-q", f"{load.rate / load.connections:g}", "-c", str(load.connections), "-z", length]
            found["args"] = [*rate, *headers, url]
        case "k6":
            asked = {
                "url": url,
                "headers": load.headers,
                "requests": max(1, round(load.rate * 10)),
                "per": "10s",
                "duration": length,
                "connections": load.connections,
            }
            found["command"] = ["/bin/sh", "-c", 'printf %s "$SCRIPT" | exec k6 run --quiet -']
            found["env"] = [
                {"name": "SCRIPT", "value": K6_SCRIPT},
                {"name": "LOAD", "value": json.dumps(asked)},
            ]
    return found
