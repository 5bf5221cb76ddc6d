"""What clients of the API and the memory of workers know of it while everything goes on."""

from collections.abc import Sequence
from pathlib import Path

from accounts.tokens import issue
from bench import wire
from bench.hypervisor.memory import Memory
from bench.hypervisor.work import MANY
from bench.hypervisor.workers import MOCK, ask, mock_vms, workers
from bench.rows import Rows
from lab.node import Node as LabNode
from resources.models import VirtualMachine
from tasks.models import OPEN, Task
from tests.processes.api import Api

_SWEEP_SECONDS = 5
_CALLS = 1000
_NODES, _ON_EACH = 50, 40


def print_tables(folder: Path, nodes: Sequence[LabNode], rows: Rows) -> None:
    """The nodes are swept for real; the tasks are those of a mock whose nodes take 50 ms a call."""
    vm_ids = mock_vms(rows, _NODES, _ON_EACH)
    swept = VirtualMachine.objects.filter(node__name__in=[node.name for node in nodes], deployed=True).count()
    alone = _times(folder, rows)
    settings = {"VM_BACKEND": MOCK, "VM_BACKEND_OPTIONS": '{"latency_s": 0.05}', "SWEEP_SECONDS": str(_SWEEP_SECONDS)}
    with workers(folder, MANY, **settings) as pids:
        ask("start", rows, vm_ids)
        busy = _times(folder, rows)
        left = Task.objects.filter(status__in=OPEN).count()
        memories = [Memory.of(pid) for pid in pids]
    if not left:
        raise RuntimeError("The tasks were done before the API was measured.")
    print("| wall time through gunicorn, ms | median | 95 % | median meanwhile | 95 % |")
    print("|---|---:|---:|---:|---:|")
    for name, (median, most) in alone.items():
        print(f"| {name} | {median:.1f} | {most:.1f} | {busy[name][0]:.1f} | {busy[name][1]:.1f} |")
    print(
        f"\nMeanwhile {MANY} workers sweep {swept:,} VMs on {len(nodes)} nodes every {_SWEEP_SECONDS} s and start "
        f"VMs of a mock whose nodes take 50 ms a call: {len(vm_ids) - left:,} of them.\n"
    )
    print("| memory of a worker then, MB | least | most |")
    print("|---|---:|---:|")
    for what, sizes in (
        ("RSS", [memory.resident_mb for memory in memories]),
        ("RSS at its peak", [memory.peak_mb for memory in memories]),
        ("PSS", [memory.share_mb for memory in memories]),
    ):
        print(f"| {what} | {min(sizes):.0f} | {max(sizes):.0f} |")
    print(flush=True)


def _times(folder: Path, rows: Rows) -> wire.Times:
    with wire.served(folder) as port:
        api = Api(port, issue(rows.user).access)
        return {
            "list of 100": wire.timed(lambda: api.get("/resources?limit=100"), _CALLS),
            "get": wire.timed(lambda: api.get(f"/resources/{rows.listed[0]}"), _CALLS),
        }
