"""The mesh's Prometheus as our sidecars see it: a server in the cluster that has none, whatever it is called."""

from __future__ import annotations

from dataclasses import dataclass

from meshlab.core.address import host_port


@dataclass(frozen=True)
class MetricsServer:
    """Its Service. path: in front of every path of its API."""

    namespace: str
    service: str
    port: int
    path: str = ""

    @property
    def ready_url(self) -> str:
        """Where it tells, in plaintext, whether it is ready."""
        return f"http://{host_port(f'{self.service}.{self.namespace}.svc', self.port)}{self.path}/-/ready"
