"""Nodes that are reached over their network, by whichever transport."""

import pytest

from tests.hypervisor.guests import IMAGE, guest_spec, wait_for
from vmbackends.errors import NodeUnreachable


def address_of(node, vlan_id=None):
    return node.lan(vlan_id).on_bridge.partition("/")[0]


def restart(node, conf):
    """With this as libvirtd's configuration."""
    (node.etc / "libvirtd.conf").write_text(conf)
    node.kill_daemon()
    node.start_daemon()


def log_of_a_new_vm(backend, ref, boot_sector):
    """Deploy a VM with whatever goes over a connection, streams as well."""
    vm = guest_spec()
    backend.push_image(ref, IMAGE, boot_sector, lambda sent: None)
    backend.create_disk(ref, vm)
    backend.write_seed(ref, vm, None)
    backend.define(ref, vm)
    backend.start(ref, vm)
    wait_for(lambda: backend.domain(ref, vm).booted, "the guest to boot")
    return backend.guest_log(ref, vm, None, 10)


def refusal(backend, ref):
    with pytest.raises(NodeUnreachable) as caught:
        backend.probe(ref)
    return caught.value.message
