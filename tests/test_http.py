"""Http against a real server on loopback that misbehaves in every way that servers do."""

from __future__ import annotations

import base64
import json
import logging
import shutil
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline_step.answer import Response, asked_wait, server_message
from pipeline_step.errors import HttpError
from pipeline_step.http import ANY_STATUS, Http
from pipeline_step.redaction import Redaction, shown

TOKEN = "tok-5up3r/s3cret+value="


@dataclass
class Seen:
    method: str
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Script:
    """Answers in order, the last one for ever; an answer is status, headers, body, or a function of the handler."""

    answers: list[Any] = field(default_factory=lambda: [(200, {}, b"{}")])
    seen: list[Seen] = field(default_factory=list)
    url: str = ""


@pytest.fixture
def server() -> Iterator[Script]:
    script = Script()
    with serving(script):
        yield script


class QuietServer(ThreadingHTTPServer):
    """Takes many connections at once and says nothing of those that break off."""

    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that hangs up is no news."""


class serving:  # noqa: N801
    """A server on a free port of loopback that follows a script while the block lasts."""

    def __init__(self, script: Script, certificate: Path | None = None) -> None:
        self.script = script
        self.certificate = certificate

    def __enter__(self) -> Script:
        script = self.script

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            wbufsize = -1

            def answer(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length", 0)))
                headers = {name.lower(): value for name, value in self.headers.items()}
                script.seen.append(Seen(self.command, self.path, headers, body))
                step = script.answers.pop(0) if len(script.answers) > 1 else script.answers[0]
                if callable(step):
                    step(self)
                    return
                status, extra, content = step
                self.send_response(status)
                for name, value in extra.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = answer  # noqa: N815

            def log_message(self, *args: object) -> None:
                pass

        self.server = QuietServer(("127.0.0.1", 0), Handler)
        if self.certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(self.certificate, self.certificate.with_name("key.pem"))
            self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.02,))
        self.thread.start()
        scheme = "https" if self.certificate else "http"
        script.url = f"{scheme}://127.0.0.1:{self.server.server_address[1]}"
        return script

    def __exit__(self, *args: object) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


def hang_up(handler: BaseHTTPRequestHandler) -> None:
    """Read the request and close the connection without a word: was it done, or not?"""
    handler.close_connection = True
    handler.connection.shutdown(socket.SHUT_RDWR)


class FakeTime:
    """A clock that only sleeping moves."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.slept: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds

    def clock(self) -> float:
        return self.now


def fake_time_http(**options: Any) -> tuple[Http, FakeTime]:
    times = FakeTime()
    return Http(sleep=times.sleep, clock=times.clock, **options), times


def ok(body: bytes = b"{}") -> tuple[int, dict[str, str], bytes]:
    return 200, {"Content-Type": "application/json"}, body


def test_sends_parameters_json_and_the_hosts_headers(server: Script) -> None:
    http = Http(headers={f"{server.url}/api": {"Authorization": f"Bearer {TOKEN}"}})
    server.answers = [ok(b'{"a": [1]}')]
    response = http.request("POST", f"{server.url}/x?y=1", params={"q": "a b&c"}, json={"k": "ü"})
    (seen,) = server.seen
    assert (seen.method, seen.path) == ("POST", "/x?y=1&q=a+b%26c")
    assert seen.headers["authorization"] == f"Bearer {TOKEN}"
    assert json.loads(seen.body) == {"k": "ü"}
    assert response.json() == {"a": [1]}
    assert response.headers["content-type"] == "application/json"


def test_headers_of_one_host_never_reach_another(server: Script) -> None:
    with serving(Script()) as other:
        http = Http(headers={server.url: {"Authorization": f"Bearer {TOKEN}"}})
        http.get(f"{other.url}/")
        assert "authorization" not in other.seen[0].headers


def test_a_redirect_to_another_host_is_not_followed(server: Script) -> None:
    with serving(Script()) as other:
        http = Http(headers={server.url: {"PRIVATE-TOKEN": TOKEN}})
        server.answers = [(302, {"Location": f"{other.url}/stolen"}, b"")]
        with pytest.raises(HttpError, match=r"answered 302; it has moved to http://127.0.0.1:\d+/stolen"):
            http.get(f"{server.url}/a")
        assert other.seen == []


@pytest.mark.parametrize(("method", "status"), [("GET", 301), ("GET", 302), ("POST", 307), ("PUT", 308)])
def test_a_redirect_on_the_same_host_is_followed(server: Script, method: str, status: int) -> None:
    server.answers = [(status, {"Location": "/new"}, b""), ok()]
    Http().request(method, f"{server.url}/old", json={"a": 1})
    assert [(seen.method, seen.path) for seen in server.seen] == [(method, "/old"), (method, "/new")]
    assert server.seen[1].body == server.seen[0].body


def test_a_redirect_that_would_turn_a_write_into_a_read_is_an_error(server: Script) -> None:
    server.answers = [(301, {"Location": "/new"}, b""), ok()]
    with pytest.raises(HttpError, match="it has moved to /new"):
        Http().request("POST", f"{server.url}/old", json={})
    assert len(server.seen) == 1


def test_a_redirect_loop_ends(server: Script) -> None:
    server.answers = [(302, {"Location": "/again"}, b"")]
    with pytest.raises(HttpError, match="answered 302"):
        Http().get(server.url)
    assert len(server.seen) <= 5


def name_of(trouble: object) -> str:
    """The same in every process, so that the tests can be shared out among several."""
    return getattr(trouble, "__name__", str(trouble))


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
@pytest.mark.parametrize("trouble", [429, 502, 503, 504, hang_up], ids=name_of)
def test_idempotent_requests_are_repeated(server: Script, method: str, trouble: Any) -> None:
    http, times = fake_time_http()
    server.answers = [(trouble, {}, b"") if isinstance(trouble, int) else trouble] * 2 + [ok()]
    assert http.request(method, server.url).status == 200
    assert len(server.seen) == 3
    assert times.slept == [0.5, 1.0]


@pytest.mark.parametrize("method", ["POST", "PATCH"])
@pytest.mark.parametrize("trouble", [500, 502, 503, 504, hang_up], ids=name_of)
def test_a_write_that_may_have_been_done_is_not_repeated(server: Script, method: str, trouble: Any) -> None:
    http, times = fake_time_http()
    server.answers = [(trouble, {"Retry-After": "1"}, b"") if isinstance(trouble, int) else trouble]
    with pytest.raises(HttpError):
        http.request(method, server.url, json={})
    assert len(server.seen) == 1
    assert times.slept == []


@pytest.mark.parametrize("status", [403, 429])
def test_a_post_refused_by_a_rate_limit_is_repeated_when_the_server_says(server: Script, status: int) -> None:
    http, times = fake_time_http()
    server.answers = [(status, {"Retry-After": "7"}, b""), ok()]
    assert http.request("POST", server.url, json={}).status == 200
    assert times.slept == [7]


def test_a_date_to_wait_until_is_read_by_the_servers_clock(server: Script) -> None:
    http, times = fake_time_http()

    def limited(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response_only(429)
        handler.send_header("Date", formatdate(86_400 * 365, usegmt=True))
        handler.send_header("Retry-After", formatdate(86_400 * 365 + 9, usegmt=True))
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    server.answers = [limited, ok()]
    http.get(server.url)
    assert times.slept == [9]


def test_githubs_reset_is_waited_for(server: Script) -> None:
    http, times = fake_time_http()
    headers = {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": str(int(time.time()) + 12)}
    server.answers = [(403, headers, b'{"message": "API rate limit exceeded"}'), ok()]
    http.request("POST", server.url, json={})
    assert len(times.slept) == 1
    assert 9 <= times.slept[0] <= 13


def test_githubs_secondary_limit_is_waited_for_a_minute(server: Script) -> None:
    http, times = fake_time_http(patience=70)
    message = b'{"message": "You have exceeded a secondary rate limit. Please wait a few minutes."}'
    server.answers = [(403, {}, message), ok()]
    http.request("POST", server.url, json={})
    assert times.slept == [60]


def test_a_wait_past_the_patience_fails_at_once_and_says_so(server: Script) -> None:
    http, times = fake_time_http(patience=5)
    server.answers = [(429, {"Retry-After": "3600"}, b"")]
    with pytest.raises(HttpError, match="rate limit is used up; it asks to wait 3600 s and 5 s are left") as caught:
        http.get(server.url)
    assert caught.value.status == 429
    assert times.slept == []


def test_repeating_ends_with_the_patience(server: Script) -> None:
    http, times = fake_time_http(patience=10)
    server.answers = [(503, {}, b"")]
    with pytest.raises(HttpError, match="answered 503"):
        http.get(server.url)
    assert sum(times.slept) <= 10
    assert len(server.seen) == len(times.slept) + 1


def test_a_post_that_never_reached_the_server_is_repeated() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
    http, times = fake_time_http(patience=2)
    with pytest.raises(
        HttpError, match=rf"POST http://127.0.0.1:{port}/x: could not be reached \(.*refused\)"
    ) as caught:
        http.request("POST", f"http://127.0.0.1:{port}/x", json={})
    assert caught.value.status == 0
    assert times.slept == [0.5, 1.0]


def test_an_accepted_status_is_returned_without_repeating(server: Script) -> None:
    server.answers = [(503, {}, b"busy")]
    response = Http().get(server.url, accept=ANY_STATUS)
    assert (response.status, response.text) == (503, "busy")
    assert len(server.seen) == 1


def test_silence_ends_with_the_read_timeout(server: Script) -> None:
    release = threading.Event()
    server.answers = [lambda handler: release.wait(10)]
    began = time.monotonic()
    with pytest.raises(HttpError, match=r"no complete answer within 0.2 s"):
        Http(timeout=(1, 0.2), patience=0).get(server.url)
    assert time.monotonic() - began < 2
    release.set()


def test_an_answer_that_trickles_for_ever_is_given_up(server: Script) -> None:
    release = threading.Event()

    def trickle(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.end_headers()
        handler.close_connection = True
        while not release.wait(0.02):
            try:
                handler.wfile.write(b"x" * 70_000)
            except OSError:
                return

    server.answers = [trickle]
    began = time.monotonic()
    with pytest.raises(HttpError, match="no complete answer"):
        Http(timeout=(1, 0.3), patience=0.2).request("POST", server.url)
    release.set()
    assert time.monotonic() - began < 3


def test_an_answer_without_end_is_cut_off(server: Script) -> None:
    server.answers = [(200, {}, b"x" * 300_000)]
    with pytest.raises(HttpError, match="answered more than 100000 bytes"):
        Http(max_bytes=100_000).get(server.url)


def test_writes_to_one_host_never_overlap(server: Script) -> None:
    inside, most = 0, 0
    lock = threading.Lock()

    def slow(handler: BaseHTTPRequestHandler) -> None:
        nonlocal inside, most
        with lock:
            inside += 1
            most = max(most, inside)
        time.sleep(0.03)
        with lock:
            inside -= 1
        handler.send_response(200)
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    server.answers = [slow]
    http = Http()
    threads = [threading.Thread(target=http.request, args=("POST", server.url)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(server.seen) == 8
    assert most == 1


def test_cookies_are_not_kept(server: Script) -> None:
    server.answers = [(200, {"Set-Cookie": "session=1"}, b""), ok()]
    http = Http()
    http.get(server.url)
    http.get(server.url)
    assert "cookie" not in server.seen[1].headers


def test_a_netrc_never_replaces_our_header(server: Script, tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login someone password else\n")
    monkeypatch.setenv("NETRC", str(netrc))
    Http(headers={server.url: {"Authorization": f"Bearer {TOKEN}"}}).get(server.url)
    assert server.seen[0].headers["authorization"] == f"Bearer {TOKEN}"


def test_the_environments_proxy_is_used(server: Script, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", server.url)
    monkeypatch.setenv("http_proxy", server.url)
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    Http().get("http://example.invalid/x")
    assert server.seen[0].path == "http://example.invalid/x"


def test_a_missing_ca_bundle_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/nowhere/ca.pem")
    with pytest.raises(HttpError, match=r"/nowhere/ca\.pem"):
        Http(patience=0).get("https://127.0.0.1:1/")


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate of 127.0.0.1 that is its own authority, with its key beside it."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed: no certificate can be made")
    place = tmp_path_factory.mktemp("tls")
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=test"]
    command += ["-addext", "subjectAltName=IP:127.0.0.1", "-out", "ca.pem", "-keyout", "key.pem"]
    subprocess.run(command, cwd=place, check=True, capture_output=True, timeout=60)
    return place / "ca.pem"


def test_a_private_ca_comes_from_the_environment(certificate: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(Script(), certificate) as server:
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
        assert Http().get(server.url).status == 200


def test_an_unknown_ca_says_what_to_set(certificate: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(Script(), certificate) as server:
        for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
            monkeypatch.delenv(name, raising=False)
        with pytest.raises(HttpError, match=r"TLS failed \(.*certificate.*\); for a private CA set REQUESTS_CA_BUNDLE"):
            Http().get(server.url)
        assert server.seen == []


def test_a_user_and_password_in_the_url_become_a_header_and_are_never_shown(server: Script) -> None:
    address = server.url.replace("http://", "http://ann:pa%40ss@")
    server.answers = [(401, {}, b"")]
    with pytest.raises(HttpError) as caught:
        Http().get(f"{address}/x")
    assert base64.b64decode(server.seen[0].headers["authorization"].split()[1]) == b"ann:pa@ss"
    assert "pa" not in str(caught.value).replace("/x", "")


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (
            401,
            b'{"message": "Bad credentials"}',
            "(Bad credentials); check that the token is set, valid and not expired",
        ),
        (403, b'{"message": "Resource not accessible"}', "(Resource not accessible); the token lacks a permission"),
        (404, b'{"message": "Not Found"}', "answered 404 (Not Found); check the name, and that the token may see it"),
        (
            422,
            b'{"message": "Validation Failed", "errors": [{"field": "sha", "message": "No commit found"}]}',
            "answered 422 (Validation Failed: No commit found)",
        ),
        (400, b'{"message": {"base": ["Cannot transition status"]}}', "answered 400 (Cannot transition status)"),
        (400, b'{"type": "error", "error": {"message": "key is too long"}}', "answered 400 (key is too long)"),
        (409, b'{"errors": [{"context": null, "message": "out of date"}]}', "answered 409 (out of date)"),
        (500, b"<html>a page", "answered 500"),
        (500, b"\xff\xfe", "answered 500"),
        (500, b"[" * 5000, "answered 500"),
    ],
)
def test_errors_repeat_the_servers_own_words(server: Script, status: int, body: bytes, expected: str) -> None:
    server.answers = [(status, {}, body)]
    with pytest.raises(HttpError) as caught:
        Http(patience=0).request("POST", f"{server.url}/a/b?token={TOKEN}", json={})
    text = str(caught.value)
    assert text.startswith(f"POST {server.url}/a/b?token=*** answered")
    assert expected in text
    assert caught.value.status == status
    assert "\n" not in text


def test_an_answer_that_is_not_json_says_what_may_be_wrong(server: Script) -> None:
    server.answers = [(200, {}, b"<html>Sign in</html>")]
    with pytest.raises(HttpError, match=r"something unexpected .* not a login page"):
        Http().get(server.url).json()


def test_an_answer_of_another_shape_says_where(server: Script) -> None:
    server.answers = [ok(b'{"a": "x"}')]
    with pytest.raises(HttpError, match=r"Expected `int`, got `str` - at `\$\[\.\.\.\]`"):
        Http().get(server.url).decode(dict[str, int])


def test_a_token_is_masked_wherever_it_could_appear(server: Script, caplog: pytest.LogCaptureFixture) -> None:
    """The server throws the token back in its message, its redirect and its body; nothing shows it."""
    caplog.set_level(logging.DEBUG)
    http, _ = fake_time_http(
        headers={server.url: {"Authorization": f"Bearer {TOKEN}", "PRIVATE-TOKEN": TOKEN}}, patience=3
    )
    echo = json.dumps({"message": f"no: {TOKEN} {base64.b64encode(TOKEN.encode()).decode()}"}).encode()
    texts = []
    for answer in [
        (500, {}, echo),
        (302, {"Location": f"https://other.invalid/{TOKEN}"}, b""),
        (503, {}, echo),
        hang_up,
    ]:
        server.answers = [answer]
        with pytest.raises(HttpError) as caught:
            http.get(f"{server.url}/path/{TOKEN}")
        texts.append(str(caught.value))
        assert caught.value.__cause__ is None
    server.answers = [ok(b"not json")]
    with pytest.raises(HttpError) as caught:
        http.get(f"{server.url}/{TOKEN}").json()
    texts.append(str(caught.value))
    ours = [record.getMessage() for record in caplog.records if record.name.startswith("pipeline_step")]
    assert len(ours) > 3
    for text in [*texts, *ours, repr(http)]:
        assert TOKEN not in text
        assert base64.b64encode(TOKEN.encode()).decode().rstrip("=") not in text


def test_a_token_with_a_line_break_is_refused_without_showing_it() -> None:
    with pytest.raises(HttpError) as caught:
        Http(headers={"http://127.0.0.1:1": {"Authorization": "Bearer abc\ndef"}}, secrets=["abc\ndef"]).get(
            "http://127.0.0.1:1/"
        )
    assert "abc" not in str(caught.value)


def test_as_a_log_filter_redaction_masks_messages_and_tracebacks() -> None:
    records: list[str] = []

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            records.append(self.format(record))

    handler = Keep()
    handler.addFilter(Redaction([TOKEN]))
    logger = logging.getLogger("test_redaction")
    logger.propagate = False
    logger.addHandler(handler)
    try:
        raise ValueError(TOKEN)
    except ValueError:
        logger.exception("failed with %s", TOKEN)
    assert len(records) == 1
    assert TOKEN not in records[0]
    assert "failed with ***" in records[0]


def test_the_password_inside_a_basic_header_is_masked() -> None:
    pair = base64.b64encode(b"ann@example.com:s3cr3t-word").decode()
    http = Http(headers={"https://x": {"Authorization": f"Basic {pair}"}})
    assert http.redaction.redact(f"{pair} s3cr3t-word ann@example.com") == "*** *** ann@example.com"


@settings(deadline=None)
@given(st.text(min_size=4), st.text(), st.text())
def test_no_secret_survives_redaction(secret: str, before: str, after: str) -> None:
    secret = secret.strip()
    if len(secret) < 4 or "***" in secret or secret in "***":
        return
    assert secret not in Redaction([secret]).redact(before + secret + after) or secret in f"{before}***{after}"


@settings(deadline=None)
@given(st.text())
def test_any_text_can_be_shown_as_a_url(text: str) -> None:
    assert len(shown(text)) <= 300


@settings(deadline=None)
@given(
    st.binary(max_size=200)
    | st.recursive(
        st.none() | st.booleans() | st.floats(allow_nan=False) | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["message", "error", "errors", "x"]), inner),
    ).map(lambda value: json.dumps(value).encode())
)
def test_any_error_body_gives_one_short_line(body: bytes) -> None:
    text = server_message(Response(url="", status=500, headers={}, body=body))
    assert len(text) <= 300
    assert text.isprintable()


@settings(deadline=None)
@given(st.sampled_from(["retry-after", "x-ratelimit-reset", "ratelimit-reset", "date"]), st.text(max_size=40))
def test_any_header_of_a_rate_limit_can_be_read(name: str, value: str) -> None:
    headers = {"x-ratelimit-remaining": "0", name: value}
    limited, asked = asked_wait(Response(url="", status=403, headers=headers, body=b""))
    assert limited
    assert asked is None or asked >= 0


def test_requests_is_not_imported_before_it_is_used() -> None:
    code = "import sys, pipeline_step.http; print('requests' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"


def test_threads_can_share_it(server: Script) -> None:
    http = Http()
    results: list[int] = []
    work: Callable[[], None] = lambda: results.append(http.get(server.url).status)  # noqa: E731
    threads = [threading.Thread(target=work) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [200] * 16
