"""Gate `webhook`: a service of the user's decides. It is sent what is being measured, and answers with an outcome.

Sent, as JSON: `gate`, `preview` and `stable` (`service` and `namespace`), `weight`, `began` and `now` (seconds since
1970), `metadata` as configured. Answered, as JSON: `outcome` (pass, fail, wait or no_data), and if it likes `reason`,
`value`, and `preview` and `stable` (`total` and `bad` requests). A status of 200 to 299 without JSON is a pass, and
202 means wait. Every other status below 500 is a fail; 401, 403, 404, 408, 429 and 500 on mean that nothing is known.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal

import msgspec

from pipeline_step.answer import Response, server_message
from pipeline_step.errors import HttpError
from pipeline_step.gates.placeholders import fill, side, sides
from pipeline_step.gates.query import check_url, secret
from pipeline_step.model import Counts, Measurement, Outcome
from pipeline_step.redaction import Redaction
from pipeline_step.settings import Strict, says

if TYPE_CHECKING:
    from pipeline_step.gates import Sources, Subject

UNKNOWN = (401, 403, 404, 408, 429)
ANSWERS = frozenset(range(200, 500)) - frozenset(UNKNOWN)
SIGNATURE = "X-Pipeline-Step-Signature"
OUTCOMES = {
    "pass": Outcome.PASS,
    "fail": Outcome.FAIL,
    "wait": Outcome.WAITING,
    "no_data": Outcome.NO_DATA,
}


class Settings(Strict, frozen=True, kw_only=True):
    """Where to post. `metadata` is sent along.

    `token_file` names a file with a bearer token; `secret_file` one whose HMAC-SHA256 of the body is sent as
    `X-Pipeline-Step-Signature: sha256=HEX`.
    """

    url: Annotated[str, says("where to post")]
    metadata: Annotated[dict[str, str], says("sent along")] = msgspec.field(default_factory=dict)
    token_file: Annotated[str, says("a file with a bearer token")] = ""
    secret_file: Annotated[str, says("a file with a secret, by which the body is signed")] = ""

    def __post_init__(self) -> None:
        check_url(self.url)


class _Side(msgspec.Struct, frozen=True):
    total: float
    bad: float = 0

    @property
    def counts(self) -> Counts:
        return Counts(total=self.total, bad=self.bad)


class _Answer(msgspec.Struct, frozen=True):
    outcome: Literal["pass", "fail", "wait", "no_data"]
    reason: str = ""
    value: float | None = None
    preview: _Side | None = None
    stable: _Side | None = None


def measure(
    name: str, settings: Settings, subject: Subject, sources: Sources, counters: Mapping[str, Any]
) -> Measurement:
    """Post once, and say what was answered."""
    body = msgspec.json.encode(
        {
            "gate": name,
            "preview": side(subject.preview),
            "stable": side(subject.stable),
            "weight": subject.weight,
            "began": subject.began,
            "now": subject.now,
            "metadata": settings.metadata,
        }
    )
    headers = {"Content-Type": "application/json", "Accept": "application/json"}
    secrets = []
    if settings.token_file:
        secrets.append(secret(settings.token_file, "token_file"))
        headers["Authorization"] = f"Bearer {secrets[-1]}"
    if settings.secret_file:
        secrets.append(secret(settings.secret_file, "secret_file"))
        headers[SIGNATURE] = "sha256=" + hmac.digest(secrets[-1].encode(), body, "sha256").hex()
    url = fill(settings.url, sides(subject))
    try:
        response = sources.http.request("POST", url, body=body, headers=headers, accept=ANSWERS)
        return judge(name, response)
    except HttpError as error:
        reason = Redaction(secrets).redact(f"{name}: {error}")
        return Measurement(gate=name, outcome=Outcome.UNREACHABLE, reason=reason)


def judge(name: str, response: Response) -> Measurement:
    """The outcome of an answer; raises HttpError where it is JSON but none of ours."""
    if response.status >= 300:
        said = server_message(response)
        reason = f"{name}: {response.url} answered {response.status}{f' ({said})' if said else ''}"
        return Measurement(gate=name, outcome=Outcome.FAIL, reason=reason)
    if "json" not in response.headers.get("content-type", "") or not response.body.strip():
        outcome = Outcome.WAITING if response.status == 202 else Outcome.PASS
        word = "not ready to judge yet" if outcome is Outcome.WAITING else "content"
        reason = f"{name}: {response.url} answered {response.status}: {word}"
        return Measurement(gate=name, outcome=outcome, reason=reason)
    answer = response.decode(_Answer)
    reason = " ".join(answer.reason.split())[:300]
    return Measurement(
        gate=name,
        outcome=OUTCOMES[answer.outcome],
        reason=f"{name}: {reason or f'{response.url} says {answer.outcome}'}",
        value=answer.value,
        preview=answer.preview.counts if answer.preview else None,
        stable=answer.stable.counts if answer.stable else None,
    )
