"""The triggers fit the types of Tekton Triggers and the annotations those of Pipelines-as-Code, both as JSON schemas.

The types come from a client library that is generated from Tekton Triggers' own Go types, and is read here with javap:
the project's CRDs hold any field, and its admission webhook is not in a package registry.
"""

from __future__ import annotations

import copy
import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from .test_manifests import FILES, TEKTON, Obj, documents, name_of, only

PACKAGE = "io.fabric8.tekton.triggers.v1beta1"
ARTIFACT = "io.fabric8:tekton-model-triggers-v1beta1:6.13.4"
SHA256 = "836691764f46b672813ed5d90ac4f485e1faff10e62214e2f097819f1eaa3525"
PLAIN = {"java.lang.String": "string", "java.lang.Integer": "integer", "java.lang.Boolean": "boolean"}
ANYTHING: Obj = {}


@pytest.fixture(scope="session")
def model() -> Path:
    """The library's archive, fetched once; skips where Maven or the JDK is missing."""
    if shutil.which("mvn") is None or shutil.which("javap") is None:
        pytest.skip("mvn and javap are not installed: the types of Tekton Triggers can't be read")
    cache = Path(os.environ.get("PIPELINE_STEP_CACHE") or Path.home() / ".cache" / "pipeline-step") / "maven"
    cache.mkdir(parents=True, exist_ok=True)
    archive = cache / f"{ARTIFACT.split(':', 1)[1].replace(':', '-')}.jar"
    with (cache / "lock").open("w") as guard:
        fcntl.flock(guard, fcntl.LOCK_EX)
        if not archive.exists():
            plugin = "org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy"
            command = ["mvn", "-q", "-B", plugin, f"-Dartifact={ARTIFACT}", f"-DoutputDirectory={cache}"]
            done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
            assert done.returncode == 0, done.stdout + done.stderr
    assert hashlib.sha256(archive.read_bytes()).hexdigest() == SHA256
    return archive


@pytest.fixture(scope="session")
def schema(model: Path) -> Obj:
    """One definition for each type; no key that the type does not have is allowed."""
    with zipfile.ZipFile(model) as jar:
        named = [name.removesuffix(".class").replace("/", ".") for name in jar.namelist() if name.endswith(".class")]
    types = [name for name in named if name.startswith(PACKAGE) and not re.search(r"Builder|Fluent|\$", name)]
    shown = subprocess.run(
        ["javap", "-p", "-cp", str(model), *types], capture_output=True, text=True, timeout=60, check=True
    ).stdout
    definitions = {}
    for name, body in re.findall(rf"^public class {re.escape(PACKAGE)}\.(\w+) .*?{{$(.*?)^}}$", shown, re.M | re.S):
        fields = re.findall(r"^  private (\S+(?: \S+>)?) (\w+);$", body, re.M)
        properties = {field: shape(kind) for kind, field in fields if field != "additionalProperties"}
        definitions[name] = {"type": "object", "additionalProperties": False, "properties": properties}
    assert {"EventListener", "TriggerBinding", "TriggerTemplate"} <= definitions.keys()
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "$defs": definitions}


def shape(kind: str) -> Obj:
    """A Java type as a schema; types of other libraries hold anything."""
    if item := re.fullmatch(r"java\.util\.List<(.*)>", kind):
        return {"type": "array", "items": shape(item[1])}
    if kind.startswith(f"{PACKAGE}."):
        return {"$ref": f"#/$defs/{kind.removeprefix(f'{PACKAGE}.')}"}
    return {"type": PLAIN[kind]} if kind in PLAIN else ANYTHING


def errors(schema: Obj, document: Obj) -> list[str]:
    validator = jsonschema.Draft202012Validator({**schema, "$ref": f"#/$defs/{document['kind']}"})
    return [error.message for error in validator.iter_errors(document)]


TRIGGERS = documents(TEKTON / "triggers/github.yaml")


@pytest.mark.contract
@pytest.mark.timeout(360)
@pytest.mark.parametrize("document", TRIGGERS, ids=lambda document: document["kind"])
def test_a_trigger_has_the_keys_and_types_of_tekton_triggers(schema: Obj, document: Obj) -> None:
    assert document["apiVersion"] == "triggers.tekton.dev/v1beta1"
    assert errors(schema, document) == []


@pytest.mark.contract
@pytest.mark.timeout(360)
@pytest.mark.parametrize("document", TRIGGERS, ids=lambda document: document["kind"])
def test_a_misspelt_key_is_found_wherever_it_is(schema: Obj, document: Obj) -> None:
    spoilt = list(misspelt(document, document, ()))
    assert len(spoilt) >= 5
    for path, wrong in spoilt:
        assert errors(schema, wrong), path


def misspelt(whole: Obj, node: Any, path: tuple[Any, ...]) -> Iterator[tuple[tuple[Any, ...], Obj]]:
    """The document once for each key, with that key changed; what other APIs and interceptors define is left out."""
    if isinstance(node, list):
        for index, entry in enumerate(node):
            yield from misspelt(whole, entry, (*path, index))
    if not isinstance(node, dict):
        return
    for key, value in node.items():
        if key == "kind" and not path:
            continue
        wrong = copy.deepcopy(whole)
        place: Any = wrong
        for part in path:
            place = place[part]
        place[f"{key}x"] = place.pop(key)
        yield (*path, key), wrong
        if key not in ("metadata", "resourcetemplates", "value"):
            yield from misspelt(whole, value, (*path, key))


# https://pipelinesascode.com/docs/guide/matchingevents, .../cleanups, .../running
LISTED = {"type": "string", "pattern": r"^\[[^\[\]]+\]$"}
ANNOTATIONS: Obj = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "on-event": {
            "type": "string",
            "pattern": r"^\[(pull_request|push|incoming)(, (pull_request|push|incoming))*\]$",
        },
        "on-target-branch": LISTED,
        "on-path-change": LISTED,
        "on-path-change-ignore": LISTED,
        "on-label": LISTED,
        "on-comment": {"type": "string", "format": "regex", "minLength": 1},
        "on-cel-expression": {"type": "string", "minLength": 1},
        "max-keep-runs": {"type": "string", "pattern": "^[0-9]+$"},
        "cancel-in-progress": {"enum": ["true", "false"]},
        "target-namespace": {"type": "string"},
        "pipeline": {"type": "string"},
    },
    "patternProperties": {"^task(-[0-9]+)?$": {"type": "string"}},
    # Without one of these nothing starts the run, and an event needs a branch beside it.
    "anyOf": [
        {"required": ["on-comment"]},
        {"required": ["on-event", "on-target-branch"]},
        {"required": ["on-cel-expression"]},
    ],
}


def annotations(run: Obj) -> dict[str, Any]:
    """What Pipelines-as-Code reads of a PipelineRun."""
    prefix = "pipelinesascode.tekton.dev/"
    found = run["metadata"]["annotations"].items()
    return {key.removeprefix(prefix): value for key, value in found if key.startswith(prefix)}


@pytest.mark.parametrize("path", [path for path in FILES if ".tekton" in path.parts], ids=name_of)
def test_the_annotations_are_those_of_pipelines_as_code(path: Path) -> None:
    validator = jsonschema.Draft202012Validator(ANNOTATIONS, format_checker=jsonschema.FormatChecker())
    given = annotations(only(path))
    assert [error.message for error in validator.iter_errors(given)] == []
    for key in given:
        spoilt = {other: value for other, value in given.items() if other != key} | {f"{key}x": given[key]}
        assert not validator.is_valid(spoilt), key
