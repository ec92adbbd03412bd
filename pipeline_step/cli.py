"""The command line: options, and one function per command. No logic; everything heavy is imported where it is used."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from pipeline_step.invocation import conduct, configured, connected, leave_with, opened, routed

Command = Callable[..., None]


def _options(*options: Callable[[Command], Command]) -> Callable[[Command], Command]:
    def decorate(command: Command) -> Command:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


where = _options(
    click.option("--config", "file", type=click.Path(path_type=Path), help="Default: .pipeline-step.yaml"),
    click.option("--context", "contexts", multiple=True, help="A context of the kubeconfig; again for more clusters."),
    click.option("-o", "output", type=click.Choice(["text", "json"]), default="text", help="Default: text."),
    click.option(
        "--log-format",
        type=click.Choice(["text", "json"]),
        help="Of the lines on standard error. Default: $PIPELINE_STEP_LOG_FORMAT, or text.",
    ),
)
which = _options(
    click.option("--pr", "number", type=click.IntRange(min=1), help="The pull request. Default: $PULL_NUMBER."),
    click.option("--repo", "repository", default="", help="OWNER/NAME. Default: $REPO_OWNER/$REPO_NAME."),
    click.option("--sha", default="", help="The reviewed commit, short or long. Default: $PULL_PULL_SHA."),
    click.option("--by", default="", help="Who asks; for the record."),
    click.option("--run", default="", help="An id of this run. Default: $BUILD_ID, or random."),
    click.option("--results", type=click.Path(path_type=Path), help="Write Tekton results to this folder."),
)
ACCOUNTS = ("preview", "shift", "guard")  # as in permissions.py
FAULTS = ("none", "constant", "at-start", "late", "latency", "bursts", "outage", "shared")  # as in simulate/traffic.py
PERCENT = click.FloatRange(0, 100)
account = click.option(
    "--account",
    "accounts",
    multiple=True,
    type=click.Choice(ACCOUNTS),
    default=ACCOUNTS,
    help="Only what the account of these commands does. Default: all three.",
)
override = click.option(
    "--override", "overrides", multiple=True, help="Pass the freeze of this name; bad-sha: promote a reverted commit."
)
report = click.option(
    "--report",
    default="",
    help="Keep a progress page in this file, or in configmap/NAME. Default: the file's `report`.",
)
strategy = _options(
    override,
    click.option("--bake", default="", help="How long a step must hold, such as 90s; over the file's."),
    click.option("--deadline", default="", help="How long the whole may take, such as 1h; over the file's."),
)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="pipeline-step")
def cli() -> None:
    """Progressive delivery for pull requests: a share of production's requests reaches a preview, gates watch it."""


@cli.command()
@where
@which
@click.option("--image", default="", help="The image under review. Default: $PIPELINE_STEP_IMAGE.")
@click.option("--delete", is_flag=True, help="Drain the preview, then delete it.")
def preview(delete: bool, **options: Any) -> None:
    """Deploy or update the pull request's preview, wait until it is ready, and print its URL."""
    from pipeline_step import deploy

    conduct(options, deploy.delete if delete else deploy.deploy)


@cli.command()
@where
@which
@report
@strategy
@click.option("--steps", default="", help="Percentages such as 1,5,25, or auto, or blue-green; over the file's.")
def rollout(**options: Any) -> None:
    """The whole strategy: shift, measure, then promote or revert. Resumes what it finds."""
    from pipeline_step import rollout as flow

    conduct(options, flow.rollout, watched=True, reviewed=True)


@cli.command()
@click.argument("weight", type=click.IntRange(0, 100))
@where
@which
@report
@strategy
def shift(weight: int, **options: Any) -> None:
    """Give the preview WEIGHT percent of the requests, watched by the gates for one bake, and hold it there."""
    from pipeline_step import revert as back
    from pipeline_step import rollout as flow

    if not weight:
        conduct(options, lambda run: back.revert(run, "shifted to 0 %"))
    conduct(options, lambda run: flow.shift(run, weight), watched=True, reviewed=True)


@cli.command()
@where
@which
@report
@override
def promote(**options: Any) -> None:
    """Make what the preview runs production, now; then all traffic goes home."""
    from pipeline_step import rollout as flow

    conduct(options, flow.promote, reviewed=True)


@cli.command()
@where
@which
@report
@click.option("--reason", default="asked for", help="Why; for the record.")
@click.option("--to", default="", help="After a promotion: go back to this digest, or to `previous`.")
def revert(reason: str, to: str, **options: Any) -> None:
    """Give production all requests, now; with --to, also what it ran before a promotion."""
    if to:
        from pipeline_step.reversal import revert_to

        conduct(options, lambda run: revert_to(run, to, reason))

    from pipeline_step import revert as back

    conduct(options, lambda run: back.revert(run, reason))


@cli.command()
@where
@which
@click.option("--reason", default="asked for", help="Why; for the record.")
def pause(reason: str, **options: Any) -> None:
    """Hold a running rollout at its weight; the paused time does not count."""
    from pipeline_step import steer

    conduct(options, lambda run: steer.pause(run, reason))


@cli.command()
@where
@which
def resume(**options: Any) -> None:
    """Let a paused rollout go on."""
    from pipeline_step import steer

    conduct(options, steer.resume)


@cli.command()
@where
@which
def skip(**options: Any) -> None:
    """End the bake of the step that a running rollout is at; its gates still have to pass."""
    from pipeline_step import steer

    conduct(options, steer.skip)


@cli.command()
@click.argument("reason")
@where
@which
def freeze(reason: str, **options: Any) -> None:
    """Hold back every increase and promotion on the target, for REASON, until `unfreeze`."""
    from pipeline_step import steer

    conduct(options, lambda run: steer.freeze(run, reason))


@cli.command()
@where
@which
def unfreeze(**options: Any) -> None:
    """Lift the freeze that a person set."""
    from pipeline_step import steer

    conduct(options, steer.unfreeze)


@cli.command()
@where
@click.option("--report", default="", help="With --serve: the page that runs keep. Default: the file's `report`.")
@click.option("--watch", is_flag=True, help="Show it again every second, until Ctrl-C.")
@click.option(
    "--serve",
    "port",
    type=click.IntRange(0, 65535),
    is_flag=False,
    flag_value=0,
    metavar="[PORT]",
    help="Serve it as a page on this machine until Ctrl-C, at any free port or at this one.",
)
def status(watch: bool, port: int | None, output: str, **options: Any) -> None:
    """Who has which share of the requests, and which rollouts are recorded."""
    from pipeline_step.report import status_json, status_table
    from pipeline_step.route import Seen, each, observe

    config = configured(options)
    clusters = connected(config)
    config = routed(config, clusters)

    def look() -> dict[str, Seen]:
        return each(clusters, lambda cluster: observe(config.target, cluster))

    if port is not None:
        from pipeline_step.page.places import kept
        from pipeline_step.page.server import serving
        from pipeline_step.page.watching import Watch

        watching = Watch(config, look, kept(config))
        watching.look(time.time())
        with serving(port, watching.page) as address:
            click.echo(f"{address} until Ctrl-C")
            while True:
                time.sleep(2)
                watching.look(time.time())
    if watch and sys.stdout.isatty() and output == "text":
        from pipeline_step.live import destinations, watched

        watched(lambda: destinations(config.target, look()), time.sleep)
    show = status_json if output == "json" else status_table
    while True:
        click.echo(show(config.target, look()))
        if not watch:
            return
        time.sleep(1)


@cli.command()
@where
@which
@click.option("--weight", type=click.IntRange(0, 100), help="Default: the first step of the strategy.")
def plan(weight: int | None, **options: Any) -> None:
    """Show what a shift would change, as a diff, and how long a proof would take; change nothing."""
    from pipeline_step.planning import differences
    from pipeline_step.preflight import counted, expected, opening

    with opened(configured(options)) as run:
        wanted = opening(run) if weight is None else weight
        texts = differences(run, wanted)
        proof, queries = expected(run), counted(run)
    if options["output"] == "json":
        found = {"weight": wanted, "diff": texts, "proof": proof and proof._asdict(), "queries": queries}
        click.echo(json.dumps(found))
        return
    for context, text in texts.items():
        click.echo((f"# {context}\n" if context else "") + (text or "nothing would change"))
    for side, named in queries.items():
        click.echo("\n".join(f"# {side} is counted by {query}" for query in named.values()))
    if proof:
        click.echo(f"# {'' if proof.in_time else 'WARNING: '}{proof.text}")


@cli.command()
@where
@strategy
@click.option("--steps", default="", help="Percentages such as 1,5,25, or auto, or blue-green; over the file's.")
@click.option("--rps", multiple=True, type=click.FloatRange(1, 10_000), help="Requests a second; again for more.")
@click.option("--fault", "faults", multiple=True, type=click.Choice(FAULTS), help="Again for more. Default: all.")
@click.option("--failing", type=PERCENT, default=0.1, help="Percent of stable's requests that fail. Default: 0.1.")
@click.option("--rate", type=PERCENT, default=2.0, help="Percent of the preview's where it fails. Default: 2.")
@click.option("--after", default="2m", help="When a late fault begins and an early one ends. Default: 2m.")
@click.option("--slower", type=click.FloatRange(1, 100), default=2.0, help="How many times as slow. Default: 2.")
@click.option("--pods", type=click.IntRange(1, 100), default=2, help="Stable's pods. Default: 2.")
@click.option("--lag", default="0s", help="How old the counters are, such as Prometheus' 15s. Default: 0s.")
@click.option("--runs", type=click.IntRange(1, 1_000_000), default=200, help="Rollouts of each. Default: 200.")
@click.option("--seed", type=int, default=1, help="The same seed gives the same rollouts. Default: 1.")
@click.option("--svg", type=click.Path(path_type=Path), help="Draw them into this file.")
@click.option("--backtest", is_flag=True, help="Judge stable's own pods as if they were previews.")
@click.option("--prometheus", default="", help="URL of the server that has recorded stable's requests.")
@click.option("--since", default="6h", help="How much of that recording. Default: 6h.")
def simulate(rps: tuple[float, ...], backtest: bool, output: str, **options: Any) -> None:
    """What the strategy would have cost: on synthetic or recorded requests, with the real judge and decisions."""
    from pipeline_step.simulate import command

    asked = {field: options[field] for field in command.Asked.__dataclass_fields__ if field in options}
    work = command.backtested if backtest else command.simulated
    click.echo(work(configured(options), command.Asked(**asked, rps=rps or (100.0,), json=output == "json")))


@cli.command()
@where
@which
@account
def doctor(accounts: tuple[str, ...], **options: Any) -> None:
    """Say what is missing before the first run: API, permissions, route, gateways, both sides."""
    from pipeline_step import doctor as checks

    with opened(configured(options)) as run:
        findings = checks.examine(run, accounts)
    if options["output"] == "json":
        click.echo(json.dumps([finding._asdict() for finding in findings]))
    else:
        for finding in findings:
            click.echo(f"{'ok  ' if finding.ok else 'FAIL'}  {finding.text}")
    if not all(finding.ok for finding in findings):
        sys.exit(5)


@cli.command()
@where
@which
@account
@click.option(
    "--namespace", "home", default="jx", help="Where the pipelines run, and so the accounts live. Default: jx."
)
def roles(accounts: tuple[str, ...], home: str, **options: Any) -> None:
    """Print the ServiceAccounts and Roles that this configuration needs, for an administrator to apply."""
    from pipeline_step.errors import StepError
    from pipeline_step.roles import document
    from pipeline_step.route import observe

    with opened(configured(options)) as run:
        objects: Any = {}
        try:
            objects = observe(run.target, next(iter(run.clusters.values())), [run.preview]).objects
        except StepError as error:
            click.echo(f"the route can't be read, so what it needs besides is left out: {error}", err=True)
        click.echo(document(run.config, objects, home, accounts), nl=False)


@cli.command()
@click.argument("comment_id", default="")
@click.option("--latest", is_flag=True, help="The newest comment that commands something, where no id is passed on.")
@where
@which
def comment(comment_id: str, latest: bool, **options: Any) -> None:
    """Do what the comment COMMENT_ID on the pull request asks, if its author may.

    The comment is read from the provider, and the configuration from the base branch unless --config names a file.
    """
    from pipeline_step.conversation import answer

    leave_with(options, lambda: answer(options, comment_id, latest=latest))


@cli.command()
@where
def guard(**options: Any) -> None:
    """Heal what was abandoned: rollouts without a living run, weights without a record, closed pull requests."""
    from pipeline_step import guard as healing

    config = configured(options)
    clusters = connected(config)
    deeds = healing.heal(routed(config, clusters), clusters, time)
    if options["output"] == "json":
        click.echo(json.dumps([deed._asdict() for deed in deeds]))
    else:
        for deed in deeds:
            click.echo(f"{'done' if deed.done else 'FAIL'}  {deed.text}")
    if not all(deed.done for deed in deeds):
        sys.exit(6)


@cli.command()
def schema() -> None:
    """Print the JSON schema of .pipeline-step.yaml, for editors."""
    from pipeline_step.config_file import schema as json_schema

    click.echo(json.dumps(json_schema(), indent=2))


@cli.group(invoke_without_command=True)
@click.option("--directory", type=click.Path(path_type=Path), help="Where kubeconfig and logs go. Default: temporary.")
@click.option("--api-port", type=click.IntRange(0, 65535), default=0, help="Port of the API. Default: any free one.")
@click.option("--gateway-port", type=click.IntRange(0, 65535), default=0, help="Port of the gateway, likewise.")
@click.pass_context
def sandbox(context: click.Context, directory: Path | None, api_port: int, gateway_port: int) -> None:
    """A cluster in this process with a real Envoy, for trying all of it; until Ctrl-C."""
    if context.invoked_subcommand:
        return
    with _sandbox_extra():
        from pipeline_step.sandbox.__main__ import run
    run(directory, api_port, gateway_port)


@sandbox.command()
@click.option("--fast", is_flag=True, help="In 20 seconds instead of a minute, with more requests per second.")
def demo(fast: bool) -> None:
    """Watch the whole story: a pull request is promoted, a bad one is reverted, and every request is counted."""
    with _sandbox_extra():
        from pipeline_step.sandbox import demo as story
    sys.exit(story.demo(story.FAST if fast else story.CALM))


@contextmanager
def _sandbox_extra() -> Iterator[None]:
    """Around imports of what only the extra `sandbox` installs, and only Linux can run."""
    from pipeline_step.errors import ConfigError

    if sys.platform != "linux":
        raise ConfigError(f"the sandbox runs on Linux only, and this is {sys.platform}; a container will do")
    try:
        yield
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("pipeline_step"):
            raise
        raise ConfigError(
            f"the sandbox needs {error.name}, which is not installed: pip install 'pipeline-step[sandbox]'"
        ) from error
