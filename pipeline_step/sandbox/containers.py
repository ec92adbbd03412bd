"""One container of a pod: image pull, process, probes, restarts with back-off, and its status."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path
from typing import Any

from pipeline_step.sandbox import environment, probes
from pipeline_step.sandbox.images import Images, parse
from pipeline_step.sandbox.registry import timestamp
from pipeline_step.sandbox.store import Store

Obj = dict[str, Any]
FIRST_BACK_OFF = 1.0
LONGEST_BACK_OFF = 30.0
POLL = 0.05
_START = (
    "import sys; sys.path.append(sys.argv[2]); import child; child.die_with(int(sys.argv[1])); import app; app.main()"
)


class Container:
    """A container's life. `changed` is set whenever `status` would say something new."""

    def __init__(
        self, store: Store, images: Images, pod: Obj, spec: Obj, address: str, logs: Path, changed: asyncio.Event
    ) -> None:
        self.spec = spec
        self.ready = False
        self._store, self._images, self._pod = store, images, pod
        self._address, self._logs, self._changed = address, logs, changed
        self._image = parse(spec["image"])
        self._process: asyncio.subprocess.Process | None = None
        self._state: Obj = {"waiting": {"reason": "ContainerCreating"}}
        self._last: Obj = {}
        self._restarts = 0

    async def run(self) -> None:
        """Pull, start, probe, and start again when the process ends."""
        await self._pull()
        back_off = FIRST_BACK_OFF
        while True:
            try:
                env = environment.of(self._store, self._images, self._pod, self.spec, self._address)
            except environment.Missing as error:
                self._wait("CreateContainerConfigError", str(error))
                await asyncio.sleep(FIRST_BACK_OFF)
                continue
            began = asyncio.get_running_loop().time()
            await self._start(env)
            await self._watch()
            if asyncio.get_running_loop().time() - began > LONGEST_BACK_OFF:
                back_off = FIRST_BACK_OFF
            self._wait(
                "CrashLoopBackOff",
                f"back-off {back_off:.0f}s restarting failed container={self.spec['name']} "
                f"pod={self._pod['metadata']['name']}_{self._pod['metadata']['namespace']}",
            )
            await asyncio.sleep(back_off)
            back_off = min(2 * back_off, LONGEST_BACK_OFF)
            self._restarts += 1

    async def stop(self, grace: float) -> None:
        """SIGTERM, and SIGKILL when the grace is over; `preStop.sleep` comes first and counts."""
        process = self._process
        if process is None or process.returncode is not None:
            return
        pause = ((self.spec.get("lifecycle") or {}).get("preStop") or {}).get("sleep") or {}
        try:
            async with asyncio.timeout(max(grace, 0.1)):
                await asyncio.sleep(float(pause.get("seconds", 0)))
                process.send_signal(signal.SIGTERM)
                await process.wait()
        except TimeoutError:
            self.kill()
            await process.wait()
        except ProcessLookupError:
            return

    def kill(self) -> None:
        """End the process now."""
        if self._process and self._process.returncode is None:
            self._process.kill()

    async def end(self) -> None:
        """End the process now, and wait until it is gone."""
        self.kill()
        if self._process:
            await self._process.wait()

    def status(self) -> Obj:
        """The containerStatus."""
        started = "running" in self._state
        return {
            "name": self.spec["name"],
            "state": self._state,
            "lastState": self._last,
            "ready": self.ready,
            "restartCount": self._restarts,
            "image": self.spec["image"],
            "imageID": self._image.id if self._image and (started or self._restarts or self._last) else "",
            "started": started,
        }

    def _set(self, state: Obj, ready: bool) -> None:
        if (state, ready) != (self._state, self.ready):
            self._state, self.ready = state, ready
            self._changed.set()

    def _wait(self, reason: str, message: str) -> None:
        self._set({"waiting": {"reason": reason, "message": message}}, ready=False)

    async def _pull(self) -> None:
        name = self.spec["image"]
        if self._image is None:
            self._wait("InvalidImageName", f'Failed to apply default image tag "{name}": couldn\'t parse image name')
            await asyncio.Event().wait()
        back_off = FIRST_BACK_OFF
        while self._image and not self._image.exists:
            error = f'failed to pull and unpack image "{name}": failed to resolve reference "{name}": not found'
            self._wait("ErrImagePull", f"rpc error: code = NotFound desc = {error}")
            await asyncio.sleep(back_off)
            self._wait("ImagePullBackOff", f'Back-off pulling image "{name}": ErrImagePull: {error}')
            await asyncio.sleep(back_off)
            back_off = min(2 * back_off, LONGEST_BACK_OFF)

    async def _start(self, env: dict[str, str]) -> None:
        self._logs.mkdir(parents=True, exist_ok=True)
        home = str(Path(__file__).parent)
        with (self._logs / f"{self.spec['name']}.log").open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                *("-S", "-E", "-c", _START, str(os.getpid()), home),
                env=env,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self._set({"running": {"startedAt": timestamp()}}, ready=False)

    async def _watch(self) -> None:
        """Until the process ends, by itself or by its liveness probe."""
        process = self._process
        assert process is not None
        began = timestamp()
        prober = asyncio.create_task(self._probe())
        try:
            code = await process.wait()
        finally:
            prober.cancel()
        self._last = {
            "terminated": {
                "exitCode": code if code >= 0 else 128 - code,
                "reason": "Completed" if code == 0 else "Error",
                "startedAt": began,
                "finishedAt": timestamp(),
            }
        }
        self._set({"terminated": self._last["terminated"]}, ready=False)

    async def _probe(self) -> None:
        """Follow the readiness probe (or, without one, whether the port accepts), and the liveness probe."""
        checks = [asyncio.create_task(self._follow_readiness())]
        if self.spec.get("livenessProbe"):
            checks.append(asyncio.create_task(self._follow_liveness(self.spec["livenessProbe"])))
        try:
            await asyncio.gather(*checks)
        finally:
            for check in checks:
                check.cancel()

    async def _follow_readiness(self) -> None:
        probe = self.spec.get("readinessProbe")
        port = environment.ports(self._pod, self.spec)
        given = probe or ({"tcpSocket": {"port": port[0]}} if port else {})
        await asyncio.sleep(float(given.get("initialDelaySeconds", 0)))
        failures = 0
        while True:
            passed = await probes.check(given, self.spec, self._address)
            failures = 0 if passed else failures + 1
            if passed or failures >= int(given.get("failureThreshold", 3)):
                self._set(self._state, ready=passed)
            if passed and not probe:
                return
            await asyncio.sleep(float(given.get("periodSeconds", 10)) if self.ready else POLL)

    async def _follow_liveness(self, probe: Obj) -> None:
        await asyncio.sleep(float(probe.get("initialDelaySeconds", 0)))
        failures = 0
        while True:
            await asyncio.sleep(float(probe["periodSeconds"]))
            passed = await probes.check(probe, self.spec, self._address)
            failures = 0 if passed else failures + 1
            if failures >= int(probe["failureThreshold"]):
                self.kill()
                return
