"""What stable has served, as the command `simulate` asks for it: from the gate's own server, or from another one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from pipeline_step.errors import ConfigError
from pipeline_step.gates import compare, promql
from pipeline_step.gates.presets import Series
from pipeline_step.gates.scraping import Scraping
from pipeline_step.simulate.traffic import Recorded

if TYPE_CHECKING:
    from pipeline_step.gates.history import History


def recorded(history: History) -> Recorded:
    """A history as a stream of requests to be replayed."""
    summed = [tuple(sum(row[column] for row in rows.values()) for column in (1, 0)) for rows in history.windows]
    return Recorded(seconds=history.step, windows=tuple((round(bad), round(total)) for bad, total in summed))


def server_of(settings: compare.Settings, url: str) -> promql.Server:
    """Where to ask: the gate's own server, or the gate's series at another one."""
    if settings.prometheus is not None:
        return msgspec.structs.replace(settings.prometheus, url=url) if url else settings.prometheus
    if not url:
        raise ConfigError("which server? Give --prometheus URL, since the compare gate reads its counters elsewhere")
    series = settings.scrape or Scraping()
    given = {field: getattr(series, field) for field in Series.__struct_fields__}
    try:
        return promql.Server(url=url, **given)
    except ValueError as error:
        raise ConfigError(f"--prometheus: {error}") from error
