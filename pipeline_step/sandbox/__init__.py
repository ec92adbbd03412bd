"""A cluster in a process: a Kubernetes-shaped API, pods that are local processes, and a real Envoy.

It is for trying the step and for fast tests; it claims to be no more than that. Linux only.
"""

from __future__ import annotations

import asyncio
import functools
import shutil
import socket
import tempfile
import threading
import time
from collections.abc import Coroutine, Sequence
from concurrent.futures import Future
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import yaml
from aiohttp import web

from pipeline_step.errors import ConfigError
from pipeline_step.sandbox import controller, deployments, garbage, replica_sets, services
from pipeline_step.sandbox.access import Access, Failure, Rule
from pipeline_step.sandbox.addresses import Block
from pipeline_step.sandbox.api import Api, Request
from pipeline_step.sandbox.envoy import Envoy, binary
from pipeline_step.sandbox.gateway_follower import GatewayFollower
from pipeline_step.sandbox.images import Images
from pipeline_step.sandbox.kinds import NAMESPACE
from pipeline_step.sandbox.pods import Kubelet
from pipeline_step.sandbox.registry import Registry
from pipeline_step.sandbox.store import Store

__all__ = ["Request", "Rule", "Sandbox"]
HOST = "127.0.0.1"
NAMESPACES = ("default", "kube-system", "istio-system")


class Sandbox:
    """A running sandbox; a context manager that leaves no process behind.

    `directory` holds the kubeconfig, logs and Envoy's files (a temporary one by default, removed at the end).
    A port of 0 is chosen by the system. `contexts` are more names for the same cluster in the kubeconfig.
    """

    def __init__(
        self,
        directory: Path | None = None,
        api_port: int = 0,
        gateway_port: int = 0,
        contexts: Sequence[str] = (),
    ) -> None:
        binary()
        self._temporary = None if directory else Path(tempfile.mkdtemp(prefix="pipeline-step-sandbox-"))
        self.directory = (directory or self._temporary or Path()).resolve()
        self.directory.mkdir(parents=True, exist_ok=True)
        self._block = Block()
        self.store = Store()
        self.images = Images()
        self.access = Access()
        self.registry = Registry(self.store, self._block.service)
        self._kubelet = Kubelet(self.registry, self.images, self._block.pod, self.directory / "pods")
        self._api = Api(self.registry, self.access, self._kubelet.log)
        self.requests = self._api.requests
        self._envoy = Envoy(self.directory / "envoy", gateway_port)
        self._follower = GatewayFollower(self.registry, self._envoy, self._block.gateway)
        self._tasks: list[asyncio.Task[None]] = []
        self._runner: web.AppRunner | None = None
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="sandbox", daemon=True)
        self._thread.start()
        try:
            for name in NAMESPACES:
                self.registry.create(NAMESPACE, "", {"metadata": {"name": name}})
            self._call(self._start(api_port, gateway_port)).result()
            self.kubeconfig = self._write_kubeconfig(contexts)
        except BaseException:
            self.close()
            raise

    @property
    def gateway_url(self) -> str:
        """The gateway's http listener; VirtualServices are chosen by the Host header."""
        return f"http://{HOST}:{self._envoy.port}"

    @property
    def gateway_address(self) -> str:
        """The address of the gateway's tcp and tls listeners."""
        return self._block.gateway

    @property
    def envoy_admin_url(self) -> str:
        """Envoy's admin pages, such as /stats/prometheus."""
        return f"http://{self._envoy.admin}"

    def deny(
        self, verb: str = "*", resource: str = "*", namespace: str = "*", name: str = "*", group: str = "*"
    ) -> Rule:
        """Refuse such calls with 403 from now on; `allow` takes the returned rule back."""
        rule = Rule(verb=verb, resource=resource, namespace=namespace, name=name, group=group)
        self.access.denied.append(rule)
        return rule

    def allow(self, rule: Rule) -> None:
        """Take a rule of `deny` back."""
        self.access.denied.remove(rule)

    def fail(
        self,
        code: int,
        times: int = 1,
        verb: str = "*",
        resource: str = "*",
        namespace: str = "*",
        retry_after: int | None = None,
    ) -> None:
        """Answer the next `times` such calls with an error status, such as 429, 500 or 503."""
        rule = Rule(verb=verb, resource=resource, namespace=namespace)
        self.access.failures.append(Failure(rule, code, times, retry_after))

    def settle(self, seconds: float = 5.0) -> None:
        """Wait until Envoy follows all that is stored now; TimeoutError when it does not."""
        wanted, deadline = self.store.version, time.monotonic() + seconds
        while self._follower.shown < wanted:
            if time.monotonic() > deadline:
                raise TimeoutError(f"Envoy has not followed the objects within {seconds:g} s")
            time.sleep(0.005)

    def close(self) -> None:
        """Stop everything: API, pods, Envoy. May be called twice."""
        if self._loop.is_closed():
            return
        self._call(self._stop()).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        self._block.close()
        if self._temporary:
            shutil.rmtree(self._temporary, ignore_errors=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _call(self, work: Coroutine[Any, Any, None]) -> Future[None]:
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    async def _start(self, api_port: int, gateway_port: int) -> None:
        _check_port(gateway_port, "gateway")
        listening = _listen(api_port, "API")
        envoy = asyncio.create_task(self._envoy.start())
        self._runner = web.AppRunner(
            self._api.application(), access_log=None, handler_cancellation=True, shutdown_timeout=0.1
        )
        await self._runner.setup()
        await web.SockSite(self._runner, listening).start()
        self.url = f"http://{HOST}:{listening.getsockname()[1]}"
        run = functools.partial(controller.run, self.store)
        registry, store = self.registry, self.store
        work = [
            run(deployments.keys, functools.partial(deployments.sync, registry)),
            run(replica_sets.keys, functools.partial(replica_sets.sync, registry)),
            run(functools.partial(services.keys, store), functools.partial(services.sync, registry)),
            run(garbage.keys, functools.partial(garbage.sync, registry)),
            self._kubelet.run(),
        ]
        self._tasks = [asyncio.create_task(task) for task in work]
        await envoy
        self._tasks.append(asyncio.create_task(self._follower.run()))

    async def _stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._runner:
            await self._runner.cleanup()
        await self._envoy.stop()
        await self._loop.shutdown_default_executor()

    def _write_kubeconfig(self, contexts: Sequence[str]) -> Path:
        names = ("sandbox", *contexts)
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "sandbox", "cluster": {"server": self.url}}],
            "users": [{"name": "sandbox", "user": {}}],
            "contexts": [{"name": name, "context": {"cluster": "sandbox", "user": "sandbox"}} for name in names],
            "current-context": "sandbox",
        }
        path = self.directory / "kubeconfig"
        path.write_text(yaml.safe_dump(config, sort_keys=False))
        path.chmod(0o600)
        return path


def _listen(port: int, what: str) -> socket.socket:
    listening = socket.socket()
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((HOST, port))
    except OSError as error:
        listening.close()
        raise ConfigError(
            f"Port {port} for the sandbox's {what} cannot be used on {HOST} ({error.strerror}): "
            "stop what listens there, or give another port (0 lets the system choose)"
        ) from error
    listening.listen(1024)
    return listening


def _check_port(port: int, what: str) -> None:
    if port:
        _listen(port, what).close()
