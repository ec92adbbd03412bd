"""The targets of `make fuzz` on what hypothesis makes up, and on the inputs that once failed."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fuzz.targets import SEEDS, TARGETS

FAILED: tuple[tuple[str, bytes], ...] = (
    ("owners", b"*" * 56 + b"\x00" + b"*" * 60),
    ("owners", b"**a" * 40 + b" @a\x1f" + b"a" * 90),
    ("owners", b"*\x00\x00\xff\xff\xffee[e%\xff\xff\xffee[e%eeen*\xff[]\xff\xffz\xff\x0c"),
    ("owners", b"/a[[b] @a"),
)


@pytest.mark.parametrize("name", TARGETS)
def test_any_input_is_taken(name: str) -> None:
    words = st.sampled_from(
        [*SEEDS[name], b"\n", b"\n\n", b"> ", b"`", b"/shift 5", b"@all", b"\x1f", b"{", b"[", b'"']
    )

    @settings(max_examples=100, deadline=None, database=None)
    @given(st.binary(max_size=200) | st.lists(words, max_size=20).map(b"".join))
    def taken(data: bytes) -> None:
        TARGETS[name](data)

    taken()


@pytest.mark.parametrize(("name", "data"), FAILED)
def test_what_once_failed(name: str, data: bytes) -> None:
    TARGETS[name](data)
