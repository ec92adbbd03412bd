"""`python -m pipeline_step.sandbox`: a sandbox in the foreground, until Ctrl-C."""

from __future__ import annotations

import argparse
import signal
import sys
import threading
from pathlib import Path

from pipeline_step.errors import StepError
from pipeline_step.sandbox import Sandbox, example


def run(directory: Path | None, api_port: int, gateway_port: int) -> None:
    """Run a sandbox until SIGINT or SIGTERM, after printing how to reach it."""
    over = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: over.set())
    with Sandbox(directory, api_port, gateway_port) as sandbox:
        print(f"export KUBECONFIG={sandbox.kubeconfig}")
        print(f"# API      {sandbox.url}")
        print(f"# gateway  {sandbox.gateway_url}")
        print(f"# Envoy    {sandbox.envoy_admin_url}")
        print(f"# an example to begin with: kubectl apply -f {example.FOLDER}/cluster.yaml")
        print(f"#                           curl -H 'Host: {example.HOST}' {sandbox.gateway_url}/")
        print("# stops with Ctrl-C", flush=True)
        over.wait()


def main() -> int:
    """Parse the arguments and run; a problem is one sentence and exit code 2."""
    parser = argparse.ArgumentParser(prog="python -m pipeline_step.sandbox", description=__doc__)
    parser.add_argument("--directory", type=Path, help="where kubeconfig and logs go (default: temporary)")
    parser.add_argument("--api-port", type=int, default=0, help="port of the API (default: any free one)")
    parser.add_argument("--gateway-port", type=int, default=0, help="port of the gateway (default: any free one)")
    given = parser.parse_args()
    try:
        run(given.directory, given.api_port, given.gateway_port)
    except StepError as error:
        print(error, file=sys.stderr)
        return error.exit
    return 0


if __name__ == "__main__":
    sys.exit(main())
