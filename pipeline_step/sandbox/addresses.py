"""Loopback addresses: every sandbox on a machine has a block of 127.0.0.0/8 of its own."""

from __future__ import annotations

import random
import socket
import threading

from pipeline_step.errors import StepError


class Block:
    """127.N.0.0/16 for one N that no other sandbox has, held until `close` or the end of the process.

    N is claimed by binding an abstract Unix socket of that name, which the kernel frees in any case.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._pods = 0
        self._services = 0
        self._claim = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        for number in random.sample(range(1, 255), 254):
            try:
                self._claim.bind(f"\0pipeline-step-sandbox-{number}")
            except OSError:
                continue
            self._prefix = f"127.{number}"
            return
        raise StepError("No block of loopback addresses is free: 254 sandboxes run on this machine already")

    @property
    def gateway(self) -> str:
        """The address of the gateway's tcp and tls listeners."""
        return f"{self._prefix}.0.2"

    def pod(self) -> str:
        """An address for a new pod; they come round again after 30,000."""
        with self._lock:
            self._pods += 1
            return self._numbered(1, self._pods)

    def service(self) -> str:
        """A clusterIP for a new Service."""
        with self._lock:
            self._services += 1
            return self._numbered(128, self._services)

    def close(self) -> None:
        """Give the block back."""
        self._claim.close()

    def _numbered(self, first: int, number: int) -> str:
        high, low = divmod(number, 250)
        return f"{self._prefix}.{first + high % 125}.{1 + low}"
