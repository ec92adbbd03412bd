"""Which of a route's parts to work on: the one that leads to stable, and one clear error where it can't be told."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Protocol, TypeVar

from pipeline_step.errors import ConfigError
from pipeline_step.model import Backend


class SeveralError(ConfigError):
    """Several parts of a route lead to stable, and none is chosen."""


class Labelled(Protocol):
    """A part of a route, with the name that people know it by."""

    @property
    def label(self) -> str:
        """The part's own name, or its place such as http[0]."""


P = TypeVar("P", bound=Labelled)


def leads_to(stable: Backend, backend: Backend | None) -> bool:
    """Whether a destination is stable; a port or subset counts where stable names one."""
    return (
        backend is not None
        and (backend.service, backend.namespace) == (stable.service, stable.namespace)
        and stable.port in (None, backend.port)
        and stable.subset in (None, backend.subset)
    )


def choose(
    where: str,
    stable: Backend,
    leading: Sequence[P],
    is_chosen: Callable[[P], bool],
    *,
    hosts: Collection[str],
    asked: Mapping[str, object],
    hint: str,
) -> P:
    """The only part among those leading to stable that is chosen; raises `ConfigError` for none or several.

    `hosts` are all destinations of the route, `asked` the settings that choose, and `hint` says how to choose.
    """
    if not leading:
        there = ", ".join(sorted(hosts)) or "none"
        raise ConfigError(f"{where}: no route leads to {stable.host}; its destinations are: {there}")
    chosen = [part for part in leading if is_chosen(part)]
    labels = ", ".join(part.label for part in leading)
    if not chosen:
        wanted = ", ".join(f"{key} {value!r}" for key, value in asked.items() if value)
        raise ConfigError(f"{where}: no route that leads to {stable.host} matches {wanted}; there are: {labels}")
    if len(chosen) > 1:
        raise SeveralError(f"{where}: {len(chosen)} routes lead to {stable.host}: {labels}; {hint}")
    return chosen[0]
