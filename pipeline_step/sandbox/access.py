"""Who may do what, and which calls fail on purpose: the rules that a test sets on a sandbox."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import Any

from pipeline_step.sandbox import refusals
from pipeline_step.sandbox.kinds import BY_PLURAL, Kind

Obj = dict[str, Any]
USER = "sandbox"


@dataclass(frozen=True, kw_only=True)
class Call:
    """One request of the API as authorisation sees it. `resource` carries the subresource, as `pods/proxy`."""

    verb: str
    group: str
    resource: str
    namespace: str
    name: str


@dataclass(frozen=True, kw_only=True)
class Rule:
    """A refusal: `*` matches anything."""

    verb: str = "*"
    resource: str = "*"
    namespace: str = "*"
    name: str = "*"
    group: str = "*"

    def matches(self, call: Call) -> bool:
        """Whether the rule forbids that call."""
        pairs = (
            (self.verb, call.verb),
            (self.resource, call.resource),
            (self.namespace, call.namespace),
            (self.name, call.name),
            (self.group, call.group),
        )
        return all(wanted in ("*", given) for wanted, given in pairs)


@dataclass
class Failure:
    """An answer with an error status for the next `times` calls that the rule matches."""

    rule: Rule
    code: int
    times: int
    retry_after: int | None = None


@dataclass
class Access:
    """The rule table of one sandbox: everything is allowed but what a rule denies."""

    denied: list[Rule] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def allows(self, call: Call) -> bool:
        """Whether no rule denies the call."""
        return not any(rule.matches(call) for rule in tuple(self.denied))

    def check(self, call: Call) -> None:
        """Refuse with 403, worded as RBAC words it, when a rule denies the call."""
        if self.allows(call):
            return
        plural, _, _ = call.resource.partition("/")
        kind = BY_PLURAL.get((call.group, plural)) or Kind(group=call.group, kind=plural, plural=plural)
        scope = f' in the namespace "{call.namespace}"' if call.namespace else " at the cluster scope"
        why = f'User "{USER}" cannot {call.verb} resource "{call.resource}" in API group "{call.group}"{scope}'
        raise refusals.forbidden(kind, call.name, why)

    def review(self, body: Obj) -> Obj:
        """The answer to a SelfSubjectAccessReview."""
        asked = (body.get("spec") or {}).get("resourceAttributes") or {}
        resource = asked.get("resource", "")
        if asked.get("subresource"):
            resource = f"{resource}/{asked['subresource']}"
        call = Call(
            verb=asked.get("verb", ""),
            group=asked.get("group", ""),
            resource=resource,
            namespace=asked.get("namespace", ""),
            name=asked.get("name", ""),
        )
        allowed = self.allows(call)
        reason = "" if allowed else "denied by a rule of the sandbox"
        review = {"kind": "SelfSubjectAccessReview", "apiVersion": "authorization.k8s.io/v1", "metadata": {}}
        return {**review, "spec": body.get("spec"), "status": {"allowed": allowed, "reason": reason}}

    def failure(self, call: Call) -> Failure | None:
        """The failure that this call gets, counted down; None when there is none left."""
        with self._lock:
            for failure in self.failures:
                if failure.times > 0 and failure.rule.matches(call):
                    failure.times -= 1
                    return failure
        return None
