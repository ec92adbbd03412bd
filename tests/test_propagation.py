"""How long the data plane is waited for."""

from __future__ import annotations

import pytest

from pipeline_step.errors import NotReady
from pipeline_step.propagation import REFUSED_WITHIN, WITHIN, Waiting, Watch

FOLLOWED = Waiting("")
PENDING = Waiting("the controller has not seen the change yet")
REFUSED = Waiting("ResolvedRefs is False", REFUSED_WITHIN)


@pytest.mark.parametrize(("waiting", "limit"), [(PENDING, WITHIN), (REFUSED, REFUSED_WITHIN)])
def test_it_is_late_once_the_limit_has_passed_since_it_last_followed(waiting: Waiting, limit: float) -> None:
    watch = Watch(0)
    watch.late(FOLLOWED, 100)
    watch.late(waiting, 100 + limit - 1)
    with pytest.raises(NotReady, match=f"did not follow within {limit:.0f} s: {waiting.reason}"):
        watch.late(waiting, 100 + limit)


def test_a_write_begins_the_waiting_anew() -> None:
    watch = Watch(0)
    watch.written(WITHIN)
    watch.late(PENDING, 2 * WITHIN - 1)
    with pytest.raises(NotReady):
        watch.late(PENDING, 2 * WITHIN)
