"""The help texts as the README shows them; `python -m tests.help_texts` brings the README up to date."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click

from pipeline_step.cli import cli

README = Path(__file__).parent.parent / "README.md"
BEGIN, END = "<!-- help texts: begin -->", "<!-- help texts: end -->"


def help_texts() -> Iterator[tuple[str, str]]:
    """Every command's full name and its help, 80 columns wide."""

    def texts(command: click.Command, parent: click.Context | None, name: str) -> Iterator[tuple[str, str]]:
        context = click.Context(command, info_name=name, parent=parent, terminal_width=80)
        with context:
            yield context.command_path, command.get_help(context)
            if isinstance(command, click.Group):
                for child in command.list_commands(context):
                    found = command.get_command(context, child)
                    assert found is not None
                    yield from texts(found, context, child)

    yield from texts(cli, None, "pipeline-step")


def section() -> str:
    """The part of the README between the two marks."""
    parts = [
        f"<details><summary><code>{name}</code></summary>\n\n```\n{text}\n```\n\n</details>\n"
        for name, text in help_texts()
    ]
    return f"{BEGIN}\n{''.join(parts)}{END}"


def main() -> None:
    """Write the section into the README."""
    text = README.read_text(encoding="utf-8")
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    README.write_text(before + section() + after, encoding="utf-8")


if __name__ == "__main__":
    main()
