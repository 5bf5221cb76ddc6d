"""How long a sweep of many nodes takes, and how often it asks."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import median
from typing import Any

import libvirt

from bench.hypervisor.estate import define, row_of
from bench.hypervisor.memory import Memory
from bench.rows import Rows
from lab.node import Node as LabNode
from nodes.models import Node
from resources.reconcile import sweep_all

ROUNDS = 10
# What the binding answers by itself, and what it does beside: a call of all others goes to a node.
_LOCAL = ("virEvent", "virConnectClose", "virConnectIsAlive", "virStreamNew")
_LOCAL_ENDS = ("GetName", "GetUUID", "GetUUIDString", "Free", "Ref")


@dataclass(frozen=True)
class _Cost:
    """Medians of milliseconds, the calls of one, and the memory in MB after the first and the last."""

    wall: float
    cpu: float
    calls: int
    first_mb: float
    last_mb: float


def print_table(where: str, nodes: Sequence[LabNode], each: int, rows: Rows) -> None:
    """Of empty nodes, and of full ones."""
    there = [row_of(node).id for node in nodes]
    empty = _sweep()
    for node in nodes:
        define(node, each, rows)
    full = _sweep()
    print(f"| a sweep of {where} | wall, ms | CPU, ms | calls of libvirt | memory, MB | after {ROUNDS} sweeps |")
    print("|---|---:|---:|---:|---:|---:|")
    for what, cost in (("without domains", empty), (f"with {each * len(nodes):,} domains", full)):
        memory = f"{cost.first_mb:.0f} | {cost.last_mb:.0f}"
        print(f"| {what} | {cost.wall:.0f} | {cost.cpu:.0f} | {cost.calls} | {memory} |")
    print(flush=True)
    seen = Node.objects.filter(pk__in=there, online=True).count()
    assert seen == len(nodes), "not all nodes answered"


def _sweep() -> _Cost:
    sweep_all()  # connects
    first_mb = Memory.of().resident_mb
    wall, cpu = [], []
    for _ in range(ROUNDS):
        began, used = time.perf_counter(), time.process_time()
        sweep_all()
        wall.append((time.perf_counter() - began) * 1000)
        cpu.append((time.process_time() - used) * 1000)
    last_mb = Memory.of().resident_mb
    with _counted() as count:
        sweep_all()
    return _Cost(median(wall), median(cpu), count(), first_mb, last_mb)


@contextmanager
def _counted() -> Iterator[Callable[[], int]]:
    """Count what goes to nodes, in the functions of the binding itself."""
    calls = [0]
    binding = libvirt.libvirtmod
    plain = {name: function for name, function in vars(binding).items() if _asks_a_node(name)}

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


def _asks_a_node(name: str) -> bool:
    return name.startswith("vir") and not name.startswith(_LOCAL) and not name.endswith(_LOCAL_ENDS)
