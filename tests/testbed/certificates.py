"""A certificate authority of the test-bed's own, the API server's certificates, and kubeconfigs, made by openssl."""

from __future__ import annotations

import base64
import secrets
import subprocess
from collections.abc import Sequence
from pathlib import Path

import yaml

from .environment import KUBERNETES_SERVICE, NODE, STATE
from .errors import TestbedError

FOLDER = STATE / "certificates"
AUTHORITY = FOLDER / "ca.crt"
TOKENS = FOLDER / "tokens.csv"
_DAYS = "30"

_USERS = {
    "admin": ("testbed-admin", "system:masters"),
    "mesh": ("testbed-mesh", "system:masters"),
    "metrics": ("testbed-metrics", "system:masters"),
    "dns": ("testbed-dns", "system:masters"),
    "kube-controller-manager": ("system:kube-controller-manager", ""),
    "kube-scheduler": ("system:kube-scheduler", ""),
    "kube-proxy": ("system:kube-proxy", ""),
    "kubelet": (f"system:node:{NODE}", "system:nodes"),
}
"""Who talks to the API server: a name for the kubeconfig, the user name that audit lines show, and its group."""


def create() -> None:
    """Make the authority, the certificates, the key that signs ServiceAccount tokens, and all kubeconfigs."""
    FOLDER.mkdir(mode=0o700, parents=True, exist_ok=True)
    _key("ca")
    _openssl(
        "req", "-x509", "-new", "-key", "ca.key", "-out", "ca.crt", "-days", _DAYS, "-subj", "/CN=testbed-ca",
    )  # fmt: skip
    names = ["kubernetes", "kubernetes.default", "kubernetes.default.svc", "localhost"]
    addresses = ["127.0.0.1", NODE, KUBERNETES_SERVICE]
    alternatives = [f"DNS:{name}" for name in names] + [f"IP:{address}" for address in addresses]
    _issue("apiserver", "/CN=kube-apiserver", "serverAuth", alternatives)
    _issue("apiserver-kubelet-client", "/O=system:masters/CN=kube-apiserver-kubelet-client", "clientAuth")
    _key("service-accounts")
    _openssl("ec", "-in", "service-accounts.key", "-pubout", "-out", "service-accounts.pub")
    _write_tokens()


def kubeconfig(name: str) -> Path:
    """The kubeconfig of one of the users; `admin` is the one that tests get."""
    return STATE / "kubeconfig" if name == "admin" else FOLDER / f"{name}.kubeconfig"


def _write_tokens() -> None:
    tokens = {name: secrets.token_urlsafe(24) for name in _USERS}
    lines = [f'{tokens[name]},{user},{name},"{group}"\n' for name, (user, group) in _USERS.items()]
    TOKENS.write_text("".join(lines), encoding="ascii")
    authority = base64.b64encode(AUTHORITY.read_bytes()).decode()
    for name, token in tokens.items():
        cluster = {"server": f"https://{NODE}:6443", "certificate-authority-data": authority}
        content = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "testbed", "cluster": cluster}],
            "users": [{"name": name, "user": {"token": token}}],
            "contexts": [{"name": "testbed", "context": {"cluster": "testbed", "user": name}}],
            "current-context": "testbed",
        }
        kubeconfig(name).write_text(yaml.safe_dump(content), encoding="utf-8")
        kubeconfig(name).chmod(0o600)


def _key(name: str) -> None:
    _openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", f"{name}.key")


def _issue(name: str, subject: str, usage: str, alternatives: Sequence[str] = ()) -> None:
    _key(name)
    extensions = [f"extendedKeyUsage={usage}"]
    if alternatives:
        extensions.append(f"subjectAltName={','.join(alternatives)}")
    (FOLDER / f"{name}.ext").write_text("\n".join(extensions) + "\n", encoding="ascii")
    _openssl("req", "-new", "-key", f"{name}.key", "-out", f"{name}.csr", "-subj", subject)
    _openssl(
        "x509", "-req", "-in", f"{name}.csr", "-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial",
        "-days", _DAYS, "-extfile", f"{name}.ext", "-out", f"{name}.crt",
    )  # fmt: skip


def _openssl(*arguments: str) -> None:
    done = subprocess.run(["openssl", *arguments], cwd=FOLDER, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise TestbedError(f"`openssl {' '.join(arguments)}` failed in {FOLDER}: {done.stderr.strip()}")
