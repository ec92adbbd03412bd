"""What `status --serve` shows: the record, the page that a run keeps, and nothing to who should not read it."""

from __future__ import annotations

import http.client
import re
from collections.abc import Mapping
from dataclasses import replace
from urllib.parse import urlsplit

import pytest
from msgspec.structs import replace as changed

from pipeline_step.errors import ClusterError, ConfigError
from pipeline_step.model import Rollout
from pipeline_step.page.document import document, history_in
from pipeline_step.page.history import History, decoded
from pipeline_step.page.server import serving
from pipeline_step.page.watching import Watch
from pipeline_step.route import Seen
from pipeline_step.simulate.traffic import Scenario

from .histories import BEGAN, Played, configured, good


def ask(address: str, path: str = "/", method: str = "GET", **headers: str) -> tuple[int, dict[str, str], str]:
    """Status, headers and body."""
    connection = http.client.HTTPConnection(urlsplit(address).netloc, timeout=30)
    connection.request(method, path, headers=headers)
    answer = connection.getresponse()
    found = answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read().decode()
    connection.close()
    return found


def test_pages_are_served_to_this_machine_only() -> None:
    with serving(0, lambda path, refresh: document(good(), refresh=refresh) if path == "/" else "") as address:
        assert urlsplit(address).hostname == "127.0.0.1"
        status, headers, page = ask(address)
        assert status == 200
        assert decoded(history_in(page)) == good()
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy and "frame-ancestors 'none'" in policy and "unsafe-eval" not in policy
        assert headers["cache-control"] == "no-store"
        assert "access-control-allow-origin" not in headers
        port = urlsplit(address).port
        assert ask(address, Host=f"localhost:{port}")[0] == 200
        for foreign in ("evil.example", f"evil.example:{port}", "127.0.0.1", f"127.0.0.1.evil.example:{port}", ""):
            status, _, text = ask(address, Host=foreign)
            assert status == 421 and "shop" not in text
        assert ask(address, "/elsewhere")[0] == 404
        assert ask(address, "/../../etc/passwd")[0] == 404
        assert ask(address, method="HEAD")[0::2] == (200, "")
        assert ask(address, method="POST")[0] == 501
        with pytest.raises(ConfigError, match="give another port"), serving(port or 0, lambda path, refresh: ""):
            pass
    with pytest.raises(OSError):
        ask(address)


class Bed:
    """A route and a kept page that change between looks."""

    def __init__(self) -> None:
        self.rollouts: dict[str, Rollout] = {}
        self.error: ClusterError | None = None
        self.kept = ""
        self.watch = Watch(configured(), self.observe, lambda: self.kept)

    def observe(self) -> Mapping[str, Seen]:
        if self.error:
            raise self.error
        return {"": Seen({}, {}, self.rollouts, {})}

    def shown(self, path: str = "/") -> History:
        found = decoded(history_in(self.watch.page(path, "")))
        assert found
        return found


def words(page: str) -> str:
    return re.sub(r"<[^>]+>", " ", page.partition("<main")[2]).replace("\u00a0", " ")


def test_looks_become_a_history_until_the_record_is_gone() -> None:
    bed, played = Bed(), Played(Scenario(rps=120), configured())
    bed.watch.look(BEGAN)
    assert "Nothing is being rolled out" in words(bed.watch.page("/", ""))
    for _ in range(5):
        played.look()
        bed.rollouts = {str(played.rollout.preview): played.rollout}
        bed.watch.look(played.now)
    shown = bed.shown()
    assert (shown.weight, shown.standing, len(shown.samples)) == (1, "unproven yet", 5)
    assert bed.shown("/shop.shop-pr-35") == shown
    assert bed.watch.page("/other", "") == ""

    bed.error = ClusterError("the cluster does not answer")
    bed.watch.look(played.now + 5)
    assert "This is not up to date: the cluster does not answer" in bed.watch.page("/", "")
    assert bed.shown() == shown, "what was seen is still there"

    bed.error, bed.rollouts = None, {}
    bed.watch.look(played.now + 10)
    assert (bed.shown().standing, bed.shown().weight) == ("over", 0)
    assert "does not say how it ended" in words(bed.watch.page("/", ""))

    again = replace(played.rollout, began=played.now + 20, since=played.now + 20)
    bed.rollouts = {str(again.preview): again}
    bed.watch.look(played.now + 25)
    assert len(bed.shown().samples) == 1, "another rollout begins anew"


def test_several_rollouts_are_a_list() -> None:
    bed, played = Bed(), Played(Scenario(rps=120), configured())
    other = replace(played.rollout, preview=replace(played.rollout.preview, namespace="shop-pr-36"), pull_request=36)
    bed.rollouts = {str(one.preview): one for one in (played.rollout, other)}
    bed.watch.look(BEGAN + 1)
    page = bed.watch.page("/", "")
    assert 'href="/shop.shop-pr-35"' in page and 'href="/shop.shop-pr-36"' in page
    assert bed.shown("/shop.shop-pr-36").pull_request == 36


def test_a_page_that_a_run_keeps_says_more_than_the_record() -> None:
    bed, played = Bed(), Played(Scenario(rps=120), configured())
    played.look()
    bed.rollouts = {str(played.rollout.preview): played.rollout}
    bed.kept = document(played.history)
    bed.watch.look(played.now + 1)
    assert bed.shown().if_due == "5 %", "only the run itself knows that"
    bed.watch.look(played.now + 600)
    assert bed.shown().updated == played.now + 600, "a page that nobody keeps any more is not shown as if it were"
    bed.kept = document(changed(played.history, app="other"))
    bed.watch.look(played.now + 601)
    assert bed.shown().app == "shop"


def test_a_weight_that_shift_gave_leads_nowhere_by_itself() -> None:
    bed, played = Bed(), Played(Scenario(rps=120), configured())
    bed.rollouts = {"x": replace(played.rollout, weight=20)}
    bed.watch.look(BEGAN + 1)
    assert (bed.shown().then, bed.shown().plan) == ("it is held there", ((20, 0.0),))
