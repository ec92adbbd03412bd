"""Rules of the house, run as tests: style, types, who may import whom, what a start may load, one exit-code table."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import click
import pytest

from pipeline_step.cli import cli
from pipeline_step.errors import Exit
from tests.help_texts import README, section

ROOT = Path(__file__).parent.parent
HEAVY = ("kubernetes", "requests", "git", "yaml", "msgspec", "rich", "prometheus_client", "aiohttp", "asyncio")


def run(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=110)


@pytest.mark.parametrize(
    "command",
    [
        ["ruff", "check", "pipeline_step", "tests", "benchmarks", "docs"],
        ["ruff", "format", "--check", "pipeline_step", "tests", "benchmarks", "docs"],
        ["mypy"],
        ["importlinter.cli", "lint_imports_command"],
    ],
    ids=lambda command: " ".join(command[:2]),
)
def test_checker_finds_nothing(command: list[str]) -> None:
    if command[0] == "importlinter.cli":
        done = run(sys.executable, "-c", "from importlinter.cli import lint_imports_command as c; c()")
    else:
        done = run(sys.executable, "-m", *command)
    assert done.returncode == 0, done.stdout + done.stderr


def commands() -> list[str]:
    return sorted(cli.list_commands(click.Context(cli)))


@pytest.mark.parametrize("command", ["", *commands()])
def test_help_loads_nothing_heavy(command: str) -> None:
    script = (
        "import sys; from pipeline_step.cli import cli\n"
        "try: cli(sys.argv[1:])\n"
        f"finally: print('LOADED', [name for name in {HEAVY!r} if name in sys.modules])\n"
    )
    done = run(sys.executable, "-c", script, *command.split(), "--help")
    assert "Usage:" in done.stdout
    assert "LOADED []" in done.stdout, done.stdout


def test_exit_codes_are_unique_and_documented() -> None:
    assert len({int(code) for code in Exit}) == len(list(Exit))
    readme = README.read_text()
    for code in Exit:
        assert f"| {int(code)} |" in readme, f"README.md says nothing of exit code {int(code)}"


def test_readme_has_the_help_texts() -> None:
    assert section() in README.read_text(), "a help text has changed; `python -m tests.help_texts` brings it over"


def test_links_between_documents_lead_somewhere() -> None:
    documents = [path for path in ROOT.rglob("*.md") if not {".venv", "node_modules"} & set(path.parts)]
    broken = [
        f"{path.relative_to(ROOT)}: {link}"
        for path in documents
        for link in re.findall(r"\]\((?!https?:|#|mailto:)([^)#\s]+)", path.read_text(encoding="utf-8"))
        if not (path.parent / link).exists()
    ]
    assert broken == []


def test_only_config_reads_the_environment() -> None:
    readers = [
        path.relative_to(ROOT).as_posix()
        for path in sorted((ROOT / "pipeline_step").rglob("*.py"))
        if "os.environ" in path.read_text() and "sandbox" not in path.parts
    ]
    assert readers == ["pipeline_step/__main__.py", "pipeline_step/config.py"]
