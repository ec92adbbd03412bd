"""What was promoted, what a reversal takes back, which commits are bad."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline_step.errors import ConfigError, Refused
from pipeline_step.promote.interface import Promotion
from pipeline_step.promotions import (
    MOST,
    Entries,
    State,
    bad,
    forgotten,
    marked,
    read,
    remembered,
    to_take_back,
    write,
)


def digest(number: int) -> str:
    return f"sha256:{number:064x}"


def image(number: int) -> str:
    return f"localhost/shop@{digest(number)}"


def promotion(number: int) -> Promotion:
    """The one that brought image `number` where `number - 1` was."""
    return Promotion(
        app="shop",
        image=image(number),
        digest=digest(number),
        previous=image(number - 1) if number > 1 else "localhost/shop:old",
        sha=f"{number:07x}" * 5,
        pull_request=number,
        began=float(number),
    )


def promoted(count: int) -> Entries:
    entries: Entries = []
    for number in range(1, count + 1):
        entries = remembered(entries, promotion(number), 10.0 * number)
    return entries


def numbers(entries: Entries) -> list[int]:
    return [entry.promotion.pull_request for entry in entries]


def test_previous_is_one_promotion_back_and_a_digest_as_many_as_it_takes() -> None:
    entries = promoted(4)
    assert numbers(to_take_back(entries, "previous", image(4))) == [4]
    assert numbers(to_take_back(entries, digest(1), image(4))) == [4, 3, 2]
    assert numbers(to_take_back(entries, image(3), "localhost/shop:by-tag")) == [4]


def test_what_was_reverted_is_not_taken_back_again_and_what_was_begun_is() -> None:
    entries = marked(promoted(3), [promotion(3).key], State.REVERTED, "errors")
    assert numbers(to_take_back(entries, "previous", image(2))) == [2]
    entries = marked(promoted(3), [promotion(3).key], State.REVERTING, "errors")
    assert numbers(to_take_back(entries, "previous", image(2))) == [3]


@pytest.mark.parametrize(
    ("count", "to", "live", "words"),
    [
        (0, "previous", image(1), "nothing that was promoted here stands"),
        (2, "previous", image(9), "somebody else has changed production"),
        (3, digest(8), image(3), f"known are previous, {digest(2)}, {digest(1)}"),
        (1, "", image(1), "is nothing that production ran before"),
    ],
)
def test_what_can_not_be_told_is_refused(count: int, to: str, live: str, words: str) -> None:
    with pytest.raises(Refused, match=words):
        to_take_back(promoted(count), to, live)


def test_a_reverted_commit_is_bad_until_it_is_promoted_again() -> None:
    sha = promotion(2).sha
    entries = promoted(2)
    assert bad(entries, sha) == ""
    entries = marked(entries, [promotion(2).key], State.REVERTING, "too many errors")
    assert bad(entries, sha) == bad(entries, sha[:9]) == "too many errors"
    assert bad(entries, "") == bad(entries, promotion(1).sha) == ""
    again = Promotion(app="shop", image=image(2), digest=digest(2), sha=sha, began=99.0)
    assert bad(remembered(entries, again, 100.0), sha) == ""


@given(st.integers(0, MOST + 5))
def test_the_lease_gives_back_what_was_written_to_it(count: int) -> None:
    entries = promoted(count)
    assert list(read(write({"metadata": {"name": "x"}}, entries))) == list(entries)[:MOST]
    assert list(remembered(entries, promotion(1), 0.0)) == list(entries) or not count
    assert numbers(forgotten(entries, promotion(1).key)) == [n for n in numbers(entries) if n != 1]


def test_a_lease_that_can_not_be_read_says_where() -> None:
    lease = {"metadata": {"name": "x", "namespace": "y", "annotations": {"pipeline-step.dev/promotions": "{"}}}
    with pytest.raises(ConfigError, match="Lease y/x: annotation"):
        read(lease)
