"""What the sandbox's tests talk to it with, and the objects that they make."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import requests

Obj = dict[str, Any]


@dataclass
class Client:
    """HTTP calls to the sandbox's API; `send` gives the status code and the body."""

    url: str

    def send(self, method: str, path: str, body: Any = None, media: str = "application/json") -> tuple[int, Obj]:
        data = None if body is None else json.dumps(body)
        headers = {"Content-Type": media, "User-Agent": "sandbox-tests/1"}
        answer = requests.request(method, self.url + path, data=data, headers=headers, timeout=10)
        return answer.status_code, answer.json()

    def get(self, path: str) -> Obj:
        code, body = self.send("GET", path)
        assert code == 200, body
        return body

    def create(self, path: str, body: Obj) -> Obj:
        code, made = self.send("POST", path, body)
        assert code == 201, made
        return made


@dataclass
class Load:
    """Requests sent without a pause over one kept-alive connection, until `stop`."""

    counts: Counter[tuple[int, str]]
    stop: Callable[[], None]


def deployment(name: str, image: str = "croc:1", replicas: int = 1, **env: str) -> Obj:
    """A Deployment of the sample app with a readiness probe."""
    labels = {"app": name}
    container = {
        "name": "app",
        "image": image,
        "ports": [{"containerPort": 8080, "name": "http"}],
        "readinessProbe": {"httpGet": {"path": "/healthz", "port": "http"}},
        "env": [{"name": key, "value": value} for key, value in env.items()],
    }
    template = {"metadata": {"labels": labels}, "spec": {"containers": [container]}}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {"replicas": replicas, "selector": {"matchLabels": labels}, "template": template},
    }


def service(name: str, app: str | None = None) -> Obj:
    """A Service on port 80 of the pods that `deployment` makes."""
    ports = [{"name": "http", "port": 80, "targetPort": "http"}]
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name},
        "spec": {"selector": {"app": app or name}, "ports": ports},
    }
