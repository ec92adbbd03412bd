"""The refusals of an API server, worded as the real one words them (apimachinery's `api/errors`)."""

from __future__ import annotations

from typing import Any

from pipeline_step.sandbox.kinds import Kind

Obj = dict[str, Any]


class ApiError(Exception):
    """A refusal: `code` is the HTTP status, `reason` the machine-readable word, `message` the sentence."""

    def __init__(self, code: int, reason: str, message: str, details: Obj | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason
        self.message = message
        self.details = details

    def status(self) -> Obj:
        """The body that a client receives: an object of kind Status."""
        body: Obj = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": self.message,
        }
        if self.reason:
            body["reason"] = self.reason
        if self.details:
            body["details"] = self.details
        return {**body, "code": self.code}


def _details(kind: Kind, name: str) -> Obj:
    found: Obj = {"name": name, "kind": kind.plural}
    return {"name": name, "group": kind.group, "kind": kind.plural} if kind.group else found


def not_found(kind: Kind, name: str) -> ApiError:
    """404 for an object that is not there."""
    return ApiError(404, "NotFound", f'{kind.resource} "{name}" not found', _details(kind, name))


def already_exists(kind: Kind, name: str) -> ApiError:
    """409 for a create whose name is taken."""
    return ApiError(409, "AlreadyExists", f'{kind.resource} "{name}" already exists', _details(kind, name))


def conflict(kind: Kind, name: str, why: str = "") -> ApiError:
    """409 for a write based on an old version, or whose precondition does not hold."""
    said = why or ("the object has been modified; please apply your changes to the latest version and try again")
    message = f'Operation cannot be fulfilled on {kind.resource} "{name}": {said}'
    return ApiError(409, "Conflict", message, _details(kind, name))


def stale(kind: Kind, name: str, key: str, wanted: str, held: str) -> ApiError:
    """409 for a delete whose precondition (`uid` or `resourceVersion`) does not hold."""
    label, moral = {"uid": ("UID", "deleted and then recreated"), "resourceVersion": ("ResourceVersion", "modified")}[
        key
    ]
    why = (
        f"the {label} in the precondition ({wanted}) does not match the {label} in record ({held}). "
        f"The object might have been {moral}"
    )
    message = f'Operation cannot be fulfilled on {_full(kind)} "{name}": {why}'
    return ApiError(409, "Conflict", message, {**_details(kind, name), "kind": kind.kind})


def no_version(kind: Kind, name: str) -> ApiError:
    """422 for a replace that does not say which version it replaces."""
    cause = "Invalid value: 0: must be specified for an update"
    message = f'{kind.resource} "{name}" is invalid: metadata.resourceVersion: {cause}'
    causes = [{"reason": "FieldValueInvalid", "message": cause, "field": "metadata.resourceVersion"}]
    return ApiError(422, "Invalid", message, {**_details(kind, name), "causes": causes})


def _full(kind: Kind) -> str:
    return f"{kind.kind}.{kind.group}" if kind.group else kind.kind


def no_manager() -> ApiError:
    """422 for a server-side apply without a field manager."""
    cause = "Required value: is required for apply patch"
    causes = [{"reason": "FieldValueRequired", "message": cause, "field": "fieldManager"}]
    details = {"group": "meta.k8s.io", "kind": "PatchOptions", "causes": causes}
    message = f'PatchOptions.meta.k8s.io "" is invalid: fieldManager: {cause}'
    return ApiError(422, "Invalid", message, details)


def unrecognized(kind: Kind, why: str) -> ApiError:
    """400 for a body that does not say what it is."""
    return bad_request(f"the object provided is unrecognized (must be of type {kind.kind}): {why}")


def invalid(kind: Kind, name: str, *causes: tuple[str, str, str]) -> ApiError:
    """422; each cause is (field, reason such as FieldValueInvalid, message)."""
    shown = [f"{path}: {message}" for path, _, message in causes]
    joined = shown[0] if len(shown) == 1 else f"[{', '.join(shown)}]"
    details = _details(kind, name)
    details["kind"] = kind.kind
    details["causes"] = [{"reason": r, "message": m, "field": p} for p, r, m in causes]
    return ApiError(422, "Invalid", f'{_full(kind)} "{name}" is invalid: {joined}', details)


def bad_request(message: str) -> ApiError:
    """400 for a body or a parameter that cannot be understood."""
    return ApiError(400, "BadRequest", message)


def forbidden(kind: Kind, name: str, why: str) -> ApiError:
    """403 with the reason that comes after `is forbidden:`."""
    shown = f'{kind.resource} "{name}"' if name else kind.resource
    return ApiError(403, "Forbidden", f"{shown} is forbidden: {why}", _details(kind, name))
