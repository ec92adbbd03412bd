"""The whole story in about a minute: a good preview is promoted, a bad one is reverted, every answer is counted.

Nothing is staged: a real Envoy spreads real requests, and the commands are those of the program, called in this
process so that the picture can show what they see. What is said at the end is counted from the answers.
"""

from __future__ import annotations

import dataclasses
import signal
import time
from dataclasses import dataclass

from rich.console import Console

from pipeline_step import deploy, report, rollout
from pipeline_step.cluster import Cluster
from pipeline_step.config import Config
from pipeline_step.errors import Exit
from pipeline_step.http import Http
from pipeline_step.live import Progress, Screen
from pipeline_step.model import Hold
from pipeline_step.picture import Side, View, short
from pipeline_step.route import observe
from pipeline_step.run import Event, Look, Result, Run
from pipeline_step.sandbox import Sandbox, example
from pipeline_step.sandbox.load import Load
from pipeline_step.sandbox.outcome import BETWEEN, Chapter, Story, checks, table
from pipeline_step.sandbox.tally import Tally

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
    with Sandbox() as sandbox, example.at_home(sandbox.kubeconfig):
        try:
            telling = Telling(sandbox, pace, console)
            with telling.screen:
                story = telling.all_of_it()
            return story if isinstance(story, Exit) else telling.sum_up(story)
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
        self._load = Load(sandbox.gateway_url, example.HOST, pace.rate)
        self._configs = {
            number: example.configured(number, COMMITS[number], _image(number), bake=pace.bake, poll=pace.poll)
            for number in (GOOD, BAD)
        }
        self._labels = {example.PRODUCTION: "production", example.STAGING: "staging"}
        self._weights: dict[str, int] = {}
        self._progress = Progress()
        self._phase = ""
        self._doing = ""
        self._coming = COMING[0]
        self._chapters: list[Chapter] = []
        self.screen = Screen(self._view, console)

    def all_of_it(self) -> Story | Exit:
        """Every chapter; the code to leave with where a signal ended one."""
        self._doing = "kubectl apply -f cluster.yaml"
        self.heading("croc-hunter goes into jx-production and jx-staging, with a VirtualService over both")
        example.bring_up(self._cluster)
        self._sandbox.settle()
        self._doing = ""
        before = example.users_part(self._configs[GOOD], self._cluster)
        self._enter("before", self._shares())
        with self._load:
            self.say(f"{self._pace.rate:.0f} requests per second go through a real Envoy; staging gets 1 % of them")
            time.sleep(self._pace.watched)
            for number in (GOOD, BAD):
                result = self._pull_request(number)
                if result.exit in (Exit.INTERRUPTED, Exit.TERMINATED):
                    return result.exit
                time.sleep(self._pace.watched)
        return Story(
            chapters=self._chapters,
            labels=self._labels,
            before=before,
            after=example.users_part(self._configs[GOOD], self._cluster),
            production=example.production_image(self._configs[GOOD], self._cluster),
        )

    def sum_up(self, story: Story) -> Exit:
        """Say what was counted and whether all went as told."""
        tally = Tally(self._load.counts())
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

    def _pull_request(self, number: int) -> Result:
        """Deploy a preview and roll it out; how the rollout ended."""
        if number == BAD:
            self._sandbox.images.build(_image(number), {"FAIL_RATE": str(FAIL_RATE)})
        config = self._configs[number]
        self._labels[config.preview.namespace] = f"PR {number}"
        self._progress = Progress()
        told = "" if number == GOOD else f". It is bad: {FAIL_RATE * 100:.0f} % of its answers are errors"
        self.heading(f"Pull request {number} gets a preview in a namespace of its own{told}")
        self._coming = f"a share of production's requests for PR {number}"
        self._doing = f"pipeline-step preview --pr {number} --image {_image(number)}"
        deploy.deploy(dataclasses.replace(self._run(config), tell=lambda event: None))
        self.say(f"its preview is ready in {config.preview.namespace}")
        self._chapters.append(Chapter(number=number, namespace=config.preview.namespace))
        steps = ",".join(str(step.weight) for step in config.policy.steps)
        self._doing = f"pipeline-step rollout --pr {number} --steps {steps}"
        self._load.phase = BETWEEN
        result = rollout.rollout(self._run(config))
        self._doing, self._coming = "", COMING.get(number, "")
        self._chapters[-1].result = result
        return result

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
        self._enter(chapter.phase(event), self._shares())

    def _show(self, look: Look) -> None:
        """A look: where something follows at once, requests belong to neither the phase that ends nor the next."""
        self._progress.show(look)
        if not isinstance(look.decision, Hold):
            self._load.phase = BETWEEN

    def _shares(self) -> dict[str, int]:
        """The weights in force, by namespace."""
        weights = observe(self._configs[GOOD].target, self._cluster).weights
        return {backend.partition(".")[2]: weight for backend, weight in weights.items()}

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
            if weight or part.requests or namespace in (example.PRODUCTION, example.STAGING):
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

    def _clock(self) -> str:
        seconds = int(time.monotonic() - self._began)
        return f"{seconds // 60}:{seconds % 60:02d}"


def _image(number: int) -> str:
    return f"croc-hunter:pr-{number}"
