"""What a route and a kept page say of all rollouts, look by look: what `status --serve` shows."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from pipeline_step.config import Config
from pipeline_step.errors import StepError
from pipeline_step.model import Rollout
from pipeline_step.page.document import document, history_in, listing
from pipeline_step.page.history import History, decoded
from pipeline_step.page.sampling import Gates
from pipeline_step.page.telling import ended, of_record, recorded
from pipeline_step.route import Seen

MOST = 50  # rollouts that are over and still shown
FRESH = 90.0  # seconds after which a kept page is out of date, where the rollout still has a record


class Watch:
    """The histories by preview. `look` reads, and `page` gives the text for a path, "" where there is nothing."""

    def __init__(
        self, config: Config, observe: Callable[[], Mapping[str, Seen]], kept: Callable[[], str] = lambda: ""
    ) -> None:
        self._config = config
        self._gates: Gates = config.gates
        self._observe = observe
        self._kept = kept
        self._histories: dict[str, History] = {}
        self._shown: dict[str, History] = {}
        self._problem = ""

    def look(self, now: float) -> None:
        """Read the route and the kept page, at a time in seconds since 1970; what can't be read is said on the page."""
        try:
            self._histories = self._gone_on(_rollouts(self._observe()), now)
            self._problem = ""
        except StepError as error:
            self._problem = f"This is not up to date: {error}"
        shown = dict(self._histories)
        try:
            page = decoded(history_in(self._kept()))
        except StepError as error:
            page, self._problem = None, self._problem or f"The kept page can't be read: {error}"
        if page and page.app == self._config.file.app:
            own = shown.get(page.preview)
            if own is None or own.over or page.updated >= now - FRESH:
                shown[page.preview] = page
        self._shown = shown

    def page(self, path: str, refresh: str) -> str:
        """The only rollout at `/`, or a list of them; each at `/PREVIEW`."""
        shown = self._shown
        key = path.strip("/")
        one = shown.get(key) or (next(iter(shown.values())) if not key and len(shown) == 1 else None)
        if one:
            return document(one, refresh=refresh, problem=self._problem)
        if key:
            return ""
        newest = sorted(shown.values(), key=lambda history: (history.over, -history.updated))
        return listing(self._config.file.app, newest, refresh=refresh, problem=self._problem)

    def _gone_on(self, rollouts: Mapping[str, Rollout], now: float) -> dict[str, History]:
        histories = {
            key: history if history.over or key in rollouts else ended(history, now)
            for key, history in self._histories.items()
        }
        for key, rollout in rollouts.items():
            known = histories.get(key)
            history = of_record(self._config, rollout) if known is None or known.over else known
            histories[key] = recorded(history, rollout, self._config.policy, self._gates, now)
        over = sorted((h.updated, key) for key, h in histories.items() if h.over)
        for _, key in over[:-MOST]:
            del histories[key]
        return histories


def _rollouts(seen: Mapping[str, Seen]) -> dict[str, Rollout]:
    """By preview, as the cluster furthest behind has it."""
    found: dict[str, Rollout] = {}
    for one in seen.values():
        for key, rollout in one.rollouts.items():
            if key not in found or rollout.step < found[key].step:
                found[key] = rollout
    return found
