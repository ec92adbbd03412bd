"""What a person reads in a real Chromium: on a screen and on a phone, in light and in dark, and by a screen reader."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from pipeline_step.page.document import document
from pipeline_step.page.history import STANDINGS, History
from pipeline_step.page.server import serving
from tests import npm

from .browser import Browser, chromium, program
from .histories import HISTORIES, bad, good, paused

pytestmark = pytest.mark.skipif(not program(), reason="no Chromium here; `apt-get install chromium` brings one")
PHONE = {"width": 360, "height": 800}
VIEWS: dict[str, dict[str, Any]] = {"light": {}, "dark": {"dark": True}, "phone": PHONE, "tiny": {"width": 320}}
_pages = itertools.count()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as running:
        yield running


@pytest.fixture
def show(browser: Browser, tmp_path: Path) -> Any:
    """Open a history's page from a file, as a person opens what a pipeline has kept."""

    def opened(history: History, **view: Any) -> Browser:
        file = tmp_path / f"page-{next(_pages)}.html"
        file.write_text(document(history), encoding="utf-8")
        browser.open(file.as_uri(), **view)
        return browser

    return opened


def text(browser: Browser, selector: str = "main") -> str:
    """What is read, line by line."""
    said = browser.run(f"document.querySelector({json.dumps(selector)}).innerText")
    return str(said).replace("\u00a0", " ")


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("name", HISTORIES)
def test_everybody_reads_the_same(show: Any, name: str, view: str) -> None:
    history = HISTORIES[name]()
    page = show(history, **VIEWS[view])
    read = text(page)
    for words in (STANDINGS[history.standing], f"{100 - history.weight} %", f"{history.weight} %", "What happens next"):
        assert words in read
    for heading in ("What the gates say", "The preview's share of the requests", "What happened, the newest first"):
        assert heading in read
    assert page.run("document.documentElement.scrollWidth <= document.documentElement.clientWidth"), (
        "no scrolling aside"
    )
    assert page.events("Network.requestWillBeSent")[1:] == [], "it needs nothing else than itself"
    said = [entry["entry"]["text"] for entry in page.events("Log.entryAdded")]
    assert said + page.events("Runtime.exceptionThrown") == []


@pytest.mark.parametrize("view", ["light", "phone"])
@pytest.mark.parametrize("name", HISTORIES)
def test_the_first_view_has_all_three_answers(show: Any, name: str, view: str) -> None:
    page = show(HISTORIES[name](), **VIEWS[view])
    for part in ("h1", ".sides", ".next .what"):
        assert page.run(f"document.querySelector({json.dumps(part)}).getBoundingClientRect().bottom <= innerHeight"), (
            part
        )


def test_dark_is_dark_and_light_is_light(show: Any) -> None:
    def brightness(dark: bool) -> float:
        page = show(good(), dark=dark)
        colour = page.run("getComputedStyle(document.body).backgroundColor")
        return sum(map(int, colour.removeprefix("rgb(").rstrip(")").split(","))) / 3

    assert brightness(dark=True) < 60 < 200 < brightness(dark=False)


def test_a_screen_reader_is_given_the_same(show: Any) -> None:
    nodes = show(good()).nodes()
    roles = [(node["role"], node["name"].replace("\u00a0", " ")) for node in nodes]
    assert ("heading", "Going well") in roles
    landmarks = [role for role, _ in roles if role in ("banner", "main", "contentinfo")]
    assert landmarks == ["banner", "main", "contentinfo"]
    headings = [(node["level"], node["name"]) for node in nodes if node["role"] == "heading"]
    assert [level for level, _ in headings].count(1) == 1 and headings[0][0] == 1
    assert {level for level, _ in headings} == {1, 2}
    pictures = [name for role, name in roles if role in ("image", "img", "graphics-document")]
    assert len(pictures) == 3
    assert any("24.9 % of the requests were counted there" in name for name in pictures)
    assert any("a promotion needs 20:1" in name for name in pictures)
    lists = [name for role, name in roles if role == "list"]
    assert "Who has which share of the requests" in lists and "The steps of the strategy" in lists
    assert ("StaticText", "25 % – now") in roles, "the step that it is at is said, not only drawn"


def test_charts_are_tables_too(show: Any) -> None:
    page = show(good())
    assert page.run("document.querySelectorAll('figure').length") == 3
    page.run("document.querySelectorAll('details').forEach(one => { one.open = true })")
    tables = page.run(
        "[...document.querySelectorAll('figure table')].map(one => [...one.rows].map(row => "
        "[...row.cells].map(cell => cell.innerText)))"
    )
    shares, evidence, rates = ([[cell.replace("\u00a0", " ") for cell in row] for row in table] for table in tables)
    assert shares[0] == ["time", "set", "counted"]
    assert shares[-1][1:] == ["25 %", "24.9 %"]
    assert evidence[-1][1:] == ["1:2.2", "38:1"]
    assert rates[-1][1].startswith("0.162 %, from")
    assert all(len(table) <= 25 for table in tables)
    assert page.run("document.documentElement.scrollWidth <= document.documentElement.clientWidth")


def test_what_is_written_by_users_is_shown_and_not_run(show: Any) -> None:
    hostile = "<img src=x onerror=document.title='owned'></script><script>document.title='owned'</script>"
    page = show(replace(bad(), reason=hostile, by=hostile, sha=hostile))
    assert hostile in text(page)
    assert "owned" not in page.run("document.title")
    assert page.run("document.querySelectorAll('img, script:not([type])').length") == 0


@pytest.fixture(scope="module")
def axe() -> str:
    modules = npm.installed(Path(__file__).parent, "the rules of accessibility can't be had")
    return (modules / "axe-core/axe.min.js").read_text(encoding="utf-8")


@pytest.mark.contract
@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("name", HISTORIES)
def test_axe_finds_no_barrier(show: Any, axe: str, name: str, view: str) -> None:
    page = show(HISTORIES[name](), **VIEWS[view])
    page.run("document.querySelectorAll('details').forEach(one => { one.open = true })")
    page.run(axe + "; 0")
    found = page.run("axe.run().then(result => result.violations)")
    barriers = [(one["id"], one["help"], [node["html"][:200] for node in one["nodes"]][:3]) for one in found]
    assert barriers == []


def test_every_standing_can_be_read_in_both_colours(show: Any, axe: str) -> None:
    for standing, dark in itertools.product(STANDINGS, (False, True)):
        page = show(replace(paused(), standing=standing), dark=dark)
        page.run(axe + "; 0")
        found = page.run(
            "axe.run({runOnly: ['color-contrast']}).then(result => result.violations.map(one => one.nodes))"
        )
        assert found == [], f"{standing}, {'dark' if dark else 'light'}"


def test_a_served_page_keeps_itself_up_to_date(browser: Browser) -> None:
    shown = [good()]
    with serving(0, lambda path, refresh: document(shown[0], refresh=refresh) if path == "/" else "") as address:
        browser.open(address)
        browser.run("document.querySelector('details').open = true")
        browser.run("document.querySelectorAll('summary')[1].focus()")
        shown[0] = bad()
        browser.wait_for("document.querySelector('h1').textContent === 'Reverted'")
        assert browser.run("document.title").startswith("Reverted")
        assert browser.run("document.querySelector('[role=status]').textContent").startswith("Reverted")
        assert browser.run("document.querySelector('details').open"), "what was unfolded stays so"
        assert browser.run("document.activeElement === document.querySelectorAll('summary')[1]"), (
            "nor is the focus lost"
        )
        assert [entry["entry"]["text"] for entry in browser.events("Log.entryAdded")] == [], (
            "nothing is refused by policy"
        )
    browser.wait_for("document.querySelector('[role=status]').innerText === 'The server does not answer'")
