"""Providers' answers, bent and broken: one clear error, never a traceback."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline_step.errors import StepError
from pipeline_step.http import Http
from pipeline_step.scm import SCMS, Reaction, Repository, Scm, State, Status

from .server import TOKEN, Answer, Provider, Running, running
from .test_providers import BY_UUID, MARKER, SERVERS
from .world import new_world, sha

Call = Callable[[Scm, Http, Repository, str, str], object]
CALLS: dict[str, Call] = {
    "pull_request": lambda scm, http, repo, note, user: scm.pull_request(http, repo, 5),
    "changed_files": lambda scm, http, repo, note, user: scm.changed_files(http, repo, 5),
    "read_file": lambda scm, http, repo, note, user: scm.read_file(http, repo, "x", "main"),
    "comments": lambda scm, http, repo, note, user: scm.comments(http, repo, 5),
    "comment": lambda scm, http, repo, note, user: scm.comment(http, repo, 5, note),
    "upsert_comment": lambda scm, http, repo, note, user: scm.upsert_comment(
        http, repo, 5, MARKER, lambda before: MARKER
    ),
    "react": lambda scm, http, repo, note, user: scm.react(http, repo, 5, note, Reaction.SEEN),
    "role": lambda scm, http, repo, note, user: scm.role(http, repo, user),
    "in_team": lambda scm, http, repo, note, user: scm.in_team(http, repo, "operators", user),
    "merge": lambda scm, http, repo, note, user: scm.merge(http, repo, 5, sha("five"), "t"),
    "create_branch": lambda scm, http, repo, note, user: scm.create_branch(http, repo, "b", sha("main")),
    "open_pull_request": lambda scm, http, repo, note, user: scm.open_pull_request(http, repo, "b", "main", "t", "b"),
    "set_status": lambda scm, http, repo, note, user: scm.set_status(
        http, repo, sha("five"), Status(state=State.SUCCESS, context="a/b", description="d", url="https://x.example")
    ),
}
JUNK = st.none() | st.booleans() | st.integers() | st.text(max_size=8) | st.just([]) | st.just({}) | st.just([None])
GOLDEN = Path(__file__).parent / "golden"


class Bent:
    """A provider whose every answer passes through `bend`."""

    def __init__(self, name: str) -> None:
        world = new_world()
        note = world.add_note(5, "wendy", "/shift 5")
        world.branches["b"] = sha("main")
        routes, self.path = SERVERS[name]
        self.scm = SCMS[name]()
        self.provider: Provider = routes(world)
        self.note = f"{note.id}/1" if name == "azure" else str(note.id)
        wendy = world.users["wendy"]
        self.user = BY_UUID[name].format(wendy.uuid) if name in BY_UUID else wendy.login
        self.bend: Callable[[Any], Any] = lambda body: body
        straight = self.provider.answer

        def answer(request: Any) -> Answer:
            found = straight(request)
            return Answer(found.status, self.bend(copy.deepcopy(found.body)), found.headers)

        self.provider.answer = answer  # type: ignore[method-assign]

    def call(self, server: Running, name: str) -> None:
        """Make one of `CALLS`; only an error that a person can read may come out."""
        repo = Repository(url=server.url + self.path, owner="acme", name="shop")
        http = Http(headers=self.scm.credentials(repo, TOKEN), patience=0, sleep=lambda seconds: None)
        try:
            CALLS[name](self.scm, http, repo, self.note, self.user)
        except StepError as error:
            assert "\n" not in str(error)
            assert TOKEN not in str(error)


@pytest.fixture(params=sorted(SERVERS), scope="module")
def bent(request: pytest.FixtureRequest) -> Iterator[tuple[Bent, Running]]:
    bed = Bent(request.param)
    with running(bed.provider) as server:
        yield bed, server


def places(body: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path of every value inside a body."""
    yield at
    inside = body.items() if isinstance(body, dict) else enumerate(body) if isinstance(body, list) else ()
    for key, value in inside:
        yield from places(value, (*at, key))


def replaced(body: Any, at: tuple[Any, ...], value: Any) -> Any:
    """`body` with another value at one place."""
    if not at:
        return value
    inner = body[at[0]]
    body[at[0]] = replaced(inner, at[1:], value)
    return body


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_an_answer_with_any_value_replaced(bent: tuple[Bent, Running], data: st.DataObject) -> None:
    bed, server = bent
    call = data.draw(st.sampled_from(sorted(CALLS)))
    where, value = data.draw(st.integers(0, 60)), data.draw(JUNK)

    def bend(body: Any) -> Any:
        if not isinstance(body, dict | list):
            return body
        found = list(places(body))
        return replaced(body, found[where % len(found)], value)

    bed.bend = bend
    bed.call(server, call)


@pytest.mark.parametrize(
    "junk", [b"", b"null", b"[]", b"{}", b"<html>", b"\xff", b'"x"', b"[[[[", b"7", b'{"values": 3}']
)
def test_an_answer_that_is_something_else(bent: tuple[Bent, Running], junk: bytes) -> None:
    bed, server = bent
    bed.bend = lambda body: junk.decode("latin-1").encode("latin-1") if junk != b"\xff" else "\udcff"
    if junk == b"\xff":
        bed.bend = lambda body: ["\ufffd"]
    for call in CALLS:
        bed.call(server, call)


def test_the_golden_files_belong_to_tests_and_hold_no_token() -> None:
    tests = {path.stem for path in GOLDEN.glob("*/*.json")}
    source = (Path(__file__).parent / "test_providers.py").read_text()
    for name in tests:
        assert f"def test_{name}(" in source
    for path in GOLDEN.glob("*/*.json"):
        assert TOKEN not in path.read_text()
        assert json.loads(path.read_text()) is not None
