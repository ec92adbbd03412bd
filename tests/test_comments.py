"""The grammar of comments: what is a command, what is a slip, and what is only talk."""

from __future__ import annotations

import re

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pipeline_step.comments import RAISING, USAGE, Command, Misread, Verb, parse

SHA = "0123456789abcdef0123456789abcdef01234567"


def shift(weight: int, sha: str = "", override: str = "") -> Command:
    return Command(verb=Verb.SHIFT, weight=weight, sha=sha, override=override)


@pytest.mark.parametrize(
    ("body", "command"),
    [
        ("/shift 5", shift(5)),
        ("/shift 0", shift(0)),
        ("/shift 100", shift(100)),
        ("/shift 5%", shift(5)),
        ("/Shift 5", shift(5)),
        ("/shift 5   ", shift(5)),
        ("/shift\t5", shift(5)),
        ("/shift\xa05", shift(5)),
        ("  /shift 5", shift(5)),
        (f"/shift 5 {SHA}", shift(5, SHA)),
        ("/shift 5 0123ABC", shift(5, "0123abc")),
        ("/shift 5 0123abc --override christmas", shift(5, "0123abc", "christmas")),
        ("/shift 5 --override=christmas", shift(5, "", "christmas")),
        ("/shift 5 —override christmas", shift(5, "", "christmas")),
        ("/rollout", Command(verb=Verb.ROLLOUT)),
        ("/rollout 0123abc", Command(verb=Verb.ROLLOUT, sha="0123abc")),
        ("/promote", Command(verb=Verb.PROMOTE)),
        ("/promote --override year.end-1", Command(verb=Verb.PROMOTE, override="year.end-1")),
        ("/revert", Command(verb=Verb.REVERT)),
        ("/pause", Command(verb=Verb.PAUSE)),
        ("/resume", Command(verb=Verb.RESUME)),
        ("/skip", Command(verb=Verb.SKIP)),
        ("/status", Command(verb=Verb.STATUS)),
        ("/preview", Command(verb=Verb.PREVIEW)),
        ("/preview 0123abc", Command(verb=Verb.PREVIEW, sha="0123abc")),
        ("/freeze the sale begins", Command(verb=Verb.FREEZE, reason="the sale begins")),
        ("/freeze a `deploy` of *theirs*", Command(verb=Verb.FREEZE, reason="a deploy of theirs")),
        ("/unfreeze", Command(verb=Verb.UNFREEZE)),
        ("/help", Command(verb=Verb.HELP)),
    ],
)
def test_commands(body: str, command: Command) -> None:
    assert parse(body) == (command,)


@pytest.mark.parametrize(
    ("body", "command"),
    [
        ("/jx shift-5", shift(5)),
        ("/jx shift,5", shift(5)),
        ("/lh-jx shift-25", shift(25)),
        ("/lh-jx shift,25", shift(25)),
        ("/lh-shift 5", shift(5)),
        ("/jx shift 5", shift(5)),
        ("/jx shift-5-0123abc", shift(5, "0123abc")),
        ("/jx shift,5,0123abc --override x", shift(5, "0123abc", "x")),
        ("/jx promote", Command(verb=Verb.PROMOTE)),
        ("/jx revert", Command(verb=Verb.REVERT)),
    ],
)
def test_the_shapes_that_lighthouse_lets_through(body: str, command: Command) -> None:
    assert parse(body) == (command,)


def test_the_documented_trigger_of_lighthouse_and_the_grammar_agree() -> None:
    trigger = re.compile(r"(?m)^/(?:lh-)?jx shift-25\s*$")
    for body in ("/jx shift-25", "/lh-jx shift-25", "Nice!\n/jx shift-25  \n"):
        assert trigger.search(body)
        assert parse(body) == (shift(25),)


def test_several_commands_keep_their_order() -> None:
    body = "Good work.\n\n/shift 5\nand then\n/pause\r\n/revert\n\nBye"
    assert [command.verb for command in parse(body)] == [Verb.SHIFT, Verb.PAUSE, Verb.REVERT]


@pytest.mark.parametrize(
    "body",
    [
        "",
        "shift 5",
        "please /shift 5",
        "`/shift 5`",
        "```\n/shift 5\n```",
        "~~~sh\n/shift 5\n~~~",
        "```\n/shift 5",
        "    /shift 5",
        "\t/shift 5",
        "> /shift 5",
        "> Who said\n/shift 5",
        "> > /shift 5",
        "- /shift 5",
        "- one\n  /shift 5",
        "1. /shift 5",
        "# /shift 5",
        "| a |\n|---|\n| /shift 5 |",
        "| a |\n|---|\n/shift 5",
        "<!-- /shift 5 -->",
        "<!--\n\n/shift 5\n\n-->",
        "<!--\n/shift 5",
        "<div>\n/shift 5\n</div>",
        "<b>/shift 5</b>",
        "~~/shift 5~~",
        "**/shift 5**",
        "[/shift 5](https://example.com)",
        "![/shift 5](https://example.com/x.png)",
        "[x]: https://example.com\n'/shift 5'",
        "\\/shift 5",
        "&#47;shift 5",
        "&sol;shift 5",
        "／shift 5",
        "//shift 5",
        "/ shift 5",
        "/shift/5",
        "/shift.sh 5",
        "/etc/passwd",
        "/tmp",
        "/api/v1/shift 5",
        "see `a\n/shift 5\nb`",
        "On Monday Wendy wrote:\n> /shift 50\n\nNo!",
    ],
)
def test_talk_is_no_command(body: str) -> None:
    assert parse(body) == ()


@pytest.mark.parametrize(
    "body", ["*see\n/shift 5\nthere*", "~~first\n/shift 5\nlast~~", "[a\n/shift 5\nb](https://x.example)"]
)
def test_a_line_inside_emphasis_deletion_or_a_link_is_no_command(body: str) -> None:
    assert parse(body) == ()


@pytest.mark.parametrize(
    "word",
    [
        "approve",
        "lgtm",
        "assign",
        "cc",
        "hold",
        "close",
        "reopen",
        "lifecycle",
        "milestone",
        "override",
        "stage",
        "label",
        "area",
        "kind",
        "priority",
        "test",
        "retest",
        "ok-to-test",
        "shrug",
        "joke",
        "meow",
        "cancel",
        "review",
        "merge",
        "rebase",
        "approve-all",
        "jx",
    ],
)
@pytest.mark.parametrize("rest", ["", " 5", " @someone"])
def test_commands_of_other_bots_are_left_to_them(word: str, rest: str) -> None:
    assert parse(f"/{word}{rest}") == ()


@pytest.mark.parametrize(
    ("body", "verb", "problem"),
    [
        ("/shift", Verb.SHIFT, "the weight is a whole number from 0 to 100"),
        ("/shift 101", Verb.SHIFT, "the weight is a whole number from 0 to 100"),
        ("/shift 5.5", Verb.SHIFT, "the weight is a whole number from 0 to 100"),
        ("/shift -5", Verb.SHIFT, "the weight is a whole number from 0 to 100"),
        ("/shift ٥", Verb.SHIFT, "the weight is a whole number from 0 to 100"),
        ("/shift five", Verb.SHIFT, "the weight is a whole number from 0 to 100"),
        ("/shift 5 abc", Verb.SHIFT, "the SHA has 7 to 40 hexadecimal digits"),
        ("/shift 5 was a bad idea", Verb.SHIFT, "there is more on the line than /shift takes"),
        ("/shift 5 `0123abc`", Verb.SHIFT, "the SHA has 7 to 40 hexadecimal digits"),
        ("/shift 5 <!-- 0123abc -->", Verb.SHIFT, "the SHA has 7 to 40 hexadecimal digits"),
        ("/shift **50**", Verb.SHIFT, "the weight is a whole number from 0 to 100"),
        ("/shift 5 --override", Verb.SHIFT, "the SHA has 7 to 40 hexadecimal digits"),
        ("/shift 5 --override a/b", Verb.SHIFT, "the name of a freeze has letters, digits, dots and hyphens"),
        ("/shift-5", Verb.SHIFT, "the weight stands after a space"),
        ("/shift5", Verb.SHIFT, "the weight stands after a space"),
        ("/revert everything", Verb.REVERT, "/revert stands alone on its line"),
        ("/promote 25", Verb.PROMOTE, "the SHA has 7 to 40 hexadecimal digits"),
        ("/promote it when ready", Verb.PROMOTE, "there is more on the line than /promote takes"),
        ("/freeze", Verb.FREEZE, "a freeze needs a reason, which everyone who is held by it will read"),
        ("/shfit 5", Verb.SHIFT, "there is no such command; the nearest is /shift"),
        ("/jx shfit-5", Verb.SHIFT, "there is no such command; the nearest is /shift"),
        ("/rollback", Verb.REVERT, "there is no such command; the nearest is /revert"),
        ("/promotee", Verb.PROMOTE, "there is no such command; the nearest is /promote"),
        ("/stop", Verb.REVERT, "there is no such command; the nearest is /revert"),
        ("/ſhift 5", None, ""),
    ],
)
def test_slips_get_the_nearest_command_and_how_it_is_written(body: str, verb: Verb | None, problem: str) -> None:
    if verb is None:
        assert parse(body) == ()
        return
    (slip,) = parse(body)
    assert slip == Misread(verb=verb, problem=problem)
    assert isinstance(slip, Misread)
    assert slip.usage.startswith(f"/{verb.value}")


def test_a_reason_has_no_control_characters_and_an_end() -> None:
    (command,) = parse("/freeze \u202egnirts\x07 " + "x" * 300)
    assert isinstance(command, Command)
    assert command.reason.isprintable()
    assert len(command.reason) == 200


def test_a_comment_full_of_commands_is_cut() -> None:
    assert len(parse("/status\n" * 10_000)) == 20


def test_every_verb_is_documented_and_the_dangerous_ones_take_a_commit() -> None:
    assert set(USAGE) == set(Verb)
    for verb in Verb:
        assert ("SHA" in USAGE[verb]) == (verb in RAISING or verb is Verb.PREVIEW)
        assert verb.raises == ("--override" in USAGE[verb])


def test_a_sure_word_is_never_suggested_for_a_dangerous_one() -> None:
    """Someone who wants out in a hurry must not be led to a command that sends more requests."""
    for word in ("rollback", "roll-back", "abort", "stop", "undo", "rever", "revret", "revertt"):
        (slip,) = parse(f"/{word}")
        assert slip.verb is Verb.REVERT


words = st.sampled_from(
    [
        "/",
        "shift",
        "/shift",
        "/jx",
        "/lh-",
        " ",
        "\n",
        "\r\n",
        "5",
        "50%",
        "100",
        SHA[:7],
        "--override",
        "x",
        "`",
        "```",
        "> ",
        "- ",
        "    ",
        "<!--",
        "-->",
        "\\",
        "*",
        "~~",
        "[",
        "](",
        ")",
        "|",
        "\n\n",
        "---",
        "/revert",
        "/promote",
        "#",
        "<div>",
        "</div>",
        "\x00",
        "\u200b",
        "\u202e",
        "/freeze",
        "\t",
        "&#47;",
        ",",
        "-",
        "=",
        "é",
        "😀",
    ]
)


@settings(max_examples=400, deadline=None)
@given(st.text() | st.lists(words, max_size=40).map("".join))
@example("`" * 3000)
@example("[" * 3000)
@example("> " * 3000 + "/shift 5")
@example("*" * 3000 + "/shift 5")
@example("<" * 3000)
def test_any_text_can_be_read(body: str) -> None:
    """No exception; and each command stands in the text, at the beginning of a line, as a reader would see it."""
    for command in parse(body):
        if isinstance(command, Misread):
            continue
        lines = [line.strip(" \t\xa0").lower() for line in re.split(r"\r\n|\r|\n", body)]
        starts = tuple(f"{prefix}{command.verb.value}" for prefix in ("/", "/lh-", "/jx ", "/lh-jx "))
        assert any(re.sub(r"\s+", " ", line).startswith(starts) for line in lines)
        if command.weight is not None:
            assert 0 <= command.weight <= 100
            assert str(command.weight) in body
        assert command.sha in body.lower()
        assert command.override in body


@settings(deadline=None)
@given(st.text(), st.sampled_from(["```", "~~~", "````"]))
def test_nothing_inside_a_fence_is_a_command(body: str, fence: str) -> None:
    inside = body.replace("`", "").replace("~", "")
    assert parse(f"{fence}\n/shift 5\n{inside}\n/promote\n{fence}") == ()


@settings(deadline=None)
@given(st.text().filter(lambda text: text.strip()))
def test_nothing_quoted_is_a_command(body: str) -> None:
    quoted = "\n".join(f"> {line}" for line in ["/shift 5", *re.split(r"[\r\n]", body), "/promote"])
    assert parse(quoted) == ()


def test_reading_the_longest_comment_is_quick() -> None:
    import time

    for body in ("/shift 5\n" * 8000, "a*b_" * 16_000, "[a](" * 16_000, "`" * 65_536, "> - " * 16_000):
        began = time.perf_counter()
        parse(body)
        assert time.perf_counter() - began < 5
