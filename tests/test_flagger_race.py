"""The users of the race against Flagger: what they send, what they see, and how a preview's exposure is counted."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Mapping

import pytest

from benchmarks.flagger.users import Answer, Crowd, exposure
from tests.gates.conftest import Site, site  # noqa: F401 (fixture)


def test_exposure_lasts_from_the_first_answer_of_a_preview_to_its_last() -> None:
    answers = [
        Answer(1.0, "1", 200, 0.1),
        Answer(2.0, "2", 200, 0.1),
        Answer(3.0, "", 500, 0.1),
        Answer(4.0, "1", 200, 9.0),
        Answer(5.5, "2", 200, 0.7),
        Answer(9.0, "1", 200, 0.1),
        Answer(9.5, "", 503, 0.1),
    ]
    assert exposure(answers, "2", None) == (3.5, 3, 1)
    assert exposure(answers, "2", 0.5) == (3.5, 3, 2)
    assert exposure(answers[:1], "2", 0.5) == (0.0, 0, 0)


def test_users_ask_steadily_and_see_who_answers(site: Callable[..., Site]) -> None:  # noqa: F811
    numbers = itertools.count()

    def respond(method: str, path: str, headers: Mapping[str, str], body: bytes) -> tuple[int, dict[str, str], bytes]:
        if next(numbers) % 5 == 4:
            return 500, {}, b"chosen to fail"
        return 200, {"Content-Type": "application/json"}, b'{"release": "%s"}' % headers["host"][:1].encode()

    address = site(respond).url.rpartition("/")[2].split(":")
    with Crowd((address[0], int(address[1]))) as crowd:
        visits = {host: crowd.visit(f"{host}.example", 50) for host in "ab"}
        until = time.monotonic() + 60
        while time.monotonic() < until and min(len(one.answers) for one in visits.values()) < 100:
            time.sleep(0.1)
        for one in visits.values():
            one.over = True
    for host, one in visits.items():
        assert {answer.release for answer in one.answers if answer.status == 200} == {host}
    every = [answer for one in visits.values() for answer in one.answers]
    assert len(every) >= 200
    failed = sum(answer.status == 500 for answer in every)
    assert failed / len(every) == pytest.approx(0.2, abs=0.05)
    first, last = min(answer.at for answer in every), max(answer.at for answer in every)
    assert len(every) / (last - first) < 130, "no faster than asked for"
