"""The test-bed's commands: `python -m tests.testbed COMMAND`."""

from __future__ import annotations

import json
import os
import shlex
import signal
import sys
import time
from dataclasses import asdict
from pathlib import Path

import click

from . import cluster, environment, images, network, parts, processes
from .errors import TestbedError


def _say(text: str) -> None:
    click.echo(f"testbed: {text}", err=True)


def _variables(reached: environment.Environment) -> dict[str, str]:
    values = {f"TESTBED_{name.upper()}": str(value) for name, value in asdict(reached).items()}
    return {"KUBECONFIG": reached.kubeconfig, **values}


@click.group()
def cli() -> None:
    """A real one-node Kubernetes with Istio and Prometheus, in a network namespace of its own."""


@cli.command()
def up() -> None:
    """Build what is missing, start everything and wait until it answers."""
    cluster.up(_say)


@cli.command()
def down() -> None:
    """Stop it and remove everything it made; harmless when it is not up."""
    cluster.down(_say)


@cli.command()
@click.option("--all", "everything", is_flag=True, help="Also the parts that only some tests need.")
def build(everything: bool) -> None:
    """Install and build what is missing, and start nothing."""
    begin = time.monotonic()
    cluster.prepare(_say, parts.PARTS + parts.OPTIONAL if everything else parts.PARTS)
    _say(f"all parts are in {parts.cache()} ({time.monotonic() - begin:.0f} s)")


@cli.command()
def status() -> None:
    """Show each daemon and its memory; exit 1 when the test-bed is not up or a daemon has ended."""
    daemons = processes.daemons()
    for daemon in daemons:
        state = "running" if daemon.is_running else "ENDED"
        click.echo(f"{daemon.name:24} {state:8} pid {daemon.pid:<8} {daemon.memory_bytes / 2**20:5.0f} MiB")
    if not environment.is_up():
        raise TestbedError("the test-bed is not up")
    click.echo(f"{'together':42} {sum(daemon.memory_bytes for daemon in daemons) / 2**20:5.0f} MiB")
    if not all(daemon.is_running for daemon in daemons):
        raise TestbedError("a daemon has ended; `up` starts the test-bed anew")


@cli.command()
@click.option("--export", is_flag=True, help="Shell assignments (TESTBED_..., KUBECONFIG) instead of JSON.")
def env(export: bool) -> None:
    """Print what its users need: kubeconfig, addresses, files."""
    reached = environment.load()
    if not export:
        click.echo(json.dumps(asdict(reached), indent=2))
        return
    for name, value in _variables(reached).items():
        click.echo(f"export {name}={shlex.quote(value)}")


@cli.command(context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
def run(command: tuple[str, ...]) -> None:
    """Run COMMAND inside the network namespace, with what `env --export` prints and a kubectl to be found."""
    reached = environment.load()
    network.enter()
    os.environ.update(_variables(reached))
    os.environ["PATH"] = os.pathsep.join([os.environ.get("PATH", os.defpath), str(Path(reached.kubectl).parent)])
    try:
        os.execvp(command[0], command)
    except OSError as error:
        raise TestbedError(f"{command[0]}: {error.strerror}") from error


@cli.command("load-image")
@click.argument("archive", type=click.Path(path_type=Path))
@click.argument("name")
def load_image(archive: Path, name: str) -> None:
    """Load the OCI archive ARCHIVE as the image NAME (such as localhost/app:1) and print its digest."""
    environment.load()
    click.echo(images.load(archive, name))


def main() -> None:
    """Run a command; a TestbedError is one message and its exit code."""
    # Ending `up` half way takes down what it started.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        cli()
    except TestbedError as error:
        _say(str(error))
        sys.exit(error.code)


if __name__ == "__main__":
    main()
