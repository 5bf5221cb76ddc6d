"""A backend without hypervisors: it plays nodes and VMs, for development, demonstrations and tests.

It keeps no truth in memory. All it shows is a function of the dataclasses given, its options and the clock, so that
any number of processes, and one that was started again, show the same.
"""

import time
import uuid
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from vmbackends import mock_guest, mock_metrics
from vmbackends.base import (
    Backend,
    Capabilities,
    DomainState,
    LogLine,
    Metrics,
    NodeRef,
    NodeReport,
    Observation,
    Power,
    Secret,
    SnapshotSpec,
    VmSpec,
)
from vmbackends.errors import NodeUnreachable, Refused

OS_IMAGES = (
    "ubuntu-22.04", "ubuntu-20.04", "centos-8", "centos-7", "debian-12", "debian-11", "windows-server-2022",
    "windows-server-2019",
)  # fmt: skip
EVERY = "*"

_NODES = uuid.UUID("6b0a3f0e-5d0a-4c9e-9a55-0f0d6f2f7a11")


class MockBackend(Backend):
    """Options, all of them optional:

    `deploy_s`, `stop_s`, `restore_s`: how long a guest takes to boot, to shut down and to be restored, in seconds.
    `latency_s`: how long each call of a node takes, slept for real.
    `instant_snapshots`: a snapshot is complete when asked for.
    `fail_deploys`, `fail_stops`: true for every VM, or parts of the names of those whose disk cannot be made, or
    that cannot be stopped.
    `down`: names of nodes that do not answer; `["*"]` is all of them.
    """

    def __init__(
        self,
        *,
        deploy_s: float = 3.0,
        stop_s: float = 2.0,
        restore_s: float = 2.0,
        latency_s: float = 0.0,
        instant_snapshots: bool = True,
        fail_deploys: bool | Sequence[str] = False,
        fail_stops: bool | Sequence[str] = False,
        down: Sequence[str] = ("worker-03",),
        **unknown: Any,
    ) -> None:
        super().__init__(**unknown)
        self._deploy = _duration("deploy_s", deploy_s)
        self._stop = _duration("stop_s", stop_s)
        self._restore = _duration("restore_s", restore_s)
        self._latency = _duration("latency_s", latency_s)
        if instant_snapshots is not True and instant_snapshots is not False:
            raise ValueError(f"instant_snapshots is {instant_snapshots!r}; it takes true or false")
        self._fail_deploys = _which("fail_deploys", fail_deploys)
        self._fail_stops = _which("fail_stops", fail_stops)
        self._down = _names("down", down)
        self.capabilities = Capabilities(local_reads=True, instant_snapshots=instant_snapshots)

    # The node

    def probe(self, node: NodeRef) -> NodeReport:
        """Its capacities and GPUs are what operators say: a mock has none to count."""
        self._reach(node)
        return NodeReport(boot_id=_boot_id(node), os_images=OS_IMAGES, versions={"backend": "mock"})

    def observe(self, node: NodeRef, vms: Sequence[VmSpec]) -> Observation:
        """Each VM as its power is meant to be. A guest takes its time to go down only in the eyes of whoever asked it
        to (`domain`): a mock cannot know whether its power was cut meanwhile, and a look at a whole node is for VMs
        that nobody works on."""
        self._reach(node)
        now = datetime.now(UTC)
        return Observation(boot_id=_boot_id(node), domains={vm.id: self._state(vm, now) for vm in vms})

    def domain(self, node: NodeRef, vm: VmSpec) -> DomainState:
        self._reach(node)
        now = datetime.now(UTC)
        if not vm.power.on and now - vm.power.since < self._stop:
            return DomainState(Power.RUNNING, booted=True, ip_address=address_of(vm))
        return self._state(vm, now)

    def _state(self, vm: VmSpec, now: datetime) -> DomainState:
        if not vm.power.on:
            return DomainState(Power.OFF)
        if now - vm.power.since < self._deploy:
            return DomainState(Power.RUNNING)
        return DomainState(Power.RUNNING, booted=True, ip_address=address_of(vm))

    # Disks and definition

    def create_disk(self, node: NodeRef, vm: VmSpec) -> None:
        self._reach(node)
        if _matches(vm, self._fail_deploys):
            raise Refused(
                f"Node {node.name} has no space for the {vm.disk_gb} GB disk of {vm.name}. "
                "Free space there or use a smaller disk (the mock backend's option `fail_deploys` asks for this)."
            )

    def grow_disk(self, node: NodeRef, vm: VmSpec) -> None:
        self._reach(node)

    def delete_disks(self, node: NodeRef, vm: VmSpec) -> None:
        self._reach(node)

    def write_seed(self, node: NodeRef, vm: VmSpec, secret: Secret | None) -> None:
        self._reach(node)

    def remove_seed(self, node: NodeRef, vm: VmSpec) -> None:
        self._reach(node)

    def define(self, node: NodeRef, vm: VmSpec) -> None:
        self._reach(node)

    def undefine(self, node: NodeRef, vm: VmSpec) -> None:
        self._reach(node)

    # Power

    def start(self, node: NodeRef, vm: VmSpec, *, begun: bool = False) -> bool:
        self._reach(node)
        return True

    def shutdown(self, node: NodeRef, vm: VmSpec) -> None:
        self._reach(node)
        self._refuse_stop(node, vm)

    def power_off(self, node: NodeRef, vm: VmSpec) -> None:
        self._reach(node)
        self._refuse_stop(node, vm)

    def _refuse_stop(self, node: NodeRef, vm: VmSpec) -> None:
        if _matches(vm, self._fail_stops):
            raise Refused(
                f"Node {node.name} cannot stop {vm.name}: its process does not end. "
                "Look at the node and try again (the mock backend's option `fail_stops` asks for this)."
            )

    # Snapshots

    def create_snapshot(self, node: NodeRef, vm: VmSpec, snapshot: SnapshotSpec) -> int:
        self._reach(node)
        part = mock_metrics.fraction(f"{vm.id}:{snapshot.id}")
        megabytes = 15 + 285 * part
        if snapshot.with_memory:
            megabytes += vm.ram_mb * (0.02 + 0.03 * part)
        return int(megabytes * 1024 * 1024)

    def restore_snapshot(self, node: NodeRef, vm: VmSpec, snapshot: SnapshotSpec, asked_at: datetime) -> bool:
        self._reach(node)
        return datetime.now(UTC) >= asked_at + self._restore

    def delete_snapshot(self, node: NodeRef, vm: VmSpec, snapshot: SnapshotSpec) -> bool:
        self._reach(node)
        return True

    # Watching. These two are computed where they are asked for, so they know no latency.

    def metrics(self, node: NodeRef, vms: Sequence[VmSpec]) -> Mapping[str, Metrics]:
        self._check_up(node)
        now = datetime.now(UTC)
        return {vm.id: self.metrics_at(vm, now) for vm in vms if vm.power.on and vm.power.since <= now}

    def metrics_at(self, vm: VmSpec, moment: datetime) -> Metrics:
        """What a sample of this VM is at that moment, had it run since `vm.power.since`."""
        return mock_metrics.sample(vm, moment)

    def guest_log(self, node: NodeRef, vm: VmSpec, since: datetime | None, limit: int) -> Sequence[LogLine]:
        self._check_up(node)
        if not vm.power.on:
            return ()
        return mock_guest.lines(vm, address_of(vm), datetime.now(UTC), since, limit)

    # Reaching a node

    def _reach(self, node: NodeRef) -> None:
        if self._latency:
            time.sleep(self._latency.total_seconds())
        self._check_up(node)

    def _check_up(self, node: NodeRef) -> None:
        if EVERY in self._down or node.name in self._down:
            raise NodeUnreachable(
                f"Node {node.name} does not answer. See that it is on and on the network "
                "(the mock backend's option `down` asks for this)."
            )


def address_of(vm: VmSpec) -> str:
    """Its static address, or the one that a DHCP server would give it: 10.<VLAN, high>.<VLAN, low>.<2 to 253>."""
    if vm.network.ip_address is not None:
        return vm.network.ip_address
    vlan = vm.network.vlan_id or 0
    try:
        # The last digits of an id count up, so that VMs made one after another get different addresses.
        number = int(vm.id[-6:], 16)
    except ValueError:
        number = int(mock_metrics.fraction(vm.id) * 0xFFFFFF)
    return f"10.{vlan >> 8}.{vlan & 0xFF}.{2 + number % 252}"


def _boot_id(node: NodeRef) -> str:
    return str(uuid.uuid5(_NODES, node.name))


def _matches(vm: VmSpec, parts: Iterable[str]) -> bool:
    return any(part == EVERY or part in vm.name for part in parts)


def _duration(option: str, value: object) -> timedelta:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 86_400:
        raise ValueError(f"{option} is {value!r}; it takes seconds, from 0 to 86400")
    return timedelta(seconds=value)


def _which(option: str, value: object) -> tuple[str, ...]:
    if isinstance(value, bool):
        return (EVERY,) if value else ()
    return _names(option, value, "true, false or a list of parts of VM names")


def _names(option: str, value: object, takes: str = "a list of node names") -> tuple[str, ...]:
    if not isinstance(value, list | tuple) or not all(isinstance(name, str) and name for name in value):
        raise ValueError(f"{option} is {value!r}; it takes {takes}")
    return tuple(value)
