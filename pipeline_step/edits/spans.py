"""Pure: where a value stands in a YAML file, and putting another in its place.

The parser only says at which characters a value begins and ends; what is written is the user's own text with those
characters replaced. So comments, order, quotes, line ends and layout survive by construction. What was written is
parsed again, and where anything else means something else then, nothing is written.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import yaml

from pipeline_step.errors import ConfigError

MOST_VALUES = 1_000_000  # values of a file, aliases written out; a file that has more was made to have more
_TEMPLATE = re.compile(r"{{.*?}}", re.DOTALL)
_PART = re.compile(r"((?:[^.\[\]\\]|\\.)+)|\[(\d+)\]|\[((?:[^=\]\\]|\\.)+)=((?:[^\]\\]|\\.)*)\]")

Path = tuple[str | int, ...]


class Part(NamedTuple):
    """A step of a key path: a key, the number of an item, or the item whose key has a value."""

    key: str = ""
    number: int = -1
    value: str | None = None

    def __str__(self) -> str:
        if self.number >= 0:
            return f"[{self.number}]"
        return self.key if self.value is None else f"[{self.key}={self.value}]"


class _Loader(yaml.SafeLoader):
    """One that lets an anchor be used again for something else, as YAML 1.2 does."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        event = self.peek_event()  # type: ignore[no-untyped-call]
        if isinstance(event, yaml.NodeEvent) and not isinstance(event, yaml.AliasEvent):
            self.anchors.pop(event.anchor, None)
        return super().compose_node(parent, index)


def key_path(text: str) -> tuple[Part, ...]:
    """`image.tag`, `images[0].tag` or `containers[name=shop].image`; a dot in a key is written as `\\.`."""
    parts: list[Part] = []
    position = 0
    while position < len(text):
        match = _PART.match(text, position)
        if not match:
            break
        plain, index, key, value = (re.sub(r"\\(.)", r"\1", group or "") for group in match.groups())
        if match[1] is not None:
            parts.append(Part(key=plain))
        elif match[2] is not None:
            parts.append(Part(number=int(index)))
        else:
            parts.append(Part(key=key, value=value))
        position = match.end()
        if text[position : position + 1] == "." and position + 1 < len(text):
            position += 1
    if position < len(text) or not parts:
        raise ValueError(f"{text!r} is no key path; valid are such as image.tag, list[0].tag and list[name=shop].tag")
    return tuple(parts)


def documents(text: str) -> list[yaml.Node]:
    """The documents of a file; raises `ConfigError` with line and column where it is not YAML.

    What stands in `{{ }}` is taken for plain text, and a line of nothing else for a comment, as in Helmfile's files.
    """
    try:
        found = list(yaml.compose_all(_TEMPLATE.sub(_masked(text), text), Loader=_Loader))
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        raise ConfigError(f"{where}this is not YAML: {getattr(error, 'problem', None) or error}") from error
    return [node for node in found if node is not None]


def _masked(text: str) -> Any:
    def mask(match: re.Match[str]) -> str:
        before = text[text.rfind("\n", 0, match.start()) + 1 : match.start()]
        after = text[match.end() :].partition("\n")[0]
        alone = not before.strip() and not after.strip()
        filler = re.sub(r"[^\r\n]", "x", match[0])
        return re.sub(r"(?m)^.", "#", filler) if alone else filler

    return mask


def entries(node: yaml.Node | None) -> dict[str, yaml.Node]:
    """The values of a mapping by key, as a parser would have it: the last of several counts. Empty for all else."""
    if not isinstance(node, yaml.MappingNode):
        return {}
    return {key.value: value for key, value in node.value if isinstance(key, yaml.ScalarNode)}


def items(node: yaml.Node | None) -> list[yaml.Node]:
    """The items of a sequence; none for all else."""
    return list(node.value) if isinstance(node, yaml.SequenceNode) else []


def word(node: yaml.Node | None) -> str:
    """A scalar's text; "" for all else."""
    return str(node.value) if isinstance(node, yaml.ScalarNode) else ""


def find(node: yaml.Node, path: tuple[Part, ...]) -> yaml.Node:
    """The node at a key path; raises `ConfigError` that says what is there instead."""
    for number, part in enumerate(path):
        here = "".join(f".{p}" if p.number < 0 and p.value is None else str(p) for p in path[:number]).lstrip(".")
        where = here or "the document"
        if part.number >= 0 or part.value is not None:
            listed = items(node)
            if part.number >= 0:
                fitting = listed[part.number : part.number + 1]
            else:
                fitting = [item for item in listed if word(entries(item).get(part.key)) == part.value]
            if len(fitting) != 1:
                raise ConfigError(f"{where} has {len(listed)} items, of which {len(fitting)} are {part}")
            node = fitting[0]
            continue
        found = entries(node)
        if part.key not in found:
            raise ConfigError(f"{where} has no key {part.key!r}; it has: {', '.join(sorted(found)) or 'none'}")
        node = found[part.key]
    return node


def put(text: str, node: yaml.Node, value: str) -> str:
    """The text with a scalar replaced, in its own style of quotes; unchanged where it has that value."""
    if not isinstance(node, yaml.ScalarNode):
        raise ConfigError(f"{_at(node)}: expected one value here, not a list or a mapping")
    start, end = node.start_mark.index, node.end_mark.index
    if "{{" in text[start:end]:
        raise ConfigError(
            f"{_at(node)}: {text[start:end]!r} is filled in from elsewhere; name the file that has the value"
        )
    if node.value == value:
        return text
    if node.style in ("|", ">"):
        raise ConfigError(
            f"{_at(node)}: this value is a text block, which no version or image is; write it on its line"
        )
    anchor = re.match(r"&\S+\s+", text[start:end])
    start += anchor.end() if anchor else 0
    if text[start] == "!":
        raise ConfigError(
            f"{_at(node)}: this value has a tag ({text[start:end]}), which says what it has to be; remove it"
        )
    changed = text[:start] + spelled(value, node.style) + text[end:]
    _check_only(text, changed, {node.start_mark.index})
    return changed


def spelled(value: str, style: str | None) -> str:
    """A value as a scalar: in these quotes, or plain where it is read as that text without quotes."""
    if style == "'":
        return "'" + value.replace("'", "''") + "'"
    if style == '"' or re.search(r"[,\[\]{}#\s]", value) or _loaded(value) != value:
        return json.dumps(value, ensure_ascii=False)
    return value


def _loaded(value: str) -> Any:
    try:
        return yaml.safe_load(f"k: {value}")["k"]
    except (yaml.YAMLError, TypeError, KeyError):
        return None


def add_entry(text: str, mapping: yaml.Node, key: str, value: str) -> str:
    """The text with one more entry at the end of a mapping that has some: on a line of its own, or in its braces."""
    if not isinstance(mapping, yaml.MappingNode) or not mapping.value:
        raise ConfigError(f"{_at(mapping)}: expected a mapping to add {key} to")
    last = mapping.value[-1][1]
    if mapping.flow_style:
        end = content_end(text, last)
        return f"{text[:end]}, {key}: {spelled(value, None)}{text[end:]}"
    indent = " " * mapping.value[0][0].start_mark.column
    return add_line(text, content_end(text, last), f"{indent}{key}: {spelled(value, None)}")


def add_line(text: str, index: int, line: str) -> str:
    """The text with a line after the one in which the character at `index` stands."""
    newline = "\r\n" if "\r\n" in text else "\n"
    end = text.find("\n", index)
    if end < 0:
        return f"{text}{newline}{line}"
    return f"{text[: end + 1]}{line}{newline}{text[end + 1 :]}"


def content_end(text: str, node: yaml.Node) -> int:
    """Where a node's own text ends: a block's end mark stands behind the comments and empty lines after it."""
    while isinstance(node, yaml.CollectionNode) and not node.flow_style and node.value:
        node = node.value[-1][1] if isinstance(node, yaml.MappingNode) else node.value[-1]
    start, end = int(node.start_mark.index), int(node.end_mark.index)
    return start + len(text[start:end].rstrip())


def _at(node: yaml.Node) -> str:
    return f"line {node.start_mark.line + 1}, column {node.start_mark.column + 1}"


def _check_only(before: str, after: str, starts: set[int]) -> None:
    """Raise `ConfigError` where more than the scalars that begin there mean something else now."""
    old = [leaf for document in documents(before) for leaf in _leaves(document)]
    new = [leaf for document in documents(after) for leaf in _leaves(document)]
    changed = [one for one, other in zip(old, new, strict=False) if one[:2] != other[:2]]
    if len(old) != len(new) or len(changed) != len(starts):
        places = ", ".join(".".join(map(str, path)) for path, _, _ in changed[:5])
        raise ConfigError(
            f"this value is shared by an anchor: it would also change elsewhere ({places}); edit it by hand"
        )


def _leaves(document: yaml.Node) -> Iterator[tuple[Path, str, int]]:
    """Every scalar with its path and where it begins, with aliases written out."""
    count = 0
    stack: list[tuple[Path, yaml.Node, frozenset[int]]] = [((), document, frozenset())]
    while stack:
        path, node, above = stack.pop()
        count += 1
        if count > MOST_VALUES or id(node) in above:
            raise ConfigError("this file's anchors lead in circles, or to more values than a file can have")
        inside = above | {id(node)} if isinstance(node, yaml.CollectionNode) else above
        if isinstance(node, yaml.MappingNode):
            stack += [((*path, word(key)), value, inside) for key, value in reversed(node.value)]
        elif isinstance(node, yaml.SequenceNode):
            stack += [((*path, index), value, inside) for index, value in reversed(list(enumerate(node.value)))]
        else:
            yield path, f"{node.tag} {node.value}", node.start_mark.index
