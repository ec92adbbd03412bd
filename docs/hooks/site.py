"""What mkdocs asks while it builds: pages that are written from the code, and links that lead out of `docs/`.

Nothing that is generated is kept in the repository, so that the site can't fall behind the program.
"""

from __future__ import annotations

from pathlib import Path

import commonmark
import reference
import sources
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[2]
WRITTEN_ELSEWHERE = {"index.md": "README.md", "contributing.md": "CONTRIBUTING.md"}
"""Pages that are a document of the repository's root, which people read there as well."""


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Put pages that the navigation does not name yet at its end, and the commands where they belong."""
    named = set(_pages(config.nav))
    others = sorted(path.name for path in Path(config.docs_dir).glob("*.md") if path.name not in named)
    assert config.nav is not None
    for entry in config.nav:
        if "Commands" in entry:
            entry["Commands"] += [f"commands/{name.replace(' ', '-')}.md" for name, _ in reference.commands()]
    if others:
        config.nav.append({"More": others})
    return config


def _pages(nav: object) -> list[str]:
    if isinstance(nav, str):
        return [nav]
    entries = nav.values() if isinstance(nav, dict) else nav if isinstance(nav, list) else ()
    return [page for entry in entries for page in _pages(entry)]


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add what is written from the code, and every file of the repository that a page links to."""
    pages = {name: (ROOT / path).read_text(encoding="utf-8") for name, path in WRITTEN_ELSEWHERE.items()}
    readme = pages["index.md"].partition("\n## Commands\n")[0]
    pages["index.md"] = readme.replace("<details>", '<details markdown="1">')
    pages |= {f"commands/{name.replace(' ', '-')}.md": text for name, text in reference.command_pages()}
    written = {file.src_uri: file.content_string for file in files.documentation_pages()}
    for name, text in sources.linked(ROOT, pages | written):
        pages[name] = text
    for name, text in pages.items():
        files.append(File.generated(config, name, content=text))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Tables of keys below the names of providers, links that lead somewhere on the site, lists as mkdocs has them."""
    place = page.file.src_uri
    text = reference.with_settings(place, markdown)
    return commonmark.adapted(sources.relinked(ROOT, place, text))
