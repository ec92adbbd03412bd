"""The whole story in about a minute: a good preview is promoted, a bad one is reverted, every answer is counted.

Nothing is staged: a real Envoy spreads real requests, and the commands are those of the program, called in this
process so that the picture can show what they see. What is said at the end is counted from the answers.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import yaml
from rich.console import Console

from pipeline_step import deploy, report, rollout
from pipeline_step.cluster import Cluster
from pipeline_step.config import Config, Flags, load
from pipeline_step.errors import Exit, NotReady
from pipeline_step.health import rolled_out
from pipeline_step.http import Http
from pipeline_step.live import Progress, Screen
from pipeline_step.model import Hold, Object
from pipeline_step.picture import Side, View, short
from pipeline_step.route import observe
from pipeline_step.run import Event, Look, Result, Run
from pipeline_step.sandbox import Sandbox
from pipeline_step.sandbox.load import Load
from pipeline_step.sandbox.outcome import BETWEEN, Chapter, Story, checks, table
from pipeline_step.sandbox.tally import Tally

EXAMPLE = Path(__file__).with_name("croc_hunter")
HOST = "croc-hunter.istio.us.g.csanchez.org"
REPOSITORY = "carlossg/croc-hunter-jenkinsx-serverless"
READY_WITHIN = 30.0
FOLLOWED = 0.05  # seconds until Envoy's worker thread does what its main thread has accepted
GOOD, BAD = 35, 36
FAIL_RATE = 0.3
COMING = {0: "a pull request gets a preview", GOOD: "another pull request, a bad one, gets a preview"}
"""What follows a chapter."""

STYLES = {"promoted": "bold green", "reverted": "bold red"}
COMMITS = {GOOD: "2f6e1c9a7b3d4850a1c2e3f4051627384950a6b7", BAD: "c41d7e0f9a8b6c5d4e3f2a1b0c9d8e7f6a5b4c3d"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Pace:
    """How long the story takes: requests per second, seconds that a step holds, seconds watched between chapters."""

    rate: float
    bake: str
    poll: str
    watched: float


CALM = Pace(rate=200, bake="8s", poll="0.5s", watched=3)
FAST = Pace(rate=800, bake="2s", poll="0.25s", watched=1)


def demo(pace: Pace, console: Console | None = None) -> Exit:
    """Tell the story; `Exit.DONE` where it went as told. Nothing is left behind, however it ends.

    For the main thread of a process that leaves afterwards: it ends with SIGINT and SIGTERM ignored, so that a second
    Ctrl-C does not disturb the cleaning up, which takes a second.
    """
    with Sandbox() as sandbox, contextlib.chdir(EXAMPLE), _kubeconfig(sandbox.kubeconfig):
        try:
            telling = Telling(sandbox, pace, console)
            with telling.screen:
                interrupted = telling.all_of_it()
            return telling.sum_up() if interrupted is None else interrupted.exit
        finally:
            for number in (signal.SIGINT, signal.SIGTERM):
                signal.signal(number, signal.SIG_IGN)


class Telling:
    """One run of the story: what it works on, and what the picture shows of it."""

    def __init__(self, sandbox: Sandbox, pace: Pace, console: Console | None) -> None:
        self._sandbox = sandbox
        self._pace = pace
        self._began = time.monotonic()
        self._cluster = Cluster()
        self._load = Load(sandbox.gateway_url, HOST, pace.rate)
        self._target = self._config(GOOD).target
        self._labels = {"jx-production": "production", "jx-staging": "staging"}
        self._weights: dict[str, int] = {}
        self._progress = Progress(self._config(GOOD).policy)
        self._phase = ""
        self._doing = ""
        self._coming = COMING[0]
        self._chapters: list[Chapter] = []
        self.screen = Screen(self._view, console)

    def all_of_it(self) -> Result | None:
        """Every chapter; how a rollout ended if a signal ended it, else None."""
        self._bring_up_production()
        with self._load:
            self._enter("before", {"jx-production": 99, "jx-staging": 1})
            self.say(f"{self._pace.rate:.0f} requests per second go through a real Envoy; staging gets 1 % of them")
            time.sleep(self._pace.watched)
            self._before = self._route()
            for number in (GOOD, BAD):
                result = self._pull_request(number)
                if result.exit in (Exit.INTERRUPTED, Exit.TERMINATED):
                    return result
                time.sleep(self._pace.watched)
        return None

    def sum_up(self) -> Exit:
        """Say what was counted and whether all went as told."""
        tally = Tally(self._load.counts())
        story = Story(
            chapters=self._chapters,
            labels=self._labels,
            before=self._before,
            after=self._route(),
            production=self._production_image(),
        )
        console = self.screen.console
        console.print()
        console.print(table(story, tally))
        console.print()
        found = checks(story, tally)
        for check in found:
            self.screen.say("yes" if check.ok else "NO", short(check.text))
        console.print()
        if not all(check.ok for check in found):
            console.print("The story did not go as told; the lines that begin with NO say where.")
            return Exit.UNEXPECTED
        console.print("To try it yourself: `pipeline-step sandbox` keeps such a cluster running.")
        return Exit.DONE

    def say(self, text: str, style: str = "") -> None:
        """One line that stays, with the time since the beginning."""
        self.screen.say(self._clock(), short(text), style)

    def heading(self, text: str) -> None:
        """The first line of a chapter."""
        self.screen.console.print()
        self.say(text, "bold")

    def _bring_up_production(self) -> None:
        self._doing = "kubectl apply -f cluster.yaml"
        self.heading("croc-hunter goes into jx-production and jx-staging, with a VirtualService over both")
        refs = []
        for obj in yaml.safe_load_all((EXAMPLE / "cluster.yaml").read_text()):
            ref = self._cluster.ref(obj)
            self._cluster.apply(ref, obj)
            if obj["kind"] == "Deployment":
                refs.append(ref)
        until = time.monotonic() + READY_WITHIN
        while pending := [ref for ref in refs if not rolled_out(self._cluster.get(ref))[0]]:
            if time.monotonic() > until:
                raise NotReady(f"{pending[0]} did not get ready in the sandbox within {READY_WITHIN:.0f} s")
            time.sleep(0.1)
        self._sandbox.settle()
        self._doing = ""

    def _pull_request(self, number: int) -> Result:
        """Deploy a preview and roll it out; how the rollout ended."""
        image = f"croc-hunter:pr-{number}"
        if number == BAD:
            self._sandbox.images.build(image, {"FAIL_RATE": str(FAIL_RATE)})
        config = self._config(number)
        self._labels[config.preview.namespace] = f"PR {number}"
        self._progress = Progress(config.policy)
        told = "" if number == GOOD else f". It is bad: {FAIL_RATE * 100:.0f} % of its answers are errors"
        self.heading(f"Pull request {number} gets a preview in a namespace of its own{told}")
        self._coming = f"a share of production's requests for PR {number}"
        self._doing = f"pipeline-step preview --pr {number} --image {image}"
        deploy.deploy(self._run(config))
        self.say(f"its preview is ready in {config.preview.namespace}")
        self._chapters.append(Chapter(number=number, namespace=config.preview.namespace))
        steps = ",".join(str(step.weight) for step in config.policy.steps)
        self._doing = f"pipeline-step rollout --pr {number} --steps {steps}"
        self._load.phase = BETWEEN
        result = rollout.rollout(self._run(config))
        self._doing, self._coming = "", COMING.get(number, "")
        self._chapters[-1].result = result
        return result

    def _config(self, number: int) -> Config:
        flags = Flags(
            number=number,
            repository=REPOSITORY,
            sha=COMMITS[number],
            image=f"croc-hunter:pr-{number}",
            by="a reviewer",
            steps="1,5,25",
            bake=self._pace.bake,
        )
        config = load(flags, {})
        strategy = msgspec.structs.replace(config.file.strategy, poll=self._pace.poll)
        return dataclasses.replace(config, file=msgspec.structs.replace(config.file, strategy=strategy))

    def _run(self, config: Config) -> Run:
        return Run(
            config=config,
            target=config.target,
            preview=config.preview,
            policy=config.policy,
            clusters={"": self._cluster},
            http=Http(),
            clock=time,
            tell=self._tell,
            show=self._show,
        )

    def _tell(self, event: Event) -> None:
        """A transition: requests sent once Envoy follows it belong to another phase."""
        self._progress.tell(event)
        chapter = self._chapters[-1]
        if self._phase in chapter.weights:
            self._say_counts()
        why = "" if event.kind == "shifted" and not chapter.weights else f": {event.reason}"
        self.say(f"PR {chapter.number} {report.headline(event)}{why}", STYLES.get(event.kind, ""))
        self._sandbox.settle()
        time.sleep(FOLLOWED)
        weights = observe(self._target, self._cluster).weights
        self._enter(chapter.phase(event), {backend.partition(".")[2]: w for backend, w in weights.items()})

    def _show(self, look: Look) -> None:
        """A look: where something follows at once, requests belong to neither the phase that ends nor the next."""
        self._progress.show(look)
        if not isinstance(look.decision, Hold):
            self._load.phase = BETWEEN

    def _enter(self, phase: str, weights: dict[str, int]) -> None:
        self._weights = weights
        self._phase = self._load.phase = phase

    def _say_counts(self) -> None:
        """What was answered since the last transition."""
        tally = Tally(self._load.counts())
        parts = []
        for side in self._sides(tally):
            if side.requests:
                failed = f", {side.failed:,.0f} failed" if side.failed else ""
                parts.append(f"{side.name} {side.requests:,.0f} ({side.share:.1f} %{failed})")
        self.say(f"{self._phase}: {', '.join(parts)}", "dim")

    def _sides(self, tally: Tally) -> list[Side]:
        phase = self._phase
        found = []
        for namespace, label in tuple(self._labels.items()):
            part = tally.part(phase, namespace)
            weight = self._weights.get(namespace, 0)
            if weight or part.requests or namespace in ("jx-production", "jx-staging"):
                found.append(
                    Side(
                        name=label,
                        weight=weight,
                        share=tally.share(phase, namespace),
                        requests=part.requests,
                        failed=part.failed,
                    )
                )
        return found

    def _view(self) -> View:
        return View(
            title="croc-hunter: who answers production's requests",
            clock=self._clock(),
            doing=self._doing,
            sides=self._sides(Tally(self._load.counts())) if self._weights else (),
            gates=self._progress.gates,
            coming=self._progress.coming or self._coming,
        )

    def _route(self) -> Object:
        """The user's part of the VirtualService."""
        seen = observe(self._target, self._cluster)
        (virtual_service,) = seen.objects.values()
        kept = ("name", "namespace", "labels", "annotations")
        metadata = {key: value for key, value in virtual_service["metadata"].items() if key in kept}
        return {**virtual_service, "metadata": metadata}

    def _production_image(self) -> str:
        workload = self._cluster.get(self._config(GOOD).workload.ref)
        image: str = workload["spec"]["template"]["spec"]["containers"][0]["image"]
        return image

    def _clock(self) -> str:
        seconds = int(time.monotonic() - self._began)
        return f"{seconds // 60}:{seconds % 60:02d}"


@contextlib.contextmanager
def _kubeconfig(path: Path) -> Iterator[None]:
    """Let the client library find the sandbox: it looks nowhere but in the environment."""
    before: dict[str, Any] = {"KUBECONFIG": os.environ.get("KUBECONFIG")}
    os.environ["KUBECONFIG"] = str(path)
    try:
        yield
    finally:
        os.environ.pop("KUBECONFIG")
        os.environ.update({key: value for key, value in before.items() if value is not None})
