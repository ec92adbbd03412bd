"""What is fuzzed: each takes any bytes, and fails by an exception that no person could read, or by an assertion.

tests/test_fuzz.py runs them on a few inputs in the suite; `make fuzz` lets atheris search for minutes.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from pipeline_step import access, history, report, sticky
from pipeline_step.answer import Response, asked_wait, server_message
from pipeline_step.comments import Command, parse
from pipeline_step.errors import HttpError, Refused, StepError
from pipeline_step.model import Backend
from pipeline_step.run import Event
from pipeline_step.scm import SCMS
from pipeline_step.scm.remote import locate, parse_remote

SUBJECT = sticky.Subject(
    app="shop",
    number=5,
    stable=Backend(service="shop", namespace="production"),
    preview=Backend(service="shop", namespace="pr-5"),
)
SHAPES = [
    shape
    for load in sorted(set(SCMS.values()), key=lambda load: load.__name__)
    for name, shape in sorted(vars(load()).items())
    if name in ("_Pull", "_Merge", "_Comment", "_Note", "_Thread", "_Permission", "_File", "_Acl", "_Activity")
]


def comment(data: bytes) -> None:
    """A command stands at the beginning of a line of the text, and quoting all of it takes every command away."""
    body = data.decode(errors="replace")
    found = [one for one in parse(body) if isinstance(one, Command)]
    lines = [" ".join(line.replace("\xa0", " ").split()).lower() for line in re.split(r"\r\n|\r|\n", body)]
    for command in found:
        starts = tuple(prefix + command.verb.value for prefix in ("/", "/lh-", "/jx ", "/lh-jx "))
        assert any(line.startswith(starts) for line in lines), command
        assert command.weight is None or 0 <= command.weight <= 100
        assert parse(str(command)) == (command,) or command.reason, command
    assert parse("".join(f"> {line}\n" for line in re.split(r"\r\n|\r|\n", body))) == ()


def own_comment(data: bytes) -> None:
    """Whatever people write into reasons and names, our own comment commands nothing, and its history can be read."""
    reason, _, by = data.decode(errors="replace").partition("\x1f")
    event = Event(kind="shifted", weight=5, reason=reason, at=1.7e9)
    text = sticky.comment(SUBJECT, [event], by, [report.entry(event, report.escape(by))], limit=65_536, html=True)
    assert parse(text) == ()
    assert history.split(text)[1]
    assert len(text) <= 65_536
    assert f"@{by}" not in text or not by


def answer(data: bytes) -> None:
    """Any answer of a provider gives a value, or an error on one line that shows no more than it should."""
    response = Response(url="https://x.example", status=403, headers={"retry-after": "1"}, body=data)
    assert "\n" not in server_message(response)
    asked_wait(response)
    for shape in SHAPES:
        try:
            response.decode(shape)
        except HttpError as error:
            assert "\n" not in str(error)


def owners(data: bytes) -> None:
    """Any CODEOWNERS file gives an answer or a refusal."""
    text, _, path = data.decode(errors="replace").partition("\x1f")
    try:
        access.not_owned(text, [path or "src/app.py"], "wendy", lambda team: False)
    except Refused:
        return


def remote(data: bytes) -> None:
    """Any text for a remote or a comment's id is refused in a sentence, or read."""
    text = data.decode(errors="replace")
    try:
        parse_remote(text)
        locate(text)
    except StepError as error:
        assert str(error)


TARGETS: Mapping[str, Callable[[bytes], None]] = {
    "comment": comment,
    "own_comment": own_comment,
    "answer": answer,
    "owners": owners,
    "remote": remote,
}
SEEDS: Mapping[str, tuple[bytes, ...]] = {
    "comment": (
        b"/shift 5 0123abc --override x",
        b"```\n/shift 5\n```",
        b"> a\n/jx shift,5",
        b"<!--\n/promote\n-->",
        b"/freeze x",
    ),
    "own_comment": (
        b"/shift 50\x1f/promote",
        b"</details>\n\n/promote\x1f**History**\n- 2026-01-01 00:00:00 \xc2\xb7 x",
    ),
    "answer": (
        b'{"id": 1, "message": "no"}',
        b'{"values": [{"id": 1}]}',
        b"[[[[",
        b'{"created_at": "2026-01-01T00:00:00Z"}',
    ),
    "owners": (b"* @wendy\n/src/ @acme/ops\x1fsrc/app.py", b"[Section]\n* @a", b"\\#x @a"),
    "remote": (b"git@github.com:acme/shop.git", b"https://dev.azure.com/o/p/_git/r", b"ssh://[::1]:x/a/b"),
}
