"""Previews for matching requests only, and for copies: the promises of routers hold for them as well."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline_step.errors import ConfigError
from pipeline_step.model import Object, Target
from pipeline_step.traffic import ROUTERS
from pipeline_step.traffic.audience import OURS, Match, share_of_requests
from tests.traffic.routes import HTTP_ROUTE, STABLE, VIRTUAL_SERVICE, WORLDS, Objects, planned, preview

MATCH = {"headers": {"X-Tester": "yes"}, "cookies": {"side": "new.er"}, "query": {"beta": "1"}}
PLACES = {"istio": ("http", {"virtual_service": "shop"}), "gateway_api": ("rules", {"http_route": "shop"})}


def target(router: str, **more: Any) -> Target:
    settings = msgspec.convert({**PLACES[router][1], **more}, ROUTERS[router].Settings)
    return Target(app="shop", stable=STABLE, router=router, route=settings)


def rules(router: str, objects: Objects) -> list[Object]:
    ref = VIRTUAL_SERVICE if router == "istio" else HTTP_ROUTE
    found: list[Object] = objects[ref]["spec"][PLACES[router][0]]
    return found


def given_of(router: str) -> st.SearchStrategy[Objects]:
    world = WORLDS[router]
    found = world.given
    if router == "istio":
        found = found.filter(lambda objects: "http" in objects[VIRTUAL_SERVICE]["spec"])
    return found.map(lambda objects: world.completed(objects))


def check(router: str, wanted: Target, data: st.DataObject, seen: Callable[[Objects, Objects, Any], None]) -> None:
    """Any shares one after another: nothing given is changed, the same again changes nothing, none restores all."""
    complete = WORLDS[router].completed
    original = data.draw(given_of(router))
    objects = original
    for shares in data.draw(st.lists(WORLDS[router].shares(original), min_size=1, max_size=3)):
        before = copy.deepcopy(objects)
        after = complete(planned(wanted, objects, shares))
        assert objects == before
        assert planned(wanted, after, shares) == after
        assert ROUTERS[router].routed(wanted, after) == ROUTERS[router].routed(wanted, original)
        seen(original, after, {backend: share for backend, share in shares.items() if share})
        objects = after
    assert planned(wanted, objects, {}) == original


@pytest.mark.parametrize("router", PLACES)
@given(st.data())
def test_a_rule_of_ours_stands_before_the_users_which_stays(router: str, data: st.DataObject) -> None:
    wanted = target(router, match=MATCH)

    def seen(original: Objects, after: Objects, shares: Any) -> None:
        ours = [rule for rule in rules(router, after) if rule.get("name") == OURS]
        assert [rule for rule in rules(router, after) if rule.get("name") != OURS] == rules(router, original)
        assert len(ours) == bool(shares)
        weights = ROUTERS[router].weights(wanted, after)
        assert {backend: weights[str(backend)] for backend in shares} == shares

    check(router, wanted, data, seen)


@pytest.mark.parametrize("router", PLACES)
@given(st.data())
def test_a_mirror_changes_no_weight(router: str, data: st.DataObject) -> None:
    wanted = target(router, mirror=True)
    place, listed = ("mirrors", "route") if router == "istio" else ("filters", "backendRefs")

    def seen(original: Objects, after: Objects, shares: Any) -> None:
        for theirs, now in zip(rules(router, original), rules(router, after), strict=True):
            assert now[listed] == theirs[listed]
        mirrors = rules(router, after)[0].get(place) or []
        shown = [m["percentage"]["value"] if router == "istio" else m["requestMirror"]["percent"] for m in mirrors]
        assert sorted(shown) == sorted(shares.values())

    check(router, wanted, data, seen)


@pytest.mark.parametrize("router", PLACES)
@given(st.data())
def test_a_change_of_kind_in_mid_rollout_leaves_nothing_behind(router: str, data: st.DataObject) -> None:
    kinds = [target(router), target(router, match=MATCH), target(router, mirror=True)]
    original = data.draw(given_of(router))
    objects = original
    for wanted in data.draw(st.lists(st.sampled_from(kinds), min_size=1, max_size=4)):
        objects = WORLDS[router].completed(planned(wanted, objects, {preview(1): 20}))
    assert planned(wanted, objects, {}) == original


def test_the_users_own_mirrors_and_conditions_stay() -> None:
    theirs = {"destination": {"host": "log.prod"}, "percentage": {"value": 5}}
    route = {
        "match": [{"uri": {"prefix": "/a"}, "headers": {"x-v": {"exact": "2"}}}, {"uri": {"prefix": "/b"}}],
        "mirrors": [theirs],
        "route": [{"destination": {"host": "shop"}}],
    }
    objects = {VIRTUAL_SERVICE: {"metadata": {"name": "shop", "namespace": "prod"}, "spec": {"http": [route]}}}
    after = planned(target("istio", mirror=True), objects, {preview(1): 7})
    assert rules("istio", after)[0]["mirrors"] == [
        theirs,
        {"destination": {"host": preview(1).host}, "percentage": {"value": 7}},
    ]
    ours = rules("istio", planned(target("istio", match=MATCH), objects, {preview(1): 7}))[0]
    cookie = {"regex": r"(.*;\s*)?side=new\.er(\s*;.*)?"}
    wanted = {"x-tester": {"exact": "yes"}, "cookie": cookie}
    assert ours["match"] == [
        {
            "uri": {"prefix": "/a"},
            "headers": {"x-v": {"exact": "2"}, **wanted},
            "queryParams": {"beta": {"exact": "1"}},
        },
        {"uri": {"prefix": "/b"}, "headers": wanted, "queryParams": {"beta": {"exact": "1"}}},
    ]


def test_what_can_not_be_is_refused_in_words() -> None:
    metadata = {"name": "shop", "namespace": "prod"}
    route = {"match": [{"headers": {"x-tester": {"exact": "no"}}}], "route": [{"destination": {"host": "shop"}}]}
    for spec, more, words in (
        ({"http": [route]}, {"match": MATCH}, "the route matches x-tester itself"),
        ({"http": [{**route, "mirror": {"host": "log"}}]}, {"mirror": True}, "write it under `mirrors`"),
        ({"tcp": [{"route": route["route"]}]}, {"mirror": True}, "for http routes, and stable is led to by tcp"),
    ):
        objects = {VIRTUAL_SERVICE: {"metadata": metadata, "spec": spec}}
        with pytest.raises(ConfigError, match=words):
            planned(target("istio", **more), objects, {preview(1): 10})


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"match": {}}, "at least one of headers, cookies and query"),
        ({"match": {"cookies": {"a": "1", "b": "2"}}}, "one cookie"),
        ({"match": {"cookies": {"a": "1"}, "headers": {"Cookie": "x"}}}, "one of them is enough"),
        ({"match": {"headers": {"a": "1"}}, "mirror": True}, "not both"),
    ],
)
def test_settings_that_make_no_sense_are_refused(more: dict[str, Any], words: str) -> None:
    for router in PLACES:
        with pytest.raises(msgspec.ValidationError, match=words):
            target(router, **more)


def test_the_share_of_requests_that_is_to_be_expected() -> None:
    assert share_of_requests(target("istio").route, 20) == 20
    assert share_of_requests(target("istio", mirror=True).route, 100) == 50
    assert share_of_requests(target("istio", match=msgspec.to_builtins(Match(headers={"a": "1"}))).route, 20) is None
