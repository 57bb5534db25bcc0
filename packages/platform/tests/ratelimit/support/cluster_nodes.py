"""Nodes of a cluster, which go on when another node is away."""

from typing import Any

from redis import Redis

from service_testing.ports import free_port
from service_testing.valkey import LocalValkey

SLOTS = 16_384


class ClusterNode(LocalValkey):
    """A Valkey in cluster mode that goes on when another node is away."""

    def _command(self) -> list[str]:
        self.bus_port = free_port()
        return [
            *super()._command(),
            "--cluster-enabled", "yes",
            "--cluster-port", str(self.bus_port),
            "--cluster-node-timeout", "500",
            "--cluster-require-full-coverage", "no",
        ]  # fmt: skip

    def ask(self, *command: object) -> Any:
        with Redis(port=self.port) as client:
            return client.execute_command(*command)

    def is_ready(self) -> bool:
        healthy = b"cluster_state:ok" in self.ask("CLUSTER", "INFO")
        return healthy and len(self.ask("CLUSTER", "SLOTS")) == 3


def cluster_calls(nodes: list[ClusterNode], command: str) -> list[int]:
    return [
        node.ask("INFO", "commandstats").get(f"cmdstat_{command}", {}).get("calls", 0)
        for node in nodes
    ]
