"""Pages that the program can write itself: each command from click, each key of the configuration from the schema."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import click

from pipeline_step.alerts import ALERTS
from pipeline_step.cli import cli
from pipeline_step.config_file import schema
from pipeline_step.gates import GATES
from pipeline_step.promote import PROMOTERS
from pipeline_step.settings import WORDS
from pipeline_step.traffic import ROUTERS

TABLES: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "routers.md": ("traffic", ROUTERS),
    "gates.md": ("gates[]", GATES),
    "promoters.md": ("promote", PROMOTERS),
    "alerts.md": ("alerts[]", ALERTS),
}
"""Hand-written pages about providers, where in the configuration these are, and all that there are."""
KINDS = {"string": "text", "integer": "whole number", "number": "number", "boolean": "`true` or `false`"}
TABLE = "| Key | Meaning | Value | Default |\n|---|---|---|---|\n"


def commands(command: click.Command = cli, name: str = "", parent: click.Context | None = None) -> Iterator[Any]:
    """Every command's name below the program's, with its context."""
    context = click.Context(command, info_name=name or "pipeline-step", parent=parent, terminal_width=100)
    if name:
        yield context.command_path.removeprefix("pipeline-step "), context
    if isinstance(command, click.Group):
        for child in command.list_commands(context):
            found = command.get_command(context, child)
            assert found is not None
            yield from commands(found, child, context)


def command_pages() -> Iterator[tuple[str, str]]:
    """A page for each command: what it does, how it is called, its options."""
    for name, context in commands():
        command = context.command
        with context:
            usage = command.get_usage(context).removeprefix("Usage: ")
            rows = [row for row in map(_option, command.params) if row]
        text = f"# {name}\n\n{_prose(command.help or '')}\n\n```\n{usage}\n```\n"
        if rows:
            text += "\n| Option | Meaning | Value |\n|---|---|---|\n" + "".join(rows)
        yield name, text + "\nHow it can end, and what to do then: [operations](../operations.md).\n"


def _option(parameter: click.Parameter) -> str:
    if isinstance(parameter, click.Argument):
        name = parameter.make_metavar(click.Context(cli)) if parameter.metavar else (parameter.name or "").upper()
        return f"| `{name}` | {'' if parameter.required else 'may be left out'} | {_value(parameter.type)} |\n"
    if not isinstance(parameter, click.Option) or parameter.hidden:
        return ""
    names = ", ".join(f"`{name}`" for name in parameter.opts)
    again = "; may be given again" if parameter.multiple and "again" not in (parameter.help or "") else ""
    return (
        f"| {names} | {_cell(parameter.help or '')}{again} | {'' if parameter.is_flag else _value(parameter.type)} |\n"
    )


def _value(kind: click.ParamType) -> str:
    if isinstance(kind, click.Choice):
        return ", ".join(f"`{choice}`" for choice in kind.choices)
    if isinstance(kind, click.IntRange | click.FloatRange):
        low, high = kind.min, kind.max
        return f"{low} to {high}" if high is not None else f"{low} or more"
    return {"path": "a path", "integer": "a whole number"}.get(kind.name, kind.name)


@dataclass(kw_only=True)
class Section:
    """A mapping of the configuration: where it is, what it is, a row for each key, and the mappings below it."""

    path: str
    text: str
    rows: list[str] = field(default_factory=list)
    below: list[Section] = field(default_factory=list)

    def all(self) -> Iterator[Section]:
        """This one and everything below it."""
        yield self
        for section in self.below:
            yield from section.all()


def configuration() -> str:
    """A section for each mapping of the configuration, with a row for each key."""
    text = ""
    for section in _whole().all():
        depth = min(section.path.count(".") + 2, 5) if section.path else 2
        text += f"{'#' * depth} {section.path or 'the file'} {{#{anchor(section.path)}}}\n\n{_prose(section.text)}\n\n"
        text += TABLE + "".join(section.rows) + "\n"
    return text


def _whole() -> Section:
    document = schema()
    return _section(document, document["$defs"]["File"], "")


def anchor(path: str) -> str:
    """A section's name in links."""
    return re.sub(r"\W+", "-", path).strip("-") or "the-file"


def with_settings(place: str, text: str) -> str:
    """A page about providers with the keys of each below its heading, and headings for those that it does not name."""
    if place == "commands.md":
        rows = (
            f"| [`{name}`](commands/{name.replace(' ', '-')}.md) | {context.command.get_short_help_str(200)} |\n"
            for name, context in commands()
        )
        return f"{text}\n## All of them\n\n| Command | Does |\n|---|---|\n{''.join(rows)}"
    if place == "configuration.md":
        return f"{text}\n{configuration()}"
    if place not in TABLES:
        return text
    where, modules = TABLES[place]
    sections = {section.path: section for section in _whole().all()}
    for name, module in modules.items():
        heading = f"## {name}"
        if not re.search(rf"^{re.escape(heading)}$", text, re.M):
            text = text.rstrip() + f"\n\n{heading}\n\n{_prose(module.__doc__ or '')}\n"
        table = "".join(
            (f"**`{section.path}`**\n\n" if number else "") + TABLE + "".join(section.rows) + "\n"
            for number, section in enumerate(sections[f"{where}.{name}"].all())
        )
        text = _after_section(text, heading, table.replace("](#", "](configuration.md#"))
    return text


def _after_section(text: str, heading: str, addition: str) -> str:
    """The text with something at the end of the section of this heading."""
    before, found, after = re.split(rf"(^{re.escape(heading)}$)", text, maxsplit=1, flags=re.M)
    section, mark, rest = after.partition("\n## ")
    return f"{before}{found}{section.rstrip()}\n\n{addition}{mark}{rest}"


def _section(document: Mapping[str, Any], definition: Mapping[str, Any], path: str) -> Section:
    section = Section(path=path, text=definition.get("description", ""))
    for key, value in definition["properties"].items():
        here = f"{path}.{key}".lstrip(".")
        words = []
        for option in _options(document, value):
            if "properties" in option:
                here += "[]" if option.get("listed") else ""
                section.below.append(_section(document, option, here))
                words.append(f"[{'a list' if option.get('listed') else 'a mapping'}](#{anchor(here)})")
            else:
                words.append(_words(option))
        default = (
            "needed" if key in definition.get("required", []) else _default(value, bool(words and "](" in words[0]))
        )
        section.rows.append(f"| `{key}` | {_cell(value.get('description', ''))} | {' or '.join(words)} | {default} |\n")
    return section


def _options(document: Mapping[str, Any], value: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """What a value may be, references followed and null left out; an entry of a list is marked as `listed`."""
    if "$ref" in value:
        yield from _options(document, document["$defs"][value["$ref"].rpartition("/")[2]])
    elif "anyOf" in value:
        for one in value["anyOf"]:
            yield from _options(document, {"description": value.get("description", ""), **one})
    elif value.get("type") == "array":
        for one in _options(document, value.get("items", {})):
            yield {**one, "listed": True}
    elif value.get("type") != "null":
        yield dict(value)


def _words(option: Mapping[str, Any]) -> str:
    """A plain value in words."""
    listed = "a list of " if option.get("listed") else ""
    if "enum" in option:
        return listed + ", ".join(f"`{choice}`" for choice in option["enum"])
    if option.get("pattern") in WORDS:
        return listed + _cell(WORDS[option["pattern"]])
    if option.get("type") == "object":
        return "names and texts"
    if {"minimum", "maximum"} <= option.keys():
        return f"{listed}{option['minimum']} to {option['maximum']}"
    if "exclusiveMinimum" in option:
        return f"{listed}a number above {option['exclusiveMinimum']}"
    kind = "a time, such as 2026-12-24T00:00:00Z" if option.get("format") == "date-time" else KINDS.get(option["type"])
    return listed + (kind or str(option["type"]))


def _default(value: Mapping[str, Any], mapping: bool) -> str:
    default = value.get("default")
    if mapping or default in (None, "", [], (), {}):
        return "–"
    return f"`{_cell(json.dumps(default) if not isinstance(default, str) else default)}`"


def _cell(text: str) -> str:
    return re.sub(r"\s+", " ", text).replace("|", "\\|")


def _prose(text: str) -> str:
    """A docstring as paragraphs; braces of placeholders are shown as code."""
    return re.sub(r"(?<![`$])(\{[a-z]+\})", r"`\1`", re.sub(r"^ +", "", text.strip(), flags=re.M))
