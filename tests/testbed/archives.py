"""Container images as OCI archives, made without a registry or an engine."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from .errors import TestbedError


def write(
    archive: Path,
    files: Mapping[str, Path],
    command: Sequence[str],
    variables: Mapping[str, str] | None = None,
) -> None:
    """Write an image of one layer, `files` (path in the image -> file here), nothing else below it (FROM scratch)."""
    layer = _layer(files)
    layer_digest = _digest(layer)
    config = json.dumps(
        {
            "architecture": "amd64",
            "os": "linux",
            "config": {
                "Entrypoint": list(command),
                "Env": [f"{key}={value}" for key, value in (variables or {}).items()],
                "User": "65532:65532",
            },
            "rootfs": {"type": "layers", "diff_ids": [layer_digest]},
            "history": [{"created_by": "tests/testbed"}],
        }
    ).encode()
    manifest = json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": _descriptor("application/vnd.oci.image.config.v1+json", config),
            "layers": [_descriptor("application/vnd.oci.image.layer.v1.tar", layer)],
        }
    ).encode()
    entry = _descriptor("application/vnd.oci.image.manifest.v1+json", manifest)
    index = {"schemaVersion": 2, "manifests": [entry]}
    part = archive.with_suffix(".part")
    with tarfile.open(part, "w") as tar:
        _add(tar, "oci-layout", b'{"imageLayoutVersion": "1.0.0"}')
        _add(tar, "index.json", json.dumps(index).encode())
        for blob in (layer, config, manifest):
            _add(tar, f"blobs/sha256/{_digest(blob).removeprefix('sha256:')}", blob)
    part.rename(archive)


def digest(archive: Path) -> str:
    """The digest, sha256:..., of the one image in an archive."""
    if not archive.is_file():
        raise TestbedError(f"{archive}: no such file; expected an OCI archive")
    with tarfile.open(archive) as tar:
        try:
            index = tar.extractfile("index.json")
        except KeyError:
            index = None
        if index is None:
            raise TestbedError(f"{archive}: not an OCI archive (it has no index.json)")
        manifests = json.load(index)["manifests"]
    if len(manifests) != 1:
        raise TestbedError(f"{archive}: holds {len(manifests)} images, expected one")
    return str(manifests[0]["digest"])


def _layer(files: Mapping[str, Path]) -> bytes:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as tar:
        for target, source in files.items():
            _add(tar, target.lstrip("/"), source.read_bytes(), mode=0o755)
    return content.getvalue()


def _add(tar: tarfile.TarFile, name: str, content: bytes, mode: int = 0o644) -> None:
    entry = tarfile.TarInfo(name)
    entry.size = len(content)
    entry.mode = mode
    tar.addfile(entry, io.BytesIO(content))


def _descriptor(media_type: str, content: bytes) -> dict[str, object]:
    return {"mediaType": media_type, "digest": _digest(content), "size": len(content)}


def _digest(content: bytes) -> str:
    return "sha256:" + hashlib.sha256(content).hexdigest()
