"""Pure: turn a validation error into one sentence with the path, the value and what is valid there."""

from __future__ import annotations

import difflib
import re
import types
import typing
from collections.abc import Iterator
from typing import Any

import msgspec

from pipeline_step.settings import WORDS


def explain(message: str, data: Any, shape: Any) -> str:
    """The library's message about `data`, which should have had `shape`, in words that help.

    The library writes "PROBLEM - at `$.path[0]`", and leaves the path away at the top.
    """
    problem, _, tail = message.partition(" - at `")
    path = list(_parts(tail.rstrip("`")))
    where = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path).lstrip(".")
    value, shape = _descend(data, shape, path)
    keys = list(_keys(shape))

    if unknown := re.match(r"Object contains unknown field `(.*)`", problem):
        close = difflib.get_close_matches(unknown[1], keys, 1)
        hint = f"; did you mean {close[0]}?" if close else "."
        return f"{f'{where}.' if where else ''}{unknown[1]}: unknown key{hint} Valid here: {', '.join(keys)}"
    if missing := re.match(r"Object missing required field `(.*)`", problem):
        return f"{f'{where}.' if where else ''}{missing[1]}: this key is needed. Valid here: {', '.join(keys)}"
    for pattern, words in WORDS.items():
        if pattern in problem:
            problem = f"expected {words}"
    choices = list(_choices(shape))
    valid = f"; valid: {', '.join(choices)}" if choices else ""
    problem = problem[:1].lower() + problem[1:]
    return f"{where or 'the file'}: {problem}{valid}; given: {_short(value)}"


def _parts(path: str) -> Iterator[str | int]:
    for key, index in re.findall(r"\.([^.\[\]]+)|\[(\d+)\]", path):
        yield int(index) if index else key


def _descend(data: Any, shape: Any, path: list[str | int]) -> tuple[Any, Any]:
    """The value at the path, and the type that it should have had."""
    for part in path:
        try:
            data = data[part]
        except (KeyError, IndexError, TypeError):
            data = None
        shape = _inside(shape, part)
    return data, shape


def _inside(shape: Any, part: str | int) -> Any:
    for option in _options(shape):
        if isinstance(part, int) and typing.get_origin(option) in (list, tuple):
            return typing.get_args(option)[0]
        for field in _fields(option):
            if field.encode_name == part:
                return field.type
    return Any


def _options(shape: Any) -> Iterator[Any]:
    """The plain types inside unions and annotations."""
    origin = typing.get_origin(shape)
    if origin is typing.Annotated:
        yield from _options(typing.get_args(shape)[0])
    elif origin in (typing.Union, types.UnionType):
        for option in typing.get_args(shape):
            yield from _options(option)
    else:
        yield shape


def _fields(shape: Any) -> tuple[msgspec.structs.FieldInfo, ...]:
    if isinstance(shape, type) and issubclass(shape, msgspec.Struct):
        return msgspec.structs.fields(shape)
    return ()


def _keys(shape: Any) -> Iterator[str]:
    for option in _options(shape):
        yield from (field.encode_name for field in _fields(option))


def _choices(shape: Any) -> Iterator[str]:
    """The values of an enumeration."""
    for option in _options(shape):
        if isinstance(option, type) and hasattr(option, "__members__"):
            yield from (str(member.value) for member in option.__members__.values())


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."
