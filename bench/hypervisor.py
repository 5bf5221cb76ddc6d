"""What real hypervisors cost: `python -m bench.hypervisor`, as root on Debian.

Lab nodes with many domains, a site on SQLite, and the libvirt backend. All is measured in one run on one machine, so
that the ratios hold where the times do not. Prints tables in Markdown; asserts nothing.

BENCH_DOMAINS is how many domains the one node has; the twenty have ten times as many together.
"""

import logging
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from bench.__main__ import SETTINGS

ON_ONE = int(os.environ.get("BENCH_DOMAINS", "1000"))
NODES = 20
ROUNDS = 5
POWER_ROUNDS = 10
_LIBVIRT = {"VM_BACKEND": "vmbackends.libvirt.LibvirtBackend", "VM_BACKEND_OPTIONS": "{}"}
_DOMAIN = (
    "<domain type='qemu'><name>{name}</name><uuid>{uuid}</uuid><memory unit='MiB'>64</memory>"
    "<os><type arch='x86_64' machine='q35'>hvm</type></os></domain>"
)
# What is asked of a node in a sweep: each is one call over the wire.
_COUNTED = ("virConnectGetAllDomainStats", "virConnectListAll", "virStorage", "virStream", "virDomainGetState")


def main() -> None:
    from lab import packages

    packages.install()
    with tempfile.TemporaryDirectory(prefix="aiwm-bench-") as name:
        folder = Path(name)
        os.environ.update(SETTINGS, **_LIBVIRT, DATABASE_URL=f"sqlite:///{folder}/aiwm.sqlite3", AIWM_VAR=name)
        (folder / "static").mkdir()
        _measure(folder)


def _measure(folder: Path) -> None:
    import django

    django.setup()
    logging.getLogger().handlers[0].setStream((folder / "log.txt").open("w"))
    from django.core.management import call_command

    from bench.rows import Rows

    call_command("migrate", verbosity=0)
    rows = Rows.new()
    print("### libvirt\n", flush=True)
    with _nodes(folder, 1) as nodes:
        _print_power(folder, nodes[0], rows)
        _print_sweeps("one node", nodes, ON_ONE, rows)
    with _nodes(folder, NODES) as nodes:
        _print_sweeps(f"{NODES} nodes", nodes, 10 * ON_ONE // NODES, rows)


@contextmanager
def _nodes(folder: Path, number: int) -> Iterator[list[Any]]:
    from lab.node import Node

    with ExitStack() as left:
        made = []
        for n in range(number):
            node = Node(f"bench-{number}-{n}", folder / f"node-{number}-{n}", mortal=True)
            left.callback(node.remove)
            made.append(node.start())
        yield made


# Power: over the API, and the same by virsh


def _print_power(folder: Path, node: Any, rows: Any) -> None:
    """A start until the guest has booted, and a forced stop, with one worker that looks for work all the time."""
    from lab import bootsector
    from nodes.models import Image, NodeImage
    from tests.hypervisor.guests import IMAGE, node_ref
    from vmbackends import get_backend

    image = bootsector.build(folder / "bootsector.qcow2")
    get_backend().push_image(node_ref(node), IMAGE, image, lambda sent: None)
    row = _row(node)
    size = image.stat().st_size
    Image.objects.create(
        os_image="debian-12", volume=IMAGE.volume, sha256="0" * 64, size_bytes=size,
        virtual_bytes=bootsector.SIZE_BYTES, ready=IMAGE.ready,
    )  # fmt: skip
    NodeImage.objects.create(node=row, os_image="debian-12")
    over_api = _over_api(rows, row)
    by_virsh = _by_virsh(node, over_api.name)
    print("| one guest of one vCPU | over the API, ms | by virsh, ms | more |")
    print("|---|---:|---:|---:|")
    for what in ("start", "stop"):
        ours, theirs = (statistics.median(times[what]) for times in (over_api.times, by_virsh))
        print(f"| {what} | {ours:.0f} | {theirs:.0f} | {(ours / theirs - 1) * 100:.0f} % |")
    print(flush=True)


class _Timed:
    def __init__(self, name: str) -> None:
        self.name = name
        self.times: dict[str, list[float]] = {"start": [], "stop": []}


def _over_api(rows: Any, row: Any) -> _Timed:
    from accounts.actors import Actor
    from resources import actions

    actor = Actor.of(rows.user, "api")
    config = {
        "type": "virtual-machine", "osImage": "debian-12", "vcpus": 1, "ramMB": 512, "diskGB": 10,
        "networkConfig": {"mode": "bridge-vlan", "ipMode": "dhcp"},
    }  # fmt: skip
    body = {"name": "bench", "resourceType": "virtual-machine", "nodeId": row.id, "config": config}
    vm = actions.create(actor, body)
    timed = _Timed(vm.domain_name)
    actions.start(actor, vm.id)
    _work()
    for _ in range(POWER_ROUNDS):
        began = time.perf_counter()
        actions.stop(actor, vm.id, force=True)
        _work()
        timed.times["stop"].append((time.perf_counter() - began) * 1000)
        began = time.perf_counter()
        actions.start(actor, vm.id)
        _work()
        timed.times["start"].append((time.perf_counter() - began) * 1000)
    actions.stop(actor, vm.id, force=True)
    _work()
    return timed


def _work() -> None:
    from tasks.models import OPEN, Task
    from tasks.worker import drain

    while Task.objects.filter(status__in=OPEN).exists():
        drain(ignore_waits=True)


def _by_virsh(node: Any, name: str) -> dict[str, list[float]]:
    times: dict[str, list[float]] = {"start": [], "stop": []}
    for _ in range(POWER_ROUNDS):
        boots = _boots(node, name)
        began = time.perf_counter()
        node.virsh("start", name)
        while _boots(node, name) == boots:
            time.sleep(0.01)
        times["start"].append((time.perf_counter() - began) * 1000)
        began = time.perf_counter()
        node.virsh("destroy", name)
        times["stop"].append((time.perf_counter() - began) * 1000)
    return times


def _boots(node: Any, name: str) -> int:
    """How often the guest has said that it is up."""
    return int((node.pool / f"{name}-console.log").read_bytes().count(b" finished at "))


# Sweeps


def _print_sweeps(where: str, nodes: list[Any], each: int, rows: Any) -> None:
    """How long a sweep of all of them takes, and how often it asks: of empty nodes, and of full ones."""
    from nodes.models import Node
    from resources import reconcile
    from resources.models import VirtualMachine

    Node.objects.all().update(lost=True)
    there = [_row(node) for node in nodes]
    empty = _sweep(reconcile.sweep_all)
    for node, row in zip(nodes, there, strict=True):
        _define(node, row, each, rows)
    full = _sweep(reconcile.sweep_all)
    print(f"| a sweep of {where} | wall, ms | CPU, ms | calls of libvirt |")
    print("|---|---:|---:|---:|")
    for what, (wall, cpu, calls) in (("without domains", empty), (f"with {each * len(nodes):,} domains", full)):
        print(f"| {what} | {wall:.0f} | {cpu:.0f} | {calls} |")
    print(f"\nMemory of the process that swept: {_resident_mb():.0f} MB.\n", flush=True)
    seen = Node.objects.filter(pk__in=[row.id for row in there], online=True).count()
    assert seen == len(nodes), "not all nodes answered"
    VirtualMachine.objects.all().update(deployed=False)


def _sweep(sweep: Callable[[], None]) -> tuple[float, float, int]:
    """Medians of wall and CPU milliseconds, and the calls of one."""
    sweep()  # connects
    wall, cpu = [], []
    for _ in range(ROUNDS):
        began, used = time.perf_counter(), time.process_time()
        sweep()
        wall.append((time.perf_counter() - began) * 1000)
        cpu.append((time.process_time() - used) * 1000)
    with _counted() as count:
        sweep()
    return statistics.median(wall), statistics.median(cpu), count()


@contextmanager
def _counted() -> Iterator[Callable[[], int]]:
    """Count what goes to nodes, in the functions of the binding itself."""
    import libvirt

    calls = [0]
    binding = libvirt.libvirtmod
    plain = {name: function for name, function in vars(binding).items() if name.startswith(_COUNTED)}

    def counting(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            calls[0] += 1
            return function(*arguments)

        return call

    for name, function in plain.items():
        setattr(binding, name, counting(function))
    try:
        yield lambda: calls[0]
    finally:
        for name, function in plain.items():
            setattr(binding, name, function)


def _row(node: Any) -> Any:
    from nodes.models import Node

    return Node.objects.update_or_create(
        name=node.name,
        defaults={
            "hostname": node.name, "uri": node.uri, "domain_type": "qemu", "cpu_mode": "qemu64", "cap_vcpus": 10**6,
            "cap_ram_mb": 10**9, "cap_disk_gb": 10**7, "online": True, "lost": False, "boot_id": node.boot_id,
        },
    )[0]  # fmt: skip


def _define(node: Any, row: Any, number: int, rows: Any) -> None:
    """So many domains, and the rows of their VMs, stopped. Of a domain it counts only that it is there."""
    import libvirt

    from bench.rows import vm_row
    from resources.models import VirtualMachine
    from resources.states import Status
    from vmbackends.libvirt.names import domain_uuid

    vms = [vm_row(rows.user, row, Status.STOPPED) for _ in range(number)]
    VirtualMachine.objects.bulk_create(vms, batch_size=1000)
    connection = libvirt.open(node.uri)
    for vm in vms:
        xml = _DOMAIN.format(name=vm.domain_name, uuid=domain_uuid(vm.id))
        connection.defineXML(xml)
    connection.close()


def _resident_mb() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1024**2


if __name__ == "__main__":
    main()
