"""Lab nodes, their rows, and what is on them."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import libvirt

from accounts.actors import Actor
from bench.rows import Rows, vm_row
from lab import bootsector
from lab.node import Node as LabNode
from nodes.models import Image, Node, NodeImage
from resources import actions
from resources.models import VirtualMachine
from resources.states import Status
from tasks.models import OPEN, Task
from tasks.worker import drain
from tests.hypervisor.guests import IMAGE, node_ref
from vmbackends import get_backend
from vmbackends.libvirt.names import disk_volume, domain_uuid

_OS_IMAGE = "debian-12"
_DOMAIN = (
    "<domain type='qemu'><name>{name}</name><uuid>{uuid}</uuid><memory unit='MiB'>64</memory>"
    "<os><type arch='x86_64' machine='q35'>hvm</type></os></domain>"
)
_VOLUME_BYTES = 10 * 1024**3


@contextmanager
def lab_nodes(folder: Path, number: int) -> Iterator[list[LabNode]]:
    """They are gone at the end, and also when this process is killed."""
    with ExitStack() as left:
        made = []
        for n in range(number):
            node = LabNode(f"bench-{number}-{n}", folder / f"node-{number}-{n}", mortal=True)
            left.callback(node.remove)
            made.append(node.start())
        yield made


def row_of(node: LabNode) -> Node:
    return add_node(node.name, node.uri, boot_id=node.boot_id)


def add_node(name: str, uri: str = "", boot_id: str = "") -> Node:
    """The row of a node on which there is room for everything."""
    return Node.objects.update_or_create(
        name=name,
        defaults={
            "hostname": name, "uri": uri, "domain_type": "qemu", "cpu_mode": "qemu64", "cap_vcpus": 10**6,
            "cap_ram_mb": 10**9, "cap_disk_gb": 10**7, "online": True, "lost": False, "boot_id": boot_id,
        },
    )[0]  # fmt: skip


def retire(*rows: Node) -> None:
    """Nobody looks at these nodes any more, and what was on them is left as it is."""
    VirtualMachine.objects.filter(node__in=rows).update(deployed=False)
    Node.objects.filter(pk__in=[row.pk for row in rows]).update(lost=True)


def define(node: LabNode, number: int, rows: Rows) -> None:
    """So many domains that are off, each with a disk, and the rows of their VMs. Of a domain it counts only that it
    is there."""
    vms = [vm_row(rows.user, row_of(node), Status.STOPPED) for _ in range(number)]
    VirtualMachine.objects.bulk_create(vms, batch_size=1000)
    connection = libvirt.open(node.uri)
    for vm in vms:
        with (node.pool / disk_volume(vm.id)).open("wb") as disk:
            disk.truncate(_VOLUME_BYTES)
        connection.defineXML(_DOMAIN.format(name=vm.domain_name, uuid=domain_uuid(vm.id)))
    connection.close()
    node.virsh("pool-refresh", node.pool.name)


def provide_image(folder: Path, nodes: Sequence[LabNode]) -> None:
    """The boot sector, on each of these nodes."""
    file = bootsector.build(folder / "bootsector.qcow2")
    defaults = {
        "volume": IMAGE.volume, "sha256": "0" * 64, "size_bytes": file.stat().st_size,
        "virtual_bytes": bootsector.SIZE_BYTES, "ready": IMAGE.ready,
    }  # fmt: skip
    Image.objects.get_or_create(os_image=_OS_IMAGE, defaults=defaults)
    for node in nodes:
        get_backend().push_image(node_ref(node), IMAGE, file, lambda sent: None)
        allow_image(row_of(node))


def allow_image(row: Node) -> None:
    NodeImage.objects.get_or_create(node=row, os_image=_OS_IMAGE)


def create(rows: Rows, row: Node) -> VirtualMachine:
    """A guest of that image."""
    config: dict[str, Any] = {
        "type": "virtual-machine", "osImage": _OS_IMAGE, "vcpus": 1, "ramMB": 512, "diskGB": 10,
        "networkConfig": {"mode": "bridge-vlan", "ipMode": "dhcp"},
    }  # fmt: skip
    body = {"name": "bench", "resourceType": "virtual-machine", "nodeId": row.id, "config": config}
    return actions.create(actor(rows), body)


def actor(rows: Rows) -> Actor:
    return Actor.of(rows.user, "api")


def work_off() -> None:
    """All tasks there are, in this process, which never waits between two looks at one."""
    while open_tasks():
        drain(ignore_waits=True)


def open_tasks() -> bool:
    return Task.objects.filter(status__in=OPEN).exists()
