"""What every backend must do. Each backend's tests inherit `BackendContract` and say how to make things for it."""

from collections.abc import Mapping
from dataclasses import FrozenInstanceError, fields, replace
from datetime import UTC, datetime, timedelta

import pytest

from vmbackends.base import Backend, Devices, DomainState, NodeRef, Power, PowerIntent, SnapshotSpec, VmSpec
from vmbackends.errors import NodeUnreachable


class BackendContract:
    """The hooks come first. A subclass answers them; the tests below are then its own.

    `after_undefine` is what a domain may be seen as when it is gone: a backend that keeps no truth cannot tell a
    missing domain from one that is off.
    """

    after_undefine: tuple[Power, ...] = (Power.MISSING,)

    def make_backend(self) -> Backend:
        raise NotImplementedError

    def make_node(self) -> NodeRef:
        raise NotImplementedError

    def make_unreachable_node(self) -> NodeRef:
        raise NotImplementedError

    def make_spec(self) -> VmSpec:
        """A new VM at each call, with its power off since long ago."""
        raise NotImplementedError

    def let_boot(self, backend: Backend, node: NodeRef, vm: VmSpec) -> None:
        """Let a started guest boot."""
        raise NotImplementedError

    def let_stop(self, backend: Backend, node: NodeRef, vm: VmSpec) -> None:
        """Let a guest that was asked to shut down do so."""
        raise NotImplementedError

    def let_restore(self, backend: Backend, node: NodeRef, vm: VmSpec) -> None:
        """Let a restore work on."""
        raise NotImplementedError

    @pytest.fixture
    def backend(self) -> Backend:
        return self.make_backend()

    @pytest.fixture
    def node(self) -> NodeRef:
        return self.make_node()

    @pytest.fixture
    def vm(self, backend: Backend, node: NodeRef):
        spec = self.make_spec()
        yield spec
        off = turned(spec, on=False)
        backend.power_off(node, off)
        self.let_stop(backend, node, off)
        backend.undefine(node, off)
        backend.delete_disks(node, off)

    def deployed(self, backend: Backend, node: NodeRef, vm: VmSpec) -> VmSpec:
        """Deploy it, booted; the spec of it as running."""
        vm = turned(vm, on=True)
        backend.create_disk(node, vm)
        backend.write_seed(node, vm, None)
        backend.define(node, vm)
        backend.start(node, vm)
        self.let_boot(backend, node, vm)
        return vm

    # The node

    def test_it_tells_what_the_node_is(self, backend, node):
        report = backend.probe(node)

        assert report.boot_id
        assert report.boot_id == backend.probe(node).boot_id == backend.observe(node, []).boot_id
        for capacity in (report.vcpus, report.ram_mb, report.disk_gb):
            assert capacity is None or capacity > 0

    def test_it_observes_no_vms(self, backend, node):
        assert backend.observe(node, []).domains == {}

    def test_it_observes_each_vm_that_was_asked_for(self, backend, node):
        vms = [self.make_spec(), self.make_spec()]

        domains = backend.observe(node, vms).domains

        assert set(domains) == {vm.id for vm in vms}
        assert all(state.power in self.after_undefine for state in domains.values())

    def test_a_node_whose_domains_were_given_none_has_no_devices_of_theirs(self, backend, node, vm):
        assert backend.devices_of_others(node, [vm.id]) == Devices()

    # Lifecycle

    def test_it_takes_a_vm_through_its_life(self, backend, node, vm):
        vm = turned(vm, on=True)
        backend.create_disk(node, vm)
        backend.write_seed(node, vm, None)
        backend.define(node, vm)
        backend.start(node, vm)
        assert backend.domain(node, vm).power is Power.RUNNING

        self.let_boot(backend, node, vm)
        state = backend.domain(node, vm)
        assert state.power is backend.power(node, vm) is Power.RUNNING
        assert state.booted
        backend.remove_seed(node, vm)
        assert backend.domain(node, vm).power is Power.RUNNING

        vm = turned(vm, on=False)
        backend.shutdown(node, vm)
        self.let_stop(backend, node, vm)
        state = backend.domain(node, vm)
        assert state.power is backend.power(node, vm) is Power.OFF
        assert not state.booted

        backend.undefine(node, vm)
        backend.delete_disks(node, vm)
        assert backend.domain(node, vm).power in self.after_undefine
        assert backend.power(node, vm) in self.after_undefine

    def test_it_bears_every_call_twice(self, backend, node, vm):
        vm = turned(vm, on=True)
        for method in (backend.create_disk, backend.define, backend.start):
            method(node, vm)
            method(node, vm)
        backend.write_seed(node, vm, None)
        backend.write_seed(node, vm, None)
        self.let_boot(backend, node, vm)
        backend.start(node, vm)
        assert backend.domain(node, vm).booted

        vm = turned(vm, on=False)
        for method in (backend.remove_seed, backend.shutdown):
            method(node, vm)
            method(node, vm)
        self.let_stop(backend, node, vm)
        for method in (backend.shutdown, backend.power_off, backend.undefine, backend.delete_disks):
            method(node, vm)
            method(node, vm)
        assert backend.domain(node, vm).power in self.after_undefine

    def test_it_cuts_the_power(self, backend, node, vm):
        vm = turned(self.deployed(backend, node, vm), on=False)

        backend.power_off(node, vm)
        self.let_stop(backend, node, vm)

        assert backend.domain(node, vm).power is Power.OFF

    def test_it_starts_again_after_a_stop(self, backend, node, vm):
        vm = turned(self.deployed(backend, node, vm), on=False)
        backend.power_off(node, vm)
        self.let_stop(backend, node, vm)

        vm = turned(vm, on=True)
        backend.grow_disk(node, vm)
        backend.grow_disk(node, vm)
        backend.define(node, vm)
        backend.start(node, vm)
        self.let_boot(backend, node, vm)

        assert backend.domain(node, vm).booted

    def test_it_bears_taking_away_what_was_never_there(self, backend, node):
        vm = self.make_spec()

        backend.power_off(node, vm)
        backend.remove_seed(node, vm)
        backend.undefine(node, vm)
        backend.delete_disks(node, vm)

        assert backend.domain(node, vm).power in self.after_undefine

    # Snapshots

    def test_it_takes_a_snapshot_once(self, backend, node, vm):
        vm = self.deployed(backend, node, vm)
        snapshot = snapshot_of(vm, with_memory=backend.snapshot_refusal(vm, True) is None)

        size = backend.create_snapshot(node, vm, snapshot)

        assert size >= 0
        assert backend.create_snapshot(node, vm, snapshot) == size
        backend.delete_snapshot(node, vm, snapshot)
        backend.delete_snapshot(node, vm, snapshot)

    def test_it_leaves_a_vm_off_that_it_restores_to_a_snapshot_without_memory(self, backend, node, vm):
        vm = turned(self.deployed(backend, node, vm), on=False)
        backend.power_off(node, vm)
        self.let_stop(backend, node, vm)
        snapshot = snapshot_of(vm, with_memory=False)
        backend.create_snapshot(node, vm, snapshot)
        asked_at = datetime.now(UTC)

        backend.restore_snapshot(node, vm, snapshot, asked_at)
        self.let_restore(backend, node, vm)

        assert backend.restore_snapshot(node, vm, snapshot, asked_at) is True
        assert backend.domain(node, vm).power is Power.OFF
        backend.delete_snapshot(node, vm, snapshot)

    # Watching

    def test_it_measures_only_what_runs(self, backend, node, vm):
        running = self.deployed(backend, node, vm)
        off = self.make_spec()

        samples = backend.metrics(node, [running, off])

        assert isinstance(samples, Mapping)
        assert set(samples) == {running.id}

    def test_it_measures_within_what_a_vm_has(self, backend, node, vm):
        vm = self.deployed(backend, node, vm)

        sample = backend.metrics(node, [vm])[vm.id]

        values = {
            "cpu": (sample.cpu_usage, 100),
            "memory": (sample.memory_used_mb, vm.ram_mb),
            "disk": (sample.disk_used_gb, vm.disk_gb),
        }
        for member, (value, most) in values.items():
            if value is None:
                assert sample.unavailable[member]
            else:
                assert 0 <= value <= most
        if sample.rx_bytes is None or sample.tx_bytes is None:
            assert sample.unavailable["network"]
        assert sample.timestamp.tzinfo is not None

    def test_it_measures_nothing_of_nothing(self, backend, node):
        assert backend.metrics(node, []) == {}

    def test_it_gives_the_newest_lines_of_the_guest_oldest_first(self, backend, node, vm):
        vm = self.deployed(backend, node, vm)

        lines = backend.guest_log(node, vm, None, 2)

        assert len(lines) <= 2
        assert list(lines) == sorted(lines, key=lambda line: line.timestamp)
        assert all(line.level in ("debug", "info", "warning", "error") for line in lines)
        assert list(backend.guest_log(node, vm, datetime.now(UTC) + timedelta(days=1), 10)) == []

    # Out of reach

    def test_it_says_which_node_is_out_of_reach(self, backend):
        node = self.make_unreachable_node()
        vm = self.make_spec()
        snapshot = snapshot_of(vm, with_memory=False)
        calls = (
            lambda: backend.probe(node),
            lambda: backend.observe(node, [vm]),
            lambda: backend.domain(node, vm),
            lambda: backend.power(node, vm),
            lambda: backend.create_disk(node, vm),
            lambda: backend.grow_disk(node, vm),
            lambda: backend.delete_disks(node, vm),
            lambda: backend.write_seed(node, vm, None),
            lambda: backend.remove_seed(node, vm),
            lambda: backend.define(node, vm),
            lambda: backend.undefine(node, vm),
            lambda: backend.start(node, vm),
            lambda: backend.shutdown(node, vm),
            lambda: backend.power_off(node, vm),
            lambda: backend.create_snapshot(node, vm, snapshot),
            lambda: backend.restore_snapshot(node, vm, snapshot, datetime.now(UTC)),
            lambda: backend.delete_snapshot(node, vm, snapshot),
            lambda: backend.metrics(node, [vm]),
            lambda: backend.guest_log(node, vm, None, 10),
        )
        for call in calls:
            with pytest.raises(NodeUnreachable, match=node.name):
                call()

    def test_it_checks_and_refuses_without_reaching_a_node(self, backend):
        vm = self.make_spec()

        assert list(backend.check(vm)) == []
        assert backend.snapshot_refusal(vm, False) is None

    # Values

    def test_it_gives_values_that_cannot_be_changed(self, backend, node, vm):
        vm = self.deployed(backend, node, vm)
        values = (
            backend.probe(node),
            backend.observe(node, [vm]),
            backend.domain(node, vm),
            backend.metrics(node, [vm])[vm.id],
            backend.capabilities,
        )
        for value in values:
            with pytest.raises(FrozenInstanceError):
                setattr(value, fields(value)[0].name, None)

    def test_it_leaves_the_spec_as_it_was(self, backend, node, vm):
        before = replace(vm)

        self.deployed(backend, node, vm)

        assert vm == before

    def test_it_gives_one_domain_as_in_bulk(self, backend, node, vm):
        vm = self.deployed(backend, node, vm)

        state = backend.domain(node, vm)

        assert isinstance(state, DomainState)
        assert state == backend.observe(node, [vm, self.make_spec()]).domains[vm.id]


def turned(vm: VmSpec, *, on: bool) -> VmSpec:
    """The same VM with its power meant to be on, or off, from now."""
    return replace(vm, power=PowerIntent(on=on, since=datetime.now(UTC)))


def snapshot_of(vm: VmSpec, *, with_memory: bool) -> SnapshotSpec:
    return SnapshotSpec(id=f"{vm.id[:-2]}5f", name="before", with_memory=with_memory, created_at=datetime.now(UTC))
