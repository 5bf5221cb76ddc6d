"""The libvirt backend keeps what every backend promises, on a real libvirtd and QEMU."""

import pytest

from tests.hypervisor.guests import IMAGE, REF_OF_NOBODY, guest_spec, node_ref, wait_for
from tests.vmbackends.contract import BackendContract, turned
from vmbackends.base import Power
from vmbackends.libvirt import LibvirtBackend


class TestLibvirtBackend(BackendContract):
    @pytest.fixture(autouse=True)
    def _node_with_image(self, lab_nodes, boot_sector):
        self.ref = node_ref(lab_nodes[0])
        self.make_backend().push_image(self.ref, IMAGE, boot_sector, lambda sent: None)

    def make_backend(self):
        return LibvirtBackend()

    def make_node(self):
        return self.ref

    def make_unreachable_node(self):
        return REF_OF_NOBODY

    def make_spec(self):
        return guest_spec()

    def let_boot(self, backend, node, vm):
        wait_for(lambda: backend.domain(node, vm).booted, "the guest to boot")

    def let_stop(self, backend, node, vm):
        wait_for(lambda: backend.domain(node, vm).power is not Power.RUNNING, "the guest to stop")

    def let_restore(self, backend, node, vm):
        """It is restored when the call returns."""

    def test_it_measures_what_the_disk_takes_after_a_later_start_too(self, backend, node, vm, lab_nodes):
        vm = turned(self.deployed(backend, node, vm), on=False)
        backend.power_off(node, vm)
        disk = lab_nodes[0].pool / f"vm-{vm.id}.qcow2"
        lab_nodes[0].run("qemu-io", "-c", "write -P 0x11 1M 300M", disk)
        vm = turned(vm, on=True)
        wait_for(lambda: backend.start(node, vm), "the start")

        assert 0.25 < backend.metrics(node, [vm])[vm.id].disk_used_gb < 0.35
