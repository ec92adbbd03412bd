"""Secrets leave no trace: masking of texts and addresses."""

from __future__ import annotations

import base64
import logging
from collections.abc import Iterable
from urllib.parse import parse_qsl, quote, urlencode, urlsplit, urlunsplit

MASK = "***"
SECRET_PARAMETERS = frozenset(
    {"access_token", "api_key", "apikey", "auth", "client_secret", "code", "key", "password", "private_token"}
    | {"secret", "sig", "signature", "token", "x-amz-signature", "x-amz-security-token"}
)


class Redaction(logging.Filter):
    """Masks known secrets; as a filter of a log handler it does so for every record that passes."""

    def __init__(self, secrets: Iterable[str]) -> None:
        super().__init__()
        self._forms = _forms(secrets)

    def redact(self, text: str) -> str:
        """`text` with every secret masked, also where it is percent-encoded or in base64."""
        for secret in self._forms:
            text = text.replace(secret, MASK)
        return text

    def filter(self, record: logging.LogRecord) -> bool:
        """Mask the record's text and its traceback; always lets it pass."""
        record.msg, record.args = self.redact(record.getMessage()), None
        if record.exc_info and not record.exc_text:
            record.exc_text = logging.Formatter().formatException(record.exc_info)
        if record.exc_text:
            record.exc_text = self.redact(record.exc_text)
        return True


def shown(url: str) -> str:
    """`url` for people: no user info, no value of a parameter that may be a secret, at most 300 characters."""
    try:
        parts = urlsplit(without_userinfo(url))
    except ValueError:
        return "an address that is no URL"
    query = urlencode(
        [
            (name, MASK if name.lower() in SECRET_PARAMETERS else value)
            for name, value in parse_qsl(parts.query, keep_blank_values=True)
        ],
        safe="*/:{}(),",
    )
    text = urlunsplit((parts.scheme, parts.netloc, parts.path, query, ""))
    return text if len(text) <= 300 else text[:299] + "…"


def without_userinfo(url: str) -> str:
    """`url` without the user and password before its host."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


def _forms(secrets: Iterable[str]) -> list[str]:
    """Every spelling of the secrets, longest first."""
    forms = set()
    for secret in (text.strip() for text in secrets):
        in_base64 = base64.b64encode(secret.encode(errors="replace")).decode().rstrip("=")
        forms |= {secret, quote(secret, safe="", errors="replace"), in_base64, repr(secret)[1:-1]}
        try:
            decoded = base64.b64decode(secret, validate=True).decode()
        except ValueError:
            continue
        if ":" in decoded:
            forms.add(decoded.partition(":")[2])
    return sorted(forms - {""}, key=len, reverse=True)
