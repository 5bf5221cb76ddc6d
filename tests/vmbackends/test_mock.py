"""The mock keeps the backends' contract, and plays what its options say."""

import json
import subprocess
import sys
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta

import pytest
import time_machine

from tests.vmbackends.contract import BackendContract, snapshot_of, turned
from tests.vmbackends.specs import DHCP, LONG_AGO, vm_spec
from vmbackends.base import NodeRef, Power, PowerIntent
from vmbackends.errors import NodeUnreachable, Refused
from vmbackends.mock import OS_IMAGES, MockBackend

NOW = datetime(2025, 12, 3, 10, 5, tzinfo=UTC)
NODE = NodeRef("675a1b2c3d4e5f6a7b8c9d0e", "worker-01")


@pytest.fixture(autouse=True)
def clock():
    with time_machine.travel(NOW, tick=False) as traveller:
        yield traveller


class TestMockBackend(BackendContract):
    after_undefine = (Power.OFF,)

    @pytest.fixture(autouse=True)
    def _take_clock(self, clock):
        self.clock = clock

    def make_backend(self):
        return MockBackend()

    def make_node(self):
        return NODE

    def make_unreachable_node(self):
        return NodeRef("675a1b2c3d4e5f6a7b8c9d10", "worker-03")

    def make_spec(self):
        return vm_spec()

    def let_boot(self, backend, node, vm):
        self.clock.shift(3)

    def let_stop(self, backend, node, vm):
        self.clock.shift(2)

    def let_restore(self, backend, node, vm):
        self.clock.shift(2)


# Power


def test_it_boots_after_deploy_s(clock):
    backend = MockBackend(deploy_s=5)
    vm = turned(vm_spec(), on=True)

    clock.shift(4.9)
    state = backend.domain(NODE, vm)
    assert (state.power, state.booted, state.ip_address) == (Power.RUNNING, False, None)
    clock.shift(0.1)
    state = backend.domain(NODE, vm)
    assert (state.power, state.booted, state.ip_address) == (Power.RUNNING, True, "192.168.100.10")


def test_it_is_off_after_stop_s(clock):
    backend = MockBackend(stop_s=5)
    vm = turned(vm_spec(), on=False)

    clock.shift(4.9)
    assert backend.domain(NODE, vm).power is Power.RUNNING
    clock.shift(0.1)
    assert backend.domain(NODE, vm).power is Power.OFF


def test_a_look_at_the_whole_node_takes_what_was_told_to_stop_for_off():
    backend = MockBackend(stop_s=5)
    vm = turned(vm_spec(), on=False)

    assert backend.observe(NODE, [vm]).domains[vm.id].power is Power.OFF


def test_it_gives_dhcp_addresses_of_the_vlan_that_differ():
    backend = MockBackend(deploy_s=0)
    vms = [turned(vm_spec(network=DHCP), on=True) for _ in range(200)]

    addresses = [state.ip_address for state in backend.observe(NODE, vms).domains.values()]

    assert all(address.startswith("10.1.44.") for address in addresses)  # 300 is 1 * 256 + 44
    assert len(set(addresses)) == 200


def test_it_gives_an_address_to_an_id_that_is_not_hex():
    vm = turned(vm_spec(id="not-a-hex-id", network=replace(DHCP, vlan_id=None)), on=True)

    assert MockBackend(deploy_s=0).domain(NODE, vm).ip_address.startswith("10.0.0.")


# The node


def test_it_has_all_images_and_no_capacities_of_its_own():
    report = MockBackend().probe(NODE)

    assert report.os_images == OS_IMAGES
    assert len(report.os_images) == 8
    assert (report.vcpus, report.ram_mb, report.disk_gb, report.gpus) == (None, None, None, None)


def test_it_reads_locally_and_snapshots_at_once_by_default():
    assert MockBackend().capabilities.local_reads
    assert MockBackend().capabilities.instant_snapshots
    assert not MockBackend(instant_snapshots=False).capabilities.instant_snapshots


# Options


@pytest.mark.parametrize(("fails", "name"), [(True, "any"), (["bad"], "a bad one"), (("x", "bad"), "bad")])
def test_it_refuses_deploys_that_it_is_told_to_fail(fails, name):
    with pytest.raises(Refused, match=f"worker-01 has no space for the 100 GB disk of {name}"):
        MockBackend(fail_deploys=fails).create_disk(NODE, vm_spec(name=name))


@pytest.mark.parametrize("fails", [False, [], ["bad"]])
def test_it_lets_other_deploys_pass(fails):
    MockBackend(fail_deploys=fails).create_disk(NODE, vm_spec(name="good"))


def test_it_refuses_stops_that_it_is_told_to_fail():
    backend = MockBackend(fail_stops=["bad"])
    vm = vm_spec(name="bad one")

    with pytest.raises(Refused, match="cannot stop bad one"):
        backend.shutdown(NODE, vm)
    with pytest.raises(Refused, match="cannot stop bad one"):
        backend.power_off(NODE, vm)
    backend.shutdown(NODE, vm_spec(name="good one"))


def test_it_takes_down_every_node_with_a_star():
    with pytest.raises(NodeUnreachable, match="worker-01"):
        MockBackend(down=["*"]).probe(NODE)


def test_it_takes_down_no_node_when_told_so():
    assert MockBackend(down=[]).probe(NodeRef("675a1b2c3d4e5f6a7b8c9d10", "worker-03"))


def test_it_is_slow_on_each_node_call_and_not_on_local_reads(monkeypatch):
    slept = []
    monkeypatch.setattr("vmbackends.mock.time.sleep", slept.append)
    backend = MockBackend(latency_s=0.25)

    backend.observe(NODE, [])
    backend.define(NODE, vm_spec())
    backend.metrics(NODE, [])
    backend.guest_log(NODE, vm_spec(), None, 10)

    assert slept == [0.25, 0.25]


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"deploy_s": -1}, "deploy_s"),
        ({"deploy_s": "3"}, "deploy_s"),
        ({"stop_s": True}, "stop_s"),
        ({"restore_s": float("nan")}, "restore_s"),
        ({"latency_s": float("inf")}, "latency_s"),
        ({"instant_snapshots": 1}, "instant_snapshots"),
        ({"fail_deploys": "bad"}, "fail_deploys"),
        ({"fail_stops": [""]}, "fail_stops"),
        ({"down": "worker-03"}, "down"),
        ({"down": [3]}, "down"),
        ({"depoy_s": 3}, "depoy_s"),
    ],
)
def test_it_refuses_options_that_it_does_not_know(options, named):
    with pytest.raises(ValueError, match=named):
        MockBackend(**options)


# Snapshots


def test_it_restores_after_restore_s(clock):
    backend = MockBackend(restore_s=5)
    vm = vm_spec()
    snapshot = snapshot_of(vm, with_memory=False)

    assert backend.restore_snapshot(NODE, vm, snapshot, NOW) is False
    clock.shift(5)
    assert backend.restore_snapshot(NODE, vm, snapshot, NOW) is True


def test_a_snapshot_has_a_size_of_its_own_and_a_larger_one_with_memory():
    backend = MockBackend()
    vm = vm_spec()
    snapshot = snapshot_of(vm, with_memory=False)

    size = backend.create_snapshot(NODE, vm, snapshot)

    assert 15 * 2**20 <= size <= 300 * 2**20
    assert backend.create_snapshot(NODE, vm, replace(snapshot, id="692cdc80aabbccddee0000ff")) != size
    assert backend.create_snapshot(NODE, vm, replace(snapshot, with_memory=True)) > size


# The same from everywhere


_IN_ANOTHER_PROCESS = """
import json, sys
from dataclasses import asdict
from datetime import datetime
from vmbackends.base import CloudInitSpec, GpuSpec, NetworkSpec, PowerIntent, VmSpec
from vmbackends.mock import MockBackend
given = json.load(sys.stdin)
vm = VmSpec(**given["vm"] | {
    "network": NetworkSpec(**given["vm"]["network"]),
    "power": PowerIntent(on=True, since=datetime.fromisoformat(given["vm"]["power"]["since"])),
    "gpus": tuple(GpuSpec(**gpu) for gpu in given["vm"]["gpus"]),
    "cloud_init": CloudInitSpec(**given["vm"]["cloud_init"]),
})
print(json.dumps(asdict(MockBackend().metrics_at(vm, datetime.fromisoformat(given["at"]))), default=str))
"""


def test_two_instances_and_another_process_show_the_same():
    vm = vm_spec(power=PowerIntent(on=True, since=LONG_AGO))
    first, second = MockBackend(), MockBackend()
    assert first.metrics(NODE, [vm]) == second.metrics(NODE, [vm])
    assert first.guest_log(NODE, vm, None, 50) == second.guest_log(NODE, vm, None, 50)
    assert first.observe(NODE, [vm]) == second.observe(NODE, [vm])

    given = json.dumps({"vm": asdict(vm), "at": NOW}, default=str)
    told = subprocess.run(
        [sys.executable, "-c", _IN_ANOTHER_PROCESS], input=given, capture_output=True, text=True, check=True
    ).stdout

    assert json.loads(told) == json.loads(json.dumps(asdict(first.metrics_at(vm, NOW)), default=str))


def test_it_forgets_nothing_and_remembers_nothing():
    backend = MockBackend()
    before = vars(backend).copy()
    vm = turned(vm_spec(), on=True)

    backend.create_disk(NODE, vm)
    backend.start(NODE, vm)
    backend.metrics(NODE, [vm])

    assert vars(backend) == before
    assert backend.domain(NODE, replace(vm, power=PowerIntent(False, NOW - timedelta(hours=1)))).power is Power.OFF
