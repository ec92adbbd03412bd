"""Previews for some requests only, or for copies of them: what routers with lists of rules share. Pure.

With `match` (A/B) a rule of ours stands before the user's, which stays as it is: only requests that match reach
previews. With `mirror` the user's rule answers every request, and previews get copies whose answers nobody sees.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Sequence
from typing import Annotated

import msgspec

from pipeline_step.errors import ConfigError
from pipeline_step.model import Object
from pipeline_step.settings import Strict, says
from pipeline_step.traffic.weighted import Key, annotate

OURS = "pipeline-step"
"""The name of the rule that stands before the user's."""
MIRRORS = "pipeline-step.dev/mirrors"


class Match(Strict, frozen=True):
    """The requests that may reach a preview: all of these headers, cookies and query parameters, to the letter."""

    headers: Annotated[dict[str, str], says("header and value")] = msgspec.field(default_factory=dict)
    cookies: Annotated[dict[str, str], says("one cookie and its value")] = msgspec.field(default_factory=dict)
    query: Annotated[dict[str, str], says("query parameter and value")] = msgspec.field(default_factory=dict)

    def __post_init__(self) -> None:
        if not (self.headers or self.cookies or self.query):
            raise ValueError("match needs at least one of headers, cookies and query")
        if len(self.cookies) > 1:
            raise ValueError("match can name one cookie, since all cookies come in one header")
        if self.cookies and "cookie" in {name.lower() for name in self.headers}:
            raise ValueError("match names the header cookie and a cookie; one of them is enough")

    @property
    def cookie(self) -> str:
        """A regular expression for the whole Cookie header; "" where no cookie is asked for."""
        return "".join(
            rf"(.*;\s*)?{re.escape(name)}={re.escape(value)}(\s*;.*)?" for name, value in self.cookies.items()
        )


def exclusive(match: Match | None, mirror: bool) -> None:
    """Raises `ValueError` where both are wanted."""
    if match and mirror:
        raise ValueError("one of match and mirror can be given, not both")


def with_ours(rules: Sequence[Object], chosen: int, ours: Object | None) -> list[Object]:
    """The rules with `ours` right before the chosen one, instead of what stood there of ours."""
    made = [] if ours is None else [ours]
    before = [rule for rule in rules[:chosen] if rule.get("name") != OURS]
    after = [rule for rule in rules[chosen:] if rule.get("name") != OURS]
    return [*before, *made, *after]


def ours_in(rules: Sequence[Object]) -> Object | None:
    """Our rule, where it is there."""
    return next((rule for rule in rules if rule.get("name") == OURS), None)


def merged(where: str, theirs: Collection[str], wanted: Collection[str]) -> None:
    """Raises `ConfigError` where the user's rule asks for the same names itself."""
    if both := sorted(name for name in wanted if name in theirs):
        raise ConfigError(f"{where}: the route matches {', '.join(both)} itself, so match can't ask for it as well")


def mirrored(
    routed: Object, entries: list[Object], key: Callable[[Object], Key | None], wanted: dict[Key, Object]
) -> list[Object]:
    """The entries with our mirrors as wanted, the user's as they are; ours are remembered on `routed`, in place."""
    text = (routed["metadata"].get("annotations") or {}).get(MIRRORS)
    known = {Key(*one) for one in msgspec.json.decode(text, type=list[tuple[str, int, str]])} if text else set()
    theirs = [entry for entry in entries if key(entry) not in known]
    there = {one: entry for entry in entries if (one := key(entry)) in known}
    taken = {key(entry) for entry in theirs}
    # Ours that are there stay as the API server has completed them.
    ours = {one: _over(there.get(one, {}), entry) for one, entry in wanted.items() if one not in taken}
    annotate(routed, MIRRORS, json.dumps([list(one) for one in ours], separators=(",", ":")) if ours else None)
    return theirs + list(ours.values())


def _over(held: Object, wanted: Object) -> Object:
    """What is wanted, laid over what is there."""
    both = {name: _over(held[name], value) for name, value in wanted.items() if isinstance(held.get(name), dict)}
    return {**held, **wanted, **both}


def share_of_requests(route: object, weight: int) -> float | None:
    """The percentage of both sides' requests that should be the preview's; None where nobody can know.

    `route` are a router's settings. A mirror's copies come on top of what stable answers.
    """
    if getattr(route, "match", None):
        return None
    return 100 * weight / (100 + weight) if getattr(route, "mirror", False) else float(weight)
