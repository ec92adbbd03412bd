"""From the command line's options to a result: everything that a command needs, opened, run and told."""

from __future__ import annotations

import dataclasses
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from pipeline_step.cluster import Cluster
    from pipeline_step.config import Config
    from pipeline_step.run import Result, Run


def configured(options: dict[str, Any], *, reviewed: bool = False) -> Config:
    """The configuration, with what the command line says over it; lines are written as it says from here on.

    What is `reviewed` comes from the base branch where a pull request is given and no file is named.
    """
    from pipeline_step import base_branch
    from pipeline_step.config import Flags, load, log_format
    from pipeline_step.lines import begin

    begin(log_format(options["log_format"]))
    flags = Flags(**{name: value for name, value in options.items() if name in Flags.__dataclass_fields__})
    return load(flags, text=base_branch.reviewed(flags) if reviewed else None)


def connected(config: Config) -> dict[str, Cluster]:
    """The clusters of the configuration, by context."""
    from pipeline_step.cluster import Cluster

    return {context: Cluster(context) for context in config.contexts}


def routed(config: Config, clusters: Mapping[str, Cluster]) -> Config:
    """The configuration with the route that the file names, else with the one that was found, which is told."""
    if config.file.traffic is not None:
        return config
    from pipeline_step.detect import settled

    config = settled(config, clusters)
    print(config.found, file=sys.stderr, flush=True)
    return config


@contextmanager
def opened(config: Config, command: str = "") -> Iterator[Run]:
    """Everything that a command needs, opened; messages are sent before it closes, also that it ended in an error.

    A `command` without a name is only a look, of which nobody is told.
    """
    from pipeline_step.errors import StepError
    from pipeline_step.http import Http
    from pipeline_step.reporter import Reporter, conversation
    from pipeline_step.run import Run

    if not config.pull.asked:
        config = dataclasses.replace(config, pull=dataclasses.replace(config.pull, asked=command))
    clusters = connected(config)
    config = routed(config, clusters)
    talk = conversation(config)
    reporter = Reporter(config, time, command, talk, clusters)
    run = Run(
        config=config,
        target=config.target,
        preview=config.preview,
        policy=config.policy,
        clusters=clusters,
        http=Http(secrets=[config.provider.token], timeout=(2, 5), patience=5),
        clock=time,
        tell=reporter.tell,
        show=reporter.show,
        conversation=talk,
    )
    failed: StepError | None = None
    try:
        yield run
    except StepError as error:
        failed = error
        raise
    finally:
        reporter.close(failed if command else None)


def conduct(
    options: dict[str, Any], work: Callable[[Run], Result], *, watched: bool = False, reviewed: bool = False
) -> None:
    """Run a command and leave with its result's code; one that is `watched` is drawn live in a terminal.

    A `reviewed` one brings a preview forward, and a pull request must not say itself how.
    """

    def opened_and_run() -> Result:
        with opened(configured(options, reviewed=reviewed), click.get_current_context().info_name or "") as run:
            if not (watched and sys.stderr.isatty()):
                return work(run)
            from pipeline_step.live import followed

            return followed(run, work)

    leave_with(options, opened_and_run)


def leave_with(options: dict[str, Any], work: Callable[[], Result]) -> None:
    """Tell how the work ended and leave with its code; a refusal is a result too, for pipelines to read."""
    from pipeline_step.config import log_format
    from pipeline_step.errors import StepError
    from pipeline_step.lines import begin
    from pipeline_step.run import Result

    begin(log_format(options["log_format"]))
    try:
        result = work()
    except StepError as error:
        outcome = error.exit.name.lower().replace("_", " ")
        _write(Result(outcome=outcome, reason=str(error), exit=error.exit), options)
        raise
    _write(result, options)
    if options["output"] == "text":
        click.echo(f"{result.outcome}: {result.reason}")
    sys.exit(result.exit)


def _write(result: Result, options: dict[str, Any]) -> None:
    """What machines read: JSON on standard output, and Tekton's results."""
    from pipeline_step import report
    from pipeline_step.errors import ConfigError

    if options["output"] == "json":
        click.echo(report.result_json(result))
    if folder := options["results"]:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            for name, value in report.tekton_results(result).items():
                (folder / name).write_text(value, encoding="utf-8")
        except OSError as error:
            raise ConfigError(f"--results {folder}: can't be written: {error}") from error
