"""Serves pages to a browser on this machine alone.

It listens on the loopback address, answers only to names of it (so that a website whose name is pointed here reads
nothing), lets no page of another origin read or frame it, and has nothing that changes anything.
"""

from __future__ import annotations

import base64
import hashlib
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

from pipeline_step.errors import ConfigError

HOSTS = ("127.0.0.1", "localhost", "[::1]")
REFRESH = """
(async () => {
  const all = (page, names) => [...page.querySelectorAll(names)];
  const stops = "main a, main summary, main [tabindex]";
  for (;;) {
    await new Promise(done => setTimeout(done, 2000));
    if (document.hidden) continue;
    let text = "";
    try {
      const answer = await fetch(location.href, {cache: "no-store"});
      if (answer.ok) text = await answer.text();
    } catch {}
    const said = document.querySelector("[role=status]");
    if (!text) { said.textContent = "The server does not answer"; said.className = "problem"; continue; }
    const next = new DOMParser().parseFromString(text, "text/html");
    const open = all(document, "details").map(one => one.open);
    const at = all(document, stops).indexOf(document.activeElement);
    for (const part of ["header", "main"])
      document.querySelector(part).replaceWith(next.querySelector(part));
    all(document, "details").forEach((one, index) => { one.open = open[index] || false; });
    all(document, stops)[at]?.focus({preventScroll: true});
    said.className = "unseen";
    if (said.textContent !== next.title) said.textContent = document.title = next.title;
  }
})();
"""
"""Brings a page up to date every two seconds; what is unfolded and where the keyboard is stay as they are."""

_DIGEST = base64.b64encode(hashlib.sha256(REFRESH.encode()).digest()).decode()
HEADERS = {
    "Content-Type": "text/html; charset=utf-8",
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; img-src data:; connect-src 'self'; "
    f"script-src 'sha256-{_DIGEST}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


@contextmanager
def serving(port: int, page: Callable[[str, str], str]) -> Iterator[str]:
    """Serve while the block runs, and give the address; port 0 is any free one.

    `page` gives the text for a path and a script, "" where there is none. Raises `ConfigError` for a port in use.
    """

    class Answering(BaseHTTPRequestHandler):
        timeout = 30

        def do_GET(self) -> None:
            self._answer(body=True)

        def do_HEAD(self) -> None:
            self._answer(body=False)

        def _answer(self, *, body: bool) -> None:
            host = self.headers.get("Host", "")
            if host.lower() not in ours:
                self.send_error(421, "this server answers to names of the loopback address only")
                return
            text = page(unquote(urlsplit(self.path).path), REFRESH)
            if not text:
                self.send_error(404)
                return
            data = text.encode()
            self.send_response(200)
            for name, value in {**HEADERS, "Content-Length": str(len(data))}.items():
                self.send_header(name, value)
            self.end_headers()
            if body:
                self.wfile.write(data)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            """Nothing: a page that is open asks every two seconds."""

    try:
        server = ThreadingHTTPServer(("127.0.0.1", port), Answering)
    except OSError as error:
        raise ConfigError(f"--serve {port}: {error.strerror}; give another port, or 0 for any free one") from error
    server.daemon_threads = True
    ours = {f"{name}:{server.server_port}" for name in HOSTS} | (set(HOSTS) if server.server_port == 80 else set())
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.1}, name="page", daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        server.server_close()
