"""What the kubelet changes in the whole machine, kept so that it can be put back; and mounts left by containers."""

from __future__ import annotations

import ctypes
import json
import os
from pathlib import Path

from .environment import STATE
from .errors import TestbedError

_libc = ctypes.CDLL(None)
_MNT_DETACH, _UMOUNT_NOFOLLOW = 2, 8  # sys/mount.h

_SAVED = STATE / "kernel-settings.json"
_SETTINGS = (
    "vm/overcommit_memory",
    "vm/panic_on_oom",
    "kernel/panic",
    "kernel/panic_on_oops",
    "kernel/keys/root_maxkeys",
    "kernel/keys/root_maxbytes",
)
"""Below /proc/sys: what the kubelet sets when it starts."""


def save_settings() -> None:
    """Remember the settings as they are before the kubelet starts."""
    values = {name: _setting(name).read_text(encoding="ascii") for name in _SETTINGS if _setting(name).exists()}
    _SAVED.write_text(json.dumps(values), encoding="utf-8")


def restore_settings() -> None:
    """Put the remembered settings back."""
    if not _SAVED.exists():
        return
    for name, value in json.loads(_SAVED.read_text(encoding="utf-8")).items():
        if _setting(name).read_text(encoding="ascii") != value:
            _setting(name).write_text(value, encoding="ascii")


def unmount_below(folder: Path) -> None:
    """Unmount everything below a folder, latest first; TestbedError if something stays mounted."""
    for lazily in (0, _MNT_DETACH):
        for target in reversed(mounts_below(folder)):
            _libc.umount2(os.fsencode(target), _UMOUNT_NOFOLLOW | lazily)
    if remaining := mounts_below(folder):
        raise TestbedError(f"these can't be unmounted: {', '.join(remaining)}")


def mounts_below(folder: Path) -> list[str]:
    """The mount points below a folder, in the order they were mounted."""
    lines = Path("/proc/self/mountinfo").read_text(encoding="utf-8").splitlines()
    # The kernel writes spaces in paths as \\040.
    targets = [line.split()[4].encode().decode("unicode_escape") for line in lines]
    return [target for target in targets if Path(target).is_relative_to(folder)]


def _setting(name: str) -> Path:
    return Path("/proc/sys") / name
