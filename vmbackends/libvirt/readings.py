"""The statistics of all guests of a node, of which one may have a QEMU that hangs.

libvirt asks one QEMU after the other, and for one that does not answer it waits without end. NOWAIT has it pass over
each that another call is waiting for already. So the first call hangs at such a QEMU, and those made while it does so
tell of all others: https://libvirt.org/html/libvirt-libvirt-domain.html#virConnectGetAllDomainStats
"""

import threading
import time
from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

import libvirt

from vmbackends.base import NodeRef
from vmbackends.errors import NodeUnreachable, NotAsked
from vmbackends.libvirt import threads
from vmbackends.libvirt.connections import Connections

# Far more than QEMUs take that answer, many though they be. Twice that is less than a look at a node may take.
_ANSWERS_S = 8.0
# Beside one that need not. Each has a connection of its own: see there.
MOST_HANGING = 2

_WHAT = (
    libvirt.VIR_DOMAIN_STATS_STATE
    | libvirt.VIR_DOMAIN_STATS_CPU_TOTAL
    | libvirt.VIR_DOMAIN_STATS_BALLOON
    | libvirt.VIR_DOMAIN_STATS_INTERFACE
    | libvirt.VIR_DOMAIN_STATS_BLOCK
)
_HOW = libvirt.VIR_CONNECT_GET_ALL_DOMAINS_STATS_RUNNING | libvirt.VIR_CONNECT_GET_ALL_DOMAINS_STATS_NOWAIT


@dataclass(frozen=True)
class Reading:
    """The fields of each guest that runs, by its domain's UUID, and when they were asked for, on a monotonic clock."""

    fields: Mapping[str, Mapping[str, Any]]
    asked_ns: int


class Readings:
    """Safe for threads."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections
        self._lock = threading.Lock()
        self._hanging: dict[str, int] = {}  # by the node's id: how many calls have not ended

    def read(self, node: NodeRef) -> Reading:
        """Of a guest that was passed over there are fewer fields. Raises NodeUnreachable, Refused."""
        for _ in range(2):
            answer: Future[Reading] = Future()
            with self._lock:
                if self._hanging.get(node.id, 0) > MOST_HANGING:
                    break
                self._hanging[node.id] = self._hanging.get(node.id, 0) + 1
            try:
                threads.begin(node, "libvirt: measure", self._ask, node, answer)
            except NotAsked:
                self._has_ended(node)
                raise
            try:
                return answer.result(_ANSWERS_S)
            except TimeoutError:
                continue
        raise NodeUnreachable(f"Node {node.name} does not tell what its guests use: QEMUs there hang. Look at it.")

    def _ask(self, node: NodeRef, answer: "Future[Reading]") -> None:
        try:
            with self._connections.at(node, "measure its domains") as connection:
                asked_ns = time.monotonic_ns()
                found = connection.getAllDomainStats(_WHAT, _HOW)
                reading = Reading({domain.UUIDString(): fields for domain, fields in found}, asked_ns)
        except Exception as e:  # noqa: BLE001  # raised again where it is waited for
            self._has_ended(node)
            answer.set_exception(e)
        else:
            self._has_ended(node)
            answer.set_result(reading)

    def _has_ended(self, node: NodeRef) -> None:
        with self._lock:
            self._hanging[node.id] -= 1
