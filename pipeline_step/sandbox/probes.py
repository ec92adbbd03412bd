"""HTTP and TCP probes of a container."""

from __future__ import annotations

import asyncio
from typing import Any

Obj = dict[str, Any]


async def check(probe: Obj, container: Obj, address: str) -> bool:
    """Whether a probe passes now. Probes of other kinds (exec, gRPC) always pass: nothing here can run them."""
    timeout = float(probe.get("timeoutSeconds", 1))
    try:
        async with asyncio.timeout(timeout):
            if "httpGet" in probe:
                return await _http(probe["httpGet"], container, address)
            if "tcpSocket" in probe:
                port = port_number(probe["tcpSocket"]["port"], container)
                _, writer = await asyncio.open_connection(address, port)
                writer.close()
            return True
    except (OSError, TimeoutError, ValueError):
        return False


async def _http(get: Obj, container: Obj, address: str) -> bool:
    reader, writer = await asyncio.open_connection(address, port_number(get["port"], container))
    try:
        fields = "".join(f"{h['name']}: {h['value']}\r\n" for h in get.get("httpHeaders") or [])
        path = get.get("path", "/")
        request = f"GET {path} HTTP/1.1\r\nHost: {address}\r\nUser-Agent: kube-probe/1.35\r\n{fields}"
        writer.write(f"{request}Connection: close\r\n\r\n".encode())
        line = await reader.readline()
        return 200 <= int(line.split()[1]) < 400
    except IndexError:
        return False
    finally:
        writer.close()


def port_number(port: int | str, container: Obj) -> int:
    """The number of a port that is given by number or by the container port's name."""
    if isinstance(port, int):
        return port
    named = {p.get("name"): p["containerPort"] for p in container.get("ports") or []}
    if port not in named:
        raise ValueError(f"no port named {port}")
    return int(named[port])
