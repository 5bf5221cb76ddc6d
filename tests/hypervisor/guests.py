"""Small guests on lab nodes, and waiting for what they do."""

import time
from collections.abc import Callable
from typing import Any

from lab.node import Node
from tests.vmbackends.specs import vm_spec
from vmbackends.base import ImageSpec, NetworkSpec, NodeRef, NodeSettings, VmSpec

IMAGE = ImageSpec(volume="image-debian-12-bootsector.qcow2", ready="cloud-init")
REF_OF_NOBODY = NodeRef("6" * 24, "gone", "qemu+unix:///system?socket=/run/aiwm-lab/nobody/libvirt-sock")
SECONDS = 30.0


def node_ref(node: Node) -> NodeRef:
    """Emulation on every machine: a test must not depend on the one it runs on."""
    return NodeRef(f"{node.name:0>24}", node.name, node.uri, NodeSettings(domain_type="qemu", cpu_mode="qemu64"))


def guest_spec(**changes: Any) -> VmSpec:
    """A boot sector that is up at once, of an id of its own."""
    number = int(vm_spec().id[-6:], 16)
    network = NetworkSpec(f"52:00:00:00:{number >> 8 & 255:02x}:{number & 255:02x}", None, "dhcp")
    smallest = {"os_image": "debian-12", "vcpus": 1, "ram_mb": 64, "disk_gb": 1, "image": IMAGE, "network": network}
    return vm_spec(**(smallest | changes))


def wait_for(condition: Callable[[], Any], what: str) -> None:
    give_up = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < give_up, f"Waited {SECONDS:g} s for {what}"
        time.sleep(0.05)
