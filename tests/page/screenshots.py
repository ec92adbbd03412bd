"""The pictures of the progress page in the docs: `python -m tests.page.screenshots [FOLDER [webp|png]]`.

They are taken in a real browser.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from pipeline_step.page.document import document
from tests.page.browser import chromium, program
from tests.page.histories import HISTORIES

DOCS = Path(__file__).parent.parent.parent / "docs" / "progress"
PHONE = 390


def main(folder: Path = DOCS, kind: str = "webp") -> None:
    """Write all of them."""
    if not program():
        sys.exit("no Chromium here; `apt-get install chromium` brings one")
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as temporary, chromium() as browser:
        for name, history in HISTORIES.items():
            page = Path(temporary, f"{name}.html")
            page.write_text(document(history()), encoding="utf-8")
            browser.open(page.as_uri())
            browser.picture(folder / f"{name}.{kind}")
            if name == "good":
                browser.open(page.as_uri(), dark=True)
                browser.picture(folder / f"{name}-dark.{kind}")
                browser.open(page.as_uri(), width=PHONE, height=844, factor=2)
                browser.picture(folder / f"{name}-phone.{kind}", height=844)


if __name__ == "__main__":
    main(*(Path(argument) if not index else argument for index, argument in enumerate(sys.argv[1:])))
