"""Links that lead out of `docs/`: files that they name become pages, so that the site is complete in itself."""

from __future__ import annotations

import ast
import posixpath
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

LINK = re.compile(r"(?P<before>\]\()(?P<path>[^)#\s:]+)(?P<anchor>#[^)\s]*)?\)")
SHOWN = {".yaml": "yaml", ".yml": "yaml", ".py": "python", ".toml": "toml", ".sh": "sh", ".json": "json", "": "text"}
ROOT_PAGES = {"README.md": "index.md", "CONTRIBUTING.md": "contributing.md"}
UNSEARCHED = "---\nsearch:\n  exclude: true\n---\n\n"


def linked(root: Path, pages: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Every page that is needed for the links of these pages: its place on the site and its text."""
    waiting = list(pages.items())
    seen = set(pages)
    while waiting:
        place, text = waiting.pop()
        for link in _outside_fences(text):
            target = _target(place, link["path"])
            name = _page(root, target)
            if name in seen or not (root / target).exists() or target.startswith("docs/"):
                continue
            seen.add(name)
            made = _listing(root, target) if (root / target).is_dir() else _shown(root / target, target)
            waiting.append((name, made))
            yield name, made


def relinked(root: Path, place: str, text: str) -> str:
    """A page's text with its links as they are on the site."""

    def changed(match: re.Match[str]) -> str:
        target = _target(place, match["path"])
        if not (root / target).exists():
            return match[0]
        name = _page(root, target)
        there = posixpath.relpath(name, posixpath.dirname(place) or ".")
        return f"{match['before']}{there}{match['anchor'] or ''})"

    parts = re.split(r"(^ *```.*?^ *```$)", text, flags=re.M | re.S)
    return "".join(part if part.lstrip().startswith("```") else LINK.sub(changed, part) for part in parts)


def _outside_fences(text: str) -> Iterable[re.Match[str]]:
    return LINK.finditer(re.sub(r"^ *```.*?^ *```$", "", text, flags=re.M | re.S))


def _home(place: str) -> str:
    """The folder of the repository that a page's links are relative to."""
    if place in ROOT_PAGES.values():
        return ""
    if place.startswith("sources/"):
        source = re.sub(r"(^|/)dot-", r"\1.", place.removeprefix("sources/"))
        return source.removesuffix("/index.md") if source.endswith("/index.md") else posixpath.dirname(source)
    return posixpath.join("docs", posixpath.dirname(place))


def _target(place: str, path: str) -> str:
    return posixpath.normpath(posixpath.join(_home(place), path))


def _page(root: Path, target: str) -> str:
    """The place on the site of a file of the repository."""
    if target in ROOT_PAGES:
        return ROOT_PAGES[target]
    if target.startswith("docs/"):
        return target.removeprefix("docs/")
    shown = re.sub(r"(^|/)\.", r"\1dot-", target)  # mkdocs leaves out what begins with a dot
    if (root / target).is_dir():
        return f"sources/{shown}/index.md"
    return f"sources/{shown}" if target.endswith(".md") else f"sources/{shown}.md"


def _listing(root: Path, target: str) -> str:
    """A folder as a list of links to its files, at any depth."""
    folder = root / target
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.suffix in (*SHOWN, ".md"))
    lines = [f"- [{path.relative_to(folder)}]({path.relative_to(folder)})" for path in files]
    return f"{UNSEARCHED}# {target}/\n\n" + "\n".join(lines) + "\n"


def _shown(path: Path, target: str) -> str:
    """A file as a page: Markdown as it is, tests as one section for each, everything else whole."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".md":
        return UNSEARCHED + text
    if path.suffix == ".py" and path.name.startswith("test_"):
        return f"{UNSEARCHED}# {target}\n\n" + "\n".join(_tests(text))
    return f"{UNSEARCHED}# {target}\n\n{_fenced(text, SHOWN.get(path.suffix, 'text'))}"


def _tests(text: str) -> Iterator[str]:
    """The module's own words, then each test function below its name."""
    module = ast.parse(text)
    yield f"{ast.get_docstring(module) or ''}\n"
    lines = text.splitlines()
    for node in module.body:
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
            first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
            body = "\n".join(lines[first - 1 : node.end_lineno])
            yield f"## {node.name} {{#{node.name}}}\n\n{_fenced(body, 'python')}"


def _fenced(text: str, language: str) -> str:
    return f"````{language}\n{text.rstrip()}\n````\n"
