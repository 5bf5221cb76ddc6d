"""The backend that `VM_BACKEND` names. What it does is in the modules beside it, one for each noun."""

import threading
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from vmbackends.base import (
    Backend,
    ConsoleTail,
    Devices,
    DomainState,
    Fault,
    ImageSpec,
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
from vmbackends.errors import Busy, Refused, Untouched
from vmbackends.libvirt import (
    boot_signs,
    checks,
    console,
    devices,
    domains,
    images,
    inventory,
    names,
    seed,
    snapshots,
    volumes,
)
from vmbackends.libvirt.connections import Connections
from vmbackends.libvirt.handles import Connection, Pool
from vmbackends.libvirt.longcalls import LongCalls
from vmbackends.libvirt.observe import MISSING, observe, with_address
from vmbackends.libvirt.options import Options
from vmbackends.libvirt.placement import placement
from vmbackends.libvirt.readings import Readings
from vmbackends.libvirt.shutdowns import Shutdowns
from vmbackends.libvirt.snapshots import Stage
from vmbackends.libvirt.stats import Sampler
from vmbackends.libvirt.xml.domain import domain_xml


@dataclass(frozen=True)
class _At:
    """Where a call works: a node's connection and its pool."""

    connection: Connection
    pool: Pool


class LibvirtBackend(Backend):
    """Options: see `vmbackends.libvirt.options.Options`."""

    def __init__(self, **options: Any) -> None:
        super().__init__()
        self._connections = Connections(Options.of(options))
        self._long_calls = LongCalls(self._connections)
        self._readings = Readings(self._connections)
        self._shutdowns = Shutdowns(self._connections)
        self._sampler = Sampler()
        self._watching = threading.Lock()
        self._watched: set[str] = set()

    def check(self, spec: VmSpec) -> Sequence[Fault]:
        return checks.faults(spec)

    # The node

    def probe(self, node: NodeRef) -> NodeReport:
        with self._connections.at(node, "ask the node what it has") as connection:
            return inventory.probe(connection, node)

    def observe(self, node: NodeRef, vms: Sequence[VmSpec]) -> Observation:
        with self._connections.at(node, "look at its domains") as connection:
            return observe(connection, node, vms)

    def devices_of_others(self, node: NodeRef, vm_ids: Collection[str]) -> Devices:
        with self._connections.at(node, "look at the devices of its domains") as connection:
            return devices.devices_of_others(connection, node.settings, vm_ids)

    def watch(self, node: NodeRef, notice: Callable[[], None]) -> bool:
        with self._watching:
            if node.id not in self._watched:
                self._connections.subscribe(node, lambda _name, _event, _detail: notice())
                self._watched.add(node.id)
        return True

    def domain(self, node: NodeRef, vm: VmSpec) -> DomainState:
        with self._connections.at(node, "look at its domain", vm) as connection:
            domain = domains.find(connection, vm)
            if domain is None:
                return MISSING
            power, reason = domains.power(domain)
            if power is not Power.RUNNING:
                return DomainState(power, reason=reason)
            pool = volumes.open_pool(connection, node.settings.pool)
            booted = boot_signs.has_booted(connection, pool, domain, vm)
            address = boot_signs.seen_address(domain, vm) if booted else None
            return with_address(DomainState(power, booted, reason, address), vm)

    def power(self, node: NodeRef, vm: VmSpec) -> Power:
        with self._connections.at(node, "look at its domain", vm) as connection:
            domain = domains.find(connection, vm)
            return Power.MISSING if domain is None else domains.power(domain)[0]

    # Disks and definition

    def create_disk(self, node: NodeRef, vm: VmSpec) -> None:
        with self._at(node, "create its disk", vm) as at:
            name = names.disk_volume(vm.id)
            disk = volumes.find(at.pool, name)
            if disk is None:
                volumes.clone(at.pool, name, images.volume_of(at.pool, vm), vm.disk_gb)
            else:
                volumes.grow(disk, vm.disk_gb)

    def grow_disk(self, node: NodeRef, vm: VmSpec) -> None:
        with self._at(node, "grow its disk", vm) as at:
            disk = volumes.disk_of(at.pool, vm)
            if not self._runs(at, vm):
                volumes.grow(disk, vm.disk_gb)

    def delete_disks(self, node: NodeRef, vm: VmSpec) -> None:
        with self._at(node, "remove its disks", vm) as at:
            if volumes.path_in(at.pool, names.disk_volume(vm.id)) in domains.paths_in_use(at.connection):
                raise Refused(f"The disk of {vm.name} is in use by a domain that runs. Power it off first.")
            looked = volumes.remove_all(at.pool, names.volume_prefix(vm.id))
            if not looked and console.has_older_parts(at.pool, names.console_volume(vm.id)):
                raise Busy(f"Older parts of the console of {vm.name} are removed when no volume is made in its pool.")

    def write_seed(self, node: NodeRef, vm: VmSpec, secret: Secret | None) -> None:
        with self._at(node, "write its cloud-init seed", vm) as at:
            if self._runs(at, vm):
                return  # it has read its seed, or is about to
            content = seed.iso(seed.documents(vm, images.of(vm), secret))
            volumes.write(at.connection, at.pool, names.seed_volume(vm.id), content)

    def remove_seed(self, node: NodeRef, vm: VmSpec) -> None:
        with self._at(node, "remove its cloud-init seed", vm) as at:
            domain = domains.find(at.connection, vm)
            if domain is not None and vm.image is not None:
                domains.eject_seed(domain, volumes.path_in(at.pool, names.seed_volume(vm.id)))
            volumes.remove(at.pool, names.seed_volume(vm.id))

    def define(self, node: NodeRef, vm: VmSpec) -> None:
        with self._at(node, "define its domain", vm) as at:
            place = placement(at.connection, node, at.pool, vm)
            domains.define(at.connection, domain_xml(vm, images.of(vm), place))

    def undefine(self, node: NodeRef, vm: VmSpec) -> None:
        with self._connections.at(node, "remove its domain", vm) as connection:
            domain = domains.find(connection, vm)
            if domain is not None:
                domains.undefine(domain)

    # Power

    def start(self, node: NodeRef, vm: VmSpec, *, begun: bool = False) -> bool:
        what, call = "start it", ("start", vm.power.since)
        with self._at(node, what, vm) as at:
            domain = domains.require(at.connection, vm)
            if domains.is_starting(domain):
                return False
            if self._long_calls.goes_on(vm, call):
                return self._long_calls.wait_for_its_turn(vm, call)
            if domains.is_active(domain):
                if not domains.is_paused_by_hand(domain):
                    return True
            else:
                if self._long_calls.has_ended(vm, call):
                    return True  # and the guest has gone off since
                if begun and domains.has_failed_to_start(domain):
                    raise Refused(
                        f"Node {node.name} could not start {vm.name}: its QEMU ended before it was there. "
                        f"Look for why in qemu/{domain.name()}.log, where the node's libvirt keeps its logs."
                    )
                self._long_calls.see_that_it_may(node, starts=True)
                console.begin(at.connection, at.pool, names.console_volume(vm.id), datetime.now(UTC))
            if self._long_calls.begin(node, what, vm, call, domains.start, starts=True):
                return True
            if domains.is_starting(domain):
                return False
            # The next to look must not take an older failure for this one's.
            return self._long_calls.wait_for_its_turn(vm, call)

    def shutdown(self, node: NodeRef, vm: VmSpec) -> None:
        self._shutdowns.ask(node, vm)

    def power_off(self, node: NodeRef, vm: VmSpec) -> None:
        with self._connections.at(node, "power it off", vm) as connection:
            domain = domains.find(connection, vm)
            if domain is not None:
                domains.power_off(domain)

    # Snapshots

    def snapshot_refusal(self, vm: VmSpec, with_memory: bool) -> str | None:
        return snapshots.refusal(vm, with_memory)

    def create_snapshot(self, node: NodeRef, vm: VmSpec, snapshot: SnapshotSpec) -> int | None:
        what, call = "take a snapshot", ("take", snapshot.id)
        with self._at(node, what, vm) as at:
            domain = domains.find(at.connection, vm)
            if domain is None:
                raise Untouched(domains.not_defined(vm))
            if not snapshots.is_known(domain, snapshot) and not self._long_calls.goes_on(vm, call):
                self._long_calls.has_ended(vm, call)
                volumes.disk_of(at.pool, vm)
                self._long_calls.begin(node, what, vm, call, lambda domain: snapshots.take(domain, snapshot))
            if self._long_calls.goes_on(vm, call):
                return None
            return snapshots.size(at.connection, at.pool, vm, snapshot)

    def restore_snapshot(self, node: NodeRef, vm: VmSpec, snapshot: SnapshotSpec, asked_at: datetime) -> bool:
        what, mark = "restore a snapshot", asked_at.isoformat()
        call = ("restore", snapshot.id, mark)
        with self._connections.at(node, what, vm) as connection:
            domain = domains.find(connection, vm)
            if domain is None and snapshot.with_memory:
                raise snapshots.forgotten(vm, snapshot)
            if domain is None or not snapshots.survives(domain, snapshot):
                raise Untouched(domains.not_defined(vm))
            stage = snapshots.restored(domain, snapshot, mark)
            if stage is Stage.NOT_BEGUN and not self._long_calls.goes_on(vm, call):
                self._long_calls.has_ended(vm, call)
                pool = volumes.open_pool(connection, node.settings.pool)
                volumes.disk_of(pool, vm)  # before its power is cut
                if not snapshots.is_known(domain, snapshot):
                    snapshots.recall(connection, pool, domain, vm, snapshot)
                    return False
                self._long_calls.see_that_it_may(node, starts=False)  # before its power is cut
                if snapshots.prepare(domain, snapshot, mark):
                    self._long_calls.begin(node, what, vm, call, lambda domain: snapshots.revert(domain, vm, snapshot))
                stage = snapshots.restored(domain, snapshot, mark)
                if stage is Stage.NOT_BEGUN:  # the next to look must not think that nobody has called
                    self._long_calls.wait_for_its_turn(vm, call)
                    stage = snapshots.restored(domain, snapshot, mark)
            if stage is not Stage.DONE:
                return False
            if not vm.power.on:
                domains.power_off(domain)
            else:
                domains.go_on(domain)
        return True

    def delete_snapshot(self, node: NodeRef, vm: VmSpec, snapshot: SnapshotSpec) -> bool:
        what, call = "remove a snapshot", ("remove", snapshot.id)
        with self._connections.at(node, what, vm) as connection:
            domain = domains.find(connection, vm)
            pool = volumes.open_pool(connection, node.settings.pool)
            volumes.disk_of(pool, vm)  # libvirt would forget the snapshot, and a disk that is put back have it still
            if domain is None or not snapshots.is_known(domain, snapshot):
                if not snapshots.is_left(connection, pool, vm, snapshot):
                    return True
                domain = domains.require(connection, vm)
                snapshots.remember(domain, snapshot)
            if self._long_calls.goes_on(vm, call):
                return False
            self._long_calls.has_ended(vm, call)
            self._long_calls.begin(node, what, vm, call, lambda domain: snapshots.delete(domain, snapshot))
            return not snapshots.is_known(domain, snapshot)

    # Images

    def push_image(self, node: NodeRef, image: ImageSpec, file: Path, progress: Callable[[int], None]) -> None:
        with self._at(node, "push an image") as at:
            images.push(at.connection, at.pool, image, file, progress)

    def remove_image(self, node: NodeRef, volume: str) -> None:
        with self._at(node, "remove an image") as at:
            images.remove(at.connection, at.pool, volume)

    # Watching

    def metrics(self, node: NodeRef, vms: Sequence[VmSpec]) -> Mapping[str, Metrics]:
        if not vms:
            return {}
        return self._sampler.samples(self._readings.read(node), vms)

    def console_tails(
        self, node: NodeRef, vms: Mapping[VmSpec, int | None], most_lines: int
    ) -> Mapping[str, ConsoleTail]:
        with self._at(node, "read the consoles of its guests") as at:
            found = {
                vm.id: console.read_tail(
                    at.connection, at.pool, names.console_volume(vm.id), vm.power.since, known, most_lines
                )
                for vm, known in vms.items()
            }
            return {vm_id: tail for vm_id, tail in found.items() if tail is not None}

    def guest_log(self, node: NodeRef, vm: VmSpec, since: datetime | None, limit: int) -> Sequence[LogLine]:
        with self._at(node, "read its console", vm) as at:
            name = names.console_volume(vm.id)
            return console.read_lines(at.connection, at.pool, name, vm.power.since, since, limit)

    # What the methods share

    @contextmanager
    def _at(self, node: NodeRef, what: str, vm: VmSpec | None = None) -> Iterator[_At]:
        with self._connections.at(node, what, vm) as connection:
            yield _At(connection, volumes.open_pool(connection, node.settings.pool))

    def _runs(self, at: _At, vm: VmSpec) -> bool:
        domain = domains.find(at.connection, vm)
        return domain is not None and domains.is_active(domain)
