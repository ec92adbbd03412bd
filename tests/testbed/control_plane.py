"""etcd and the Kubernetes control plane."""

from __future__ import annotations

from . import configuration, parts, processes
from .certificates import AUTHORITY, FOLDER, TOKENS, kubeconfig
from .environment import NODE, POD_RANGE, SERVICE_RANGE, STATE


def start_store() -> None:
    """Start etcd. It may lose data when the machine stops: a test-bed's data is not worth a disk's waiting time."""
    processes.start(
        "etcd",
        [
            str(parts.path("etcd", "etcd")),
            f"--data-dir={STATE / 'etcd'}",
            "--listen-client-urls=http://127.0.0.1:2379",
            "--advertise-client-urls=http://127.0.0.1:2379",
            "--listen-peer-urls=http://127.0.0.1:2380",
            "--initial-advertise-peer-urls=http://127.0.0.1:2380",
            "--initial-cluster=default=http://127.0.0.1:2380",
            "--unsafe-no-fsync",
            "--log-level=warn",
        ],
    )


def start_api_server() -> None:
    """Start the API server: RBAC as in production, an audit line (Metadata) for every request."""
    policy = configuration.write("audit-policy.yaml")
    processes.start(
        "kube-apiserver",
        [
            str(parts.path("kubernetes", "kube-apiserver")),
            "--etcd-servers=http://127.0.0.1:2379",
            "--bind-address=0.0.0.0",
            "--secure-port=6443",
            f"--advertise-address={NODE}",
            f"--service-cluster-ip-range={SERVICE_RANGE}",
            f"--tls-cert-file={FOLDER / 'apiserver.crt'}",
            f"--tls-private-key-file={FOLDER / 'apiserver.key'}",
            f"--client-ca-file={AUTHORITY}",
            f"--kubelet-client-certificate={FOLDER / 'apiserver-kubelet-client.crt'}",
            f"--kubelet-client-key={FOLDER / 'apiserver-kubelet-client.key'}",
            # Otherwise `kubectl logs` looks up the node's name, which no server knows.
            "--kubelet-preferred-address-types=InternalIP",
            "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
            f"--service-account-key-file={FOLDER / 'service-accounts.pub'}",
            f"--service-account-signing-key-file={FOLDER / 'service-accounts.key'}",
            f"--token-auth-file={TOKENS}",
            "--authorization-mode=Node,RBAC",
            "--allow-privileged",
            f"--audit-policy-file={policy}",
            f"--audit-log-path={STATE / 'log' / 'audit.jsonl'}",
            "--audit-log-maxsize=2000",
        ],
    )


def start_controllers() -> None:
    """Start the controller manager and the scheduler, alone and so without electing a leader."""
    processes.start(
        "kube-controller-manager",
        [
            str(parts.path("kubernetes", "kube-controller-manager")),
            f"--kubeconfig={kubeconfig('kube-controller-manager')}",
            "--leader-elect=false",
            "--secure-port=0",
            "--use-service-account-credentials",
            f"--service-account-private-key-file={FOLDER / 'service-accounts.key'}",
            f"--root-ca-file={AUTHORITY}",
            f"--flex-volume-plugin-dir={STATE / 'kubelet' / 'plugins'}",
            f"--cluster-cidr={POD_RANGE}",
            f"--service-cluster-ip-range={SERVICE_RANGE}",
            # A busy machine may stall the kubelet; its pods must not be evicted for that.
            "--node-monitor-grace-period=5m",
            "--kube-api-qps=100",
            "--kube-api-burst=200",
        ],
    )
    processes.start(
        "kube-scheduler",
        [
            str(parts.path("kubernetes", "kube-scheduler")),
            f"--kubeconfig={kubeconfig('kube-scheduler')}",
            "--leader-elect=false",
            "--secure-port=0",
        ],
    )
