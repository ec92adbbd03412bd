"""What settings in `.pipeline-step.yaml` are made of: the strict base and the annotated types with their words.

Routers, gates and promoters build their `Settings` from these, so that errors and the JSON schema read alike.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any

import msgspec

LABEL_PATTERN = r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$"
DURATION_PATTERN = r"^([0-9]+h)?([0-9]+m)?([0-9]+([.][0-9]+)?s)?$"
WORKLOAD_PATTERN = r"^(deployment|statefulset|daemonset)/[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$"

REPORT_PATTERN = r"^(?!configmap/)|^configmap/[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$"

WORDS = {
    LABEL_PATTERN: "a DNS label: lower-case letters, digits and '-', 1 to 63 characters",
    DURATION_PATTERN: "a duration such as 30s, 5m or 1h30m",
    WORKLOAD_PATTERN: "KIND/NAME, such as deployment/shop, where KIND is deployment, statefulset or daemonset",
    REPORT_PATTERN: "a file, or configmap/NAME",
}

Label = Annotated[str, msgspec.Meta(pattern=LABEL_PATTERN, description=WORDS[LABEL_PATTERN])]
Duration = Annotated[str, msgspec.Meta(pattern=DURATION_PATTERN, min_length=2, description=WORDS[DURATION_PATTERN])]
WorkloadName = Annotated[str, msgspec.Meta(pattern=WORKLOAD_PATTERN, description=WORDS[WORKLOAD_PATTERN])]
Report = Annotated[str, msgspec.Meta(pattern=REPORT_PATTERN, description=WORDS[REPORT_PATTERN])]
Weight = Annotated[int, msgspec.Meta(ge=0, le=100, description="a percentage of the requests, 0 to 100")]
Port = Annotated[int, msgspec.Meta(ge=1, le=65535, description="a port, 1 to 65535")]
Percent = Annotated[float, msgspec.Meta(ge=0, le=100, description="a percentage, 0 to 100")]


def says(description: str) -> msgspec.Meta:
    """What a key means, for the JSON schema and the reference: `Annotated[str, says("...")]`."""
    return msgspec.Meta(description=description)


class Strict(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A mapping of the configuration: frozen, and an unknown key is an error."""


def seconds(duration: str) -> float:
    """The length in seconds of a `Duration`; raises ValueError for anything else."""
    match = re.match(DURATION_PATTERN, duration)
    if not match or not duration:
        raise ValueError(f"{duration!r} is not {WORDS[DURATION_PATTERN]}")
    units = {"h": 3600, "m": 60, "s": 1}
    return sum(float(part[:-1]) * units[part[-1]] for part in match.groups()[:3] if part)


def choice(name: str, modules: Mapping[str, Any]) -> Any:
    """A mapping with exactly one of the modules' names as its key, and that module's Settings below it."""

    def only_one(self: Any) -> None:
        given = [key for key in modules if getattr(self, key) is not None]
        if len(given) != 1:
            raise ValueError(
                f"exactly one of these keys is needed here: {', '.join(modules)}; given: {given or 'none'}"
            )

    fields = [
        (key, Annotated[module.Settings | None, says(_first_line(module))], None) for key, module in modules.items()
    ]
    return msgspec.defstruct(
        name, fields, frozen=True, kw_only=True, forbid_unknown_fields=True, namespace={"__post_init__": only_one}
    )


def _first_line(module: Any) -> str:
    """What a module says of itself, without its name: "Gate `http`: an address must answer" gives the latter half."""
    line = (module.__doc__ or "").strip().partition("\n")[0]
    return line.partition(": ")[2].rstrip(".") or line


def chosen(value: Any) -> tuple[str, Any]:
    """The one key of a `choice` and the settings below it."""
    return next((key, settings) for key, settings in msgspec.structs.asdict(value).items() if settings is not None)
