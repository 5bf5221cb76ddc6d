"""How many tasks workers do in a second, one alone and four together."""

from collections.abc import Sequence
from pathlib import Path

from bench.hypervisor.estate import create, provide_image, retire, row_of
from bench.hypervisor.workers import MOCK, finish, mock_nodes, mock_vms, workers
from bench.rows import Rows
from lab.node import Node as LabNode

MANY = 4
MOCK_NODES = 20
_ON_EACH = 5
_GUESTS = 10


def print_table(folder: Path, nodes: Sequence[LabNode], rows: Rows) -> None:
    """Starts and forced stops: of the guests of a mock, which show what AIWM does itself; of the same where each call
    of a node takes its time, which workers can pass together; and of real guests, where QEMU wants the cores."""
    print(f"| start and stop, tasks a second | one worker | {MANY} workers | ratio |")
    print("|---|---:|---:|---:|")
    mocks = mock_vms(rows, MOCK_NODES, _ON_EACH)
    _print_row("mock", folder, rows, mocks, VM_BACKEND=MOCK)
    slow = '{"latency_s": 0.05}'
    _print_row("mock, 50 ms a call of a node", folder, rows, mocks, VM_BACKEND=MOCK, VM_BACKEND_OPTIONS=slow)
    retire(*mock_nodes())
    provide_image(folder, nodes)
    guests = [create(rows, row_of(node)).id for node in nodes[:_GUESTS]]
    with workers(folder, MANY):
        finish("start", rows, guests)  # deploys them
        finish("stop", rows, guests)
    _print_row("QEMU", folder, rows, guests)
    print(flush=True)


def _print_row(what: str, folder: Path, rows: Rows, vm_ids: Sequence[str], **settings: str) -> None:
    alone, together = (_rate(folder, number, rows, vm_ids, **settings) for number in (1, MANY))
    print(f"| {what} | {alone:.1f} | {together:.1f} | {together / alone:.1f} |", flush=True)


def _rate(folder: Path, number: int, rows: Rows, vm_ids: Sequence[str], **settings: str) -> float:
    with workers(folder, number, **settings):
        seconds = sum(finish(verb, rows, vm_ids) for verb in ("start", "stop"))
    return 2 * len(vm_ids) / seconds
