"""The grammar of commands in comments: text in, commands out, no I/O.

A command is a line of its own that a reader of the rendered comment sees as plain text beginning with a slash.
Whatever is shown as code, quotation, list, table or HTML is talk about commands, and never one.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from enum import Enum
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from markdown_it import MarkdownIt
    from markdown_it.token import Token

LONGEST_BODY = 65_536
LONGEST_LINE = 500
MOST_COMMANDS = 20


class Verb(Enum):
    """What a comment can ask for."""

    SHIFT = "shift"
    ROLLOUT = "rollout"
    PROMOTE = "promote"
    REVERT = "revert"
    PAUSE = "pause"
    RESUME = "resume"
    SKIP = "skip"
    STATUS = "status"
    PREVIEW = "preview"
    FREEZE = "freeze"
    UNFREEZE = "unfreeze"
    HELP = "help"

    @property
    def raises(self) -> bool:
        """Whether it can bring more requests to the preview, and so needs a pinned commit and no freeze."""
        return self in RAISING


RAISING = frozenset({Verb.SHIFT, Verb.ROLLOUT, Verb.PROMOTE, Verb.RESUME, Verb.SKIP})

USAGE: Mapping[Verb, str] = {
    Verb.SHIFT: "/shift WEIGHT [SHA] [--override FREEZE]",
    Verb.ROLLOUT: "/rollout [SHA] [--override FREEZE]",
    Verb.PROMOTE: "/promote [SHA] [--override FREEZE]",
    Verb.REVERT: "/revert",
    Verb.PAUSE: "/pause",
    Verb.RESUME: "/resume [SHA] [--override FREEZE]",
    Verb.SKIP: "/skip [SHA] [--override FREEZE]",
    Verb.STATUS: "/status",
    Verb.PREVIEW: "/preview [SHA]",
    Verb.FREEZE: "/freeze REASON",
    Verb.UNFREEZE: "/unfreeze",
    Verb.HELP: "/help",
}
"""How each is written. WEIGHT is 0 to 100, SHA at least 7 digits of the head commit, FREEZE a freeze's name."""

OTHERS = frozenset({"approve", "cancel", "hold", "merge", "override", "rebase", "remove", "retest", "review", "test"})
"""Commands of other bots and of providers that must never be taken for a slip of ours; most are not near any."""

MEANT: Mapping[str, Verb] = {
    "rollback": Verb.REVERT,
    "roll-back": Verb.REVERT,
    "abort": Verb.REVERT,
    "stop": Verb.REVERT,
    "undo": Verb.REVERT,
    "canary": Verb.SHIFT,
    "traffic": Verb.SHIFT,
    "weight": Verb.SHIFT,
    "continue": Verb.RESUME,
    "commands": Verb.HELP,
}
"""Words for which the nearest by spelling would be the wrong one."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Command:
    """What someone asks for. `sha` is lower-case and may be abbreviated; `weight` is a percentage of requests."""

    verb: Verb
    weight: int | None = None
    sha: str = ""
    override: str = ""
    reason: str = ""

    def __str__(self) -> str:
        """As it could have been written, for the record."""
        words = ["/" + self.verb.value, "" if self.weight is None else str(self.weight), self.sha, self.reason]
        return " ".join(filter(None, [*words, f"--override {self.override}" if self.override else ""]))


@dataclass(frozen=True, kw_only=True, slots=True)
class Misread:
    """A line that was meant for us and can't be done; `problem` is one sentence without text of the comment's author.

    `verb` is what they most likely meant.
    """

    verb: Verb
    problem: str

    @property
    def usage(self) -> str:
        """How it is written."""
        return USAGE[self.verb]


class _Wrong(ValueError):
    """What is wrong with the words after a verb."""


def parse(body: str) -> tuple[Command | Misread, ...]:
    """The commands of a comment, in order; empty for a comment that is only talk, or only for other bots."""
    found = []
    for line in _plain_lines(body[:LONGEST_BODY].replace("\r\n", "\n").replace("\r", "\n")):
        command = _read(line) if len(line) <= LONGEST_LINE else None
        if command is not None:
            found.append(command)
    return tuple(found[:MOST_COMMANDS])


def _read(line: str) -> Command | Misread | None:
    """A command, a command that went wrong, or None for what is not for us."""
    line = line.replace("\xa0", " ")
    match = re.fullmatch(
        r"/(?:lh-)?(?:(jx)\s+)?([a-z][a-z_-]*)([,-][0-9a-z%,-]*)?(\s.*)?", line, re.IGNORECASE | re.ASCII
    )
    if not match:
        return _read_glued(line)
    lighthouse, word, glued, rest = match.groups()
    word = word.lower()
    if lighthouse:
        # The one shape that Lighthouse lets through has its arguments in the first word: shift-5 or shift,5.
        word, _, first = re.sub("[,-]", " ", word + (glued or "")).strip().partition(" ")
        rest = f"{first} {rest or ''}"
    elif glued:
        return _read_glued(line)
    verb = _VERBS.get(word)
    if verb is None:
        return _nearest(word)
    try:
        return _ARGUMENTS[verb](verb, (rest or "").strip())
    except _Wrong as wrong:
        return Misread(verb=verb, problem=str(wrong))


def _read_glued(line: str) -> Misread | None:
    """`/shift-5` or `/shift=5` is a near miss; anything else, such as a path, is not for us."""
    match = re.match(r"/(?:lh-)?([A-Za-z]+)[-,:=]?\d{1,3}%?\s*$", line, re.IGNORECASE | re.ASCII)
    if match and match[1].lower() == "shift":
        return Misread(verb=Verb.SHIFT, problem="the weight stands after a space")
    return None


def _nearest(word: str) -> Misread | None:
    if word in OTHERS:
        return None
    if word in MEANT:
        return Misread(verb=MEANT[word], problem=f"there is no such command; the nearest is /{MEANT[word].value}")
    near = get_close_matches(word, _VERBS, n=1, cutoff=0.75)
    if not near:
        return None
    return Misread(verb=_VERBS[near[0]], problem=f"there is no such command; the nearest is /{near[0]}")


def _alone(verb: Verb, rest: str) -> Command:
    if rest:
        raise _Wrong(f"/{verb.value} stands alone on its line")
    return Command(verb=verb)


def _reason(verb: Verb, rest: str) -> Command:
    reason = " ".join("".join(c if c.isprintable() else " " for c in rest.replace(_MARKUP, " ")).split())
    if not reason:
        raise _Wrong("a freeze needs a reason, which everyone who is held by it will read")
    return Command(verb=verb, reason=reason[:200])


def _weight(verb: Verb, rest: str) -> Command:
    words = rest.split()
    if not words or not re.fullmatch(r"\d{1,3}%?", words[0], re.ASCII) or int(words[0].rstrip("%")) > 100:
        raise _Wrong("the weight is a whole number from 0 to 100")
    command = _commit(verb, " ".join(words[1:]))
    return Command(verb=verb, weight=int(words[0].rstrip("%")), sha=command.sha, override=command.override)


def _commit(verb: Verb, rest: str) -> Command:
    # Telephones make one long dash of two hyphens.
    match = re.fullmatch(r"(.*?)(?:^|\s)(?:--|—|–)override[=\s]\s*(\S+)", rest)
    words, override = (match[1].split(), match[2]) if match else (rest.split(), "")
    if override and not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}", override):
        raise _Wrong("the name of a freeze has letters, digits, dots and hyphens")
    return Command(verb=verb, sha=_sha(verb, words), override=override)


def _just_commit(verb: Verb, rest: str) -> Command:
    return Command(verb=verb, sha=_sha(verb, rest.split()))


def _sha(verb: Verb, words: list[str]) -> str:
    if not words:
        return ""
    if len(words) > 1:
        raise _Wrong(f"there is more on the line than /{verb.value} takes")
    if not re.fullmatch(r"[0-9a-f]{7,40}", words[0].lower(), re.ASCII):
        raise _Wrong("the SHA has 7 to 40 hexadecimal digits")
    return words[0].lower()


_VERBS = {verb.value: verb for verb in Verb}
_ARGUMENTS: Mapping[Verb, Callable[[Verb, str], Command]] = {
    Verb.SHIFT: _weight,
    Verb.ROLLOUT: _commit,
    Verb.PROMOTE: _commit,
    Verb.REVERT: _alone,
    Verb.PAUSE: _alone,
    Verb.RESUME: _commit,
    Verb.SKIP: _commit,
    Verb.STATUS: _alone,
    Verb.PREVIEW: _just_commit,
    Verb.FREEZE: _reason,
    Verb.UNFREEZE: _alone,
    Verb.HELP: _alone,
}

_MARKUP = "\0"
"""Stands for what is not plain text in a line; Markdown knows no such character."""


@cache
def _markdown() -> MarkdownIt:
    from markdown_it import MarkdownIt

    # Without joining, an escaped slash stays apart from the text that it begins.
    return MarkdownIt("commonmark").enable(["table", "strikethrough"]).disable("text_join")


def _plain_lines(body: str) -> Iterator[str]:
    """The lines of the comment's own paragraphs as they are read, with `_MARKUP` for what is not plain text."""
    inside = 0
    previous: Token | None = None
    for token in _markdown().parse(body):
        if token.type == "inline" and inside == 1 and previous is not None and _is_paragraph(previous):
            yield from _lines(token.children or [])
        inside += token.nesting
        previous = token


def _is_paragraph(opening: Token) -> bool:
    # A line of hyphens under a command makes it a heading, which its author hardly had in mind.
    return opening.type == "paragraph_open" or (opening.type == "heading_open" and opening.markup in ("-", "="))


def _lines(children: list[Token]) -> Iterator[str]:
    line = ""
    for child in children:
        if child.type in ("softbreak", "hardbreak"):
            yield line.rstrip()
            line = ""
        elif child.type == "text" and child.level == 0:
            line += child.content
        else:
            shown = child.content if child.type in ("text", "text_special", "code_inline") else ""
            line += _MARKUP + shown + _MARKUP
    yield line.rstrip()
