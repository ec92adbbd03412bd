"""The page as text: complete in itself, and nothing that users control becomes markup."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from pipeline_step.page.document import document, history_in, listing
from pipeline_step.page.first_view import TONES
from pipeline_step.page.history import STANDINGS, Says, Told, decoded
from pipeline_step.page.markup import clean, element, html, link
from pipeline_step.page.style import ICONS

from .histories import HISTORIES, bad, good, paused


class Tags(HTMLParser):
    """The elements of a page, and its text without scripts and styles."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[str] = []
        self.links: list[str] = []
        self.words: list[str] = []
        self._silent = False
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append(tag)
        self.links += [value or "" for name, value in attrs if name in ("href", "src")]
        self._silent = tag in ("script", "style")

    def handle_endtag(self, tag: str) -> None:
        self._silent = False

    def handle_data(self, data: str) -> None:
        if not self._silent:
            self.words.append(data)


@pytest.mark.parametrize("name", HISTORIES)
def test_a_page_is_complete_in_itself_and_carries_its_history(name: str) -> None:
    history = HISTORIES[name]()
    page = document(history)
    assert page.startswith("<!doctype html>")
    tags = Tags(page)
    assert "script" in tags.found and tags.found.count("script") == 1, "data alone, nothing to run"
    assert not {"img", "iframe", "object"} & set(tags.found)
    assert [target for target in tags.links if not target.startswith(("http://shop.", "https://ci.example/"))] == [
        "data:,"
    ]
    assert "url(" not in page and "@import" not in page
    assert decoded(history_in(page)) == history
    assert len(page.encode()) < 100_000


HOSTILE = st.text(max_size=40) | st.sampled_from(
    [
        "</script><script>alert(1)</script>",
        '" onload="alert(1)',
        "<!--",
        "]]>",
        "&lt;b&gt;",
        "\x1b[31m",
        "\u202egnp",
        "\ud800",
    ]
)


@settings(deadline=None, max_examples=40)
@given(HOSTILE, HOSTILE)
def test_what_users_write_stays_text(one: str, other: str) -> None:
    plain = document(good())
    history = replace(
        good(),
        reason=one,
        by=other,
        sha=other,
        coming=one,
        then=other,
        url=other,
        run=one,
        run_url="javascript:alert(1)",
        gates=(Says(one, "pass", other),),
        events=tuple(Told(event.at, event.kind, event.weight, other) for event in good().events),
    )
    page = document(history)
    page.encode()
    allowed = Tags(plain).found
    found = [tag for tag in Tags(page).found if tag not in ("small", "a", "p", "dt", "dd")]
    assert found == [tag for tag in allowed if tag not in ("small", "a", "p", "dt", "dd")]
    assert "javascript:" not in [target.partition(":")[0] + ":" for target in Tags(page).links]


def test_links_lead_to_the_web_only() -> None:
    assert html(element("p", link("run", "https://ci.example/1"))).count("<a ") == 1
    for url in ("javascript:alert(1)", "data:text/html,x", "", "//x", "http://[", "file:///etc/passwd"):
        assert link("run", url) == "run"


def test_characters_that_no_reader_sees_are_left_out() -> None:
    assert clean("a\x00\x1b[1m\u202eb 5 %\ud800") == "a[1mb 5\u00a0%"


def test_every_standing_has_words_and_those_that_colour_says_too() -> None:
    assert set(TONES) <= set(STANDINGS)
    assert {icon for _, icon in TONES.values()} <= set(ICONS)
    for standing, words in STANDINGS.items():
        assert f"<h1>{words}</h1>" in document(replace(good(), standing=standing))


def test_the_first_view_answers_the_three_questions() -> None:
    text = re.sub(r"\s+", " ", " ".join(Tags(document(good())).words))
    first = text[: text.index("What the gates say")].replace("\u00a0", " ")
    for words in ("Going well", "75 % production", "25 % pull request 35", "What happens next", "Promotion", "0:45"):
        assert words in first


def test_it_says_how_to_stop_it_while_there_is_something_to_stop() -> None:
    assert "/revert" in document(good())
    assert "pipeline-step revert --pr 35" in document(paused())
    assert "How to stop it" not in document(bad())
    assert "as a comment" not in document(replace(good(), comments=False))


def test_a_list_leads_to_each_rollout() -> None:
    tags = Tags(listing("shop", [good(), replace(bad(), preview="shop.<pr>", pull_request=36)]))
    assert [target for target in tags.links if target.startswith("/")] == ["/shop.shop-pr-35", "/shop.%3Cpr%3E"]
    text = " ".join(tags.words)
    assert "Going well" in text and "Reverted" in text
    assert "Nothing is being rolled out" in listing("shop", [])
    assert "the API is away" in listing("shop", [], problem="the API is away")


def test_a_page_without_any_look_says_so() -> None:
    page = document(replace(good(), samples=(), events=(), gates=(), if_due="", ahead=None, plan=(), ramp=30, then=""))
    assert '<svg class="chart"' not in page
    assert "up to 30" in page
    assert "The gates are asked" in page
