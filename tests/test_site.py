"""The site of docs/: it builds without a broken link, and says something of everything that there is."""

from __future__ import annotations

import html
import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from pipeline_step.config_file import schema
from pipeline_step.errors import Exit
from pipeline_step.gates import GATES
from pipeline_step.promote import PROMOTERS
from pipeline_step.scm import SCMS
from pipeline_step.traffic import ROUTERS

from .help_texts import help_texts

ROOT = Path(__file__).parent.parent
COMPARISON = ROOT / "docs/comparison.md"


def hook(name: str) -> ModuleType:
    """One of the modules that mkdocs calls."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "docs/hooks" / f"{name}.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built site; the build fails on a link or an anchor that leads nowhere."""
    place = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(place)]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=280)
    assert done.returncode == 0, done.stderr
    return place


pytestmark = pytest.mark.timeout(300)


def text_of(page: Path) -> str:
    """What a reader finds on a page."""
    return html.unescape(re.sub(r"<[^>]+>", "", page.read_text(encoding="utf-8")))


def test_every_command_has_a_page_with_all_its_options(site: Path) -> None:
    for name, text in help_texts():
        if name == "pipeline-step":
            continue
        page = text_of(site / "commands" / f"{name.removeprefix('pipeline-step ').replace(' ', '-')}.html")
        assert set(re.findall(r"(?<!\S)--[a-z-]+", text)) - {"--help"} <= set(re.findall(r"--[a-z-]+", page)), name


def test_every_key_of_the_configuration_is_told(site: Path) -> None:
    page = site / "configuration.html"
    told = words(text_of(page))
    for name, definition in schema()["$defs"].items():
        for key, value in definition.get("properties", {}).items():
            assert f"<td><code>{key}</code></td>" in page.read_text(encoding="utf-8"), f"{name}.{key}"
            assert words(value["description"]) in told, f"{name}.{key}"


def words(text: str) -> str:
    """Letters and digits alone, since the page shows code and quotes in its own way."""
    return " ".join(re.findall(r"\w+", text))


@pytest.mark.parametrize(
    ("page", "names"),
    [("routers", ROUTERS), ("gates", GATES), ("promoters", PROMOTERS)],
    ids=lambda part: str(part)[:9],
)
def test_every_provider_has_a_section_with_its_keys(site: Path, page: str, names: dict[str, object]) -> None:
    text = (site / f"{page}.html").read_text(encoding="utf-8")
    for name in names:
        _, found, after = text.partition(f'<h2 id="{name}">')
        assert found, f"{page} has no section {name}"
        assert "<th>Key</th>" in after.partition("<h2 ")[0], f"the section {name} has no table"


def test_every_git_provider_is_named(site: Path) -> None:
    page = text_of(site / "providers.html")
    assert [name for name in SCMS if name not in page] == []


@pytest.mark.parametrize("code", Exit)
def test_operations_say_what_to_do_for_each_exit_code(code: Exit) -> None:
    headings = re.findall(r"^### (.*)$", (ROOT / "docs/operations.md").read_text(encoding="utf-8"), re.M)
    assert any(re.search(rf"\b{int(code)}\b", heading.partition(":")[0]) for heading in headings)


def test_nothing_is_fetched_from_elsewhere(site: Path) -> None:
    for page in site.rglob("*.html"):
        for tag in re.findall(r"<(?:script|link|img|iframe)\b[^>]*>", page.read_text(encoding="utf-8")):
            assert not re.search(r"""(?:src|href)=["']?(?:https?:)?//""", tag), f"{page.name}: {tag}"


def cells() -> list[tuple[str, str]]:
    """Our own cells of the comparison, with the name of their row."""
    rows = [line.split(" | ") for line in COMPARISON.read_text(encoding="utf-8").splitlines() if line.startswith("| ")]
    return [(row[0].strip("| "), row[1].strip()) for row in rows if row[0].strip("| ")]


@pytest.mark.parametrize(("row", "cell"), cells(), ids=lambda part: part[:30])
def test_each_of_our_cells_leads_to_a_test_that_exists(row: str, cell: str) -> None:
    links = re.findall(r"\]\(\.\./([^)#]+)#(\w+)\)", cell)
    assert links or cell == "–", f"{row}: no test shows it"
    assert len(links) == cell.count("]("), f"{row}: a link names no test"
    for path, name in links:
        assert f"def {name}(" in (ROOT / path).read_text(encoding="utf-8"), f"{row}: {path} has no {name}"


@pytest.mark.parametrize(
    ("written", "adapted"),
    [
        ("text\n- one\n  more\n- two", "text\n\n- one\n    more\n- two\n"),
        ("1. one\n\n   ```sh\n   run\n   ```\n2. two\n\nend", "1. one\n\n    ```sh\n    run\n    ```\n2. two\n\nend\n"),
        ("```\n- no\n  list\n```", "```\n- no\n  list\n```\n"),
    ],
)
def test_lists_are_indented_as_mkdocs_wants(written: str, adapted: str) -> None:
    assert hook("commonmark").adapted(written) == adapted


def test_a_link_out_of_the_folder_stays_on_the_site() -> None:
    relinked = hook("sources").relinked
    text = "[a](../Makefile) [b](../CONTRIBUTING.md#style) [c](judge.md) [d](../gone.md) [e](https://example.com/x)"
    assert relinked(ROOT, "start.md", text) == (
        "[a](sources/Makefile.md) [b](contributing.md#style) [c](judge.md) [d](../gone.md) [e](https://example.com/x)"
    )
    assert relinked(ROOT, "index.md", "[a](docs/judge.md)") == "[a](judge.md)"
