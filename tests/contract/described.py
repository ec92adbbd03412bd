"""Recorded exchanges held to a published description of an API: Swagger 2 or OpenAPI 3, as plain dicts.

What is asked must be an operation that the description has, with the parameters and fields that it names and of their
types; what our own servers in tests/scm/providers answer may have only fields that it names.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, urlsplit

Node = Mapping[str, Any]
TYPES: Mapping[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "array": (list,),
    "object": (dict,),
}


@dataclass(frozen=True)
class Description:
    """A description's document; `prefix` is what stands before its paths in a request's."""

    document: Node
    prefix: str = ""

    def breaches(self, exchange: Node) -> Iterator[str]:
        """Everything that an exchange of a golden file has and the description has not."""
        method, _, target = exchange["request"].partition(" ")
        parts = urlsplit(target)
        found = self._operation(method.lower(), parts.path.removeprefix(self.prefix))
        if found is None:
            yield f"{method} {parts.path}: there is no such operation"
            return
        parameters, operation = found
        where = f"{method} {parts.path}"
        query = {name for name, _ in parse_qsl(parts.query, keep_blank_values=True)}
        known = {one["name"] for one in parameters if one["in"] == "query"}
        needed = {one["name"] for one in parameters if one["in"] == "query" and one.get("required")}
        if query - known:
            yield f"{where}: parameters {sorted(query - known)}, but {sorted(known)} are named"
        if exchange["status"] < 300 and needed - query:
            yield f"{where}: the parameters {sorted(needed - query)} are missing"
        schema = self._body(parameters, operation)
        if exchange["body"] is not None and exchange["status"] < 300:
            if schema is None:
                yield f"{where}: a body, where none is named"
            else:
                yield from self._fits(exchange["body"], schema, f"{where} body", asked=True)
        answer = self._answer(operation, exchange["status"])
        if answer is not None and exchange["status"] < 300:
            found_answer = exchange["answer"]
            if isinstance(found_answer, dict) and set(found_answer) == {"count", "value"}:
                found_answer = found_answer["value"]  # as Azure DevOps wraps every list, whose description does not
            yield from self._fits(found_answer, answer, f"{where} answer", asked=False)

    def _operation(self, method: str, path: str) -> tuple[list[Node], Node] | None:
        best: tuple[int, list[Node], Node] | None = None
        for template, item in self.document["paths"].items():
            pattern = re.sub(r"\\\{[^}]*\\\}", "[^/]+", re.escape(template.rstrip("/")))
            # What may hold slashes comes last in these APIs: a file's path, or the name of a branch.
            pattern = re.sub(r"\[\^/\]\+$", ".+", pattern)
            fixed = len(re.sub(r"\{[^}]*\}", "", template))
            if re.fullmatch(pattern, path.rstrip("/")) and method in item and (best is None or fixed > best[0]):
                given = [*item.get("parameters", []), *item[method].get("parameters", [])]
                best = fixed, [self._resolve(one) for one in given], item[method]
        return best[1:] if best else None

    def _body(self, parameters: list[Node], operation: Node) -> Node | None:
        if "requestBody" in operation:
            content = self._resolve(operation["requestBody"])["content"]
            schema: Node = next(iter(content.values()))["schema"]
            return schema
        forms = [one for one in parameters if one["in"] == "formData"]
        if forms:
            return {"type": "object", "properties": {one["name"]: one for one in forms}}
        return next((one["schema"] for one in parameters if one["in"] == "body"), None)

    def _answer(self, operation: Node, status: int) -> Node | None:
        response = self._resolve(operation.get("responses", {}).get(str(status), {}))
        if "content" in response:
            found: Node | None = next(iter(response["content"].values())).get("schema")
            return found
        return response.get("schema")

    def _resolve(self, node: Any) -> Any:
        while isinstance(node, dict) and "$ref" in node:
            target: Any = self.document
            for part in node["$ref"].removeprefix("#/").split("/"):
                target = target[part.replace("~1", "/").replace("~0", "~")]
            node = target
        return node

    def _fits(self, value: Any, schema: Node, where: str, *, asked: bool) -> Iterator[str]:
        schema = self._merged(schema)
        if value is None:
            return
        if not asked and isinstance(value, list) and schema.get("type") == "object":
            return  # GitLab's description names the item of a list where the list is meant
        wanted = TYPES.get(schema.get("type", ""))
        if wanted and (not isinstance(value, wanted) or (isinstance(value, bool) and bool not in wanted)):
            yield f"{where}: {value!r} is no {schema['type']}"
        elif asked and "enum" in schema and value not in schema["enum"]:
            yield f"{where}: {value!r} is none of {schema['enum']}"
        elif isinstance(value, list):
            for item in value[:3]:
                yield from self._fits(item, schema.get("items", {}), f"{where}[]", asked=asked)
        elif isinstance(value, dict) and schema.get("properties"):
            for key, inner in value.items():
                if key in schema["properties"]:
                    yield from self._fits(inner, schema["properties"][key], f"{where}.{key}", asked=asked)
                elif not schema.get("additionalProperties"):
                    yield f"{where}.{key}: there is no such field"
            for key in schema.get("required", ()) if asked else ():
                if key not in value:
                    yield f"{where}.{key}: is missing"

    def _merged(self, schema: Node) -> Node:
        """A schema with those that it is made of."""
        schema = self._resolve(schema)
        merged: dict[str, Any] = {}
        for part in schema.get("allOf", ()):
            inner = self._merged(part)
            properties = {**merged.get("properties", {}), **inner.get("properties", {})}
            merged = {**merged, **inner, "properties": properties}
        own = {key: value for key, value in schema.items() if key != "allOf"}
        return {**merged, **own, "properties": {**merged.get("properties", {}), **own.get("properties", {})}}
