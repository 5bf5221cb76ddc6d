"""What a start and a stop cost over the API, and the same by virsh."""

import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from statistics import median

from bench.hypervisor.estate import actor, create, provide_image, row_of, work_off
from bench.rows import Rows
from lab.node import Node as LabNode
from resources import actions

ROUNDS = 10


def print_table(folder: Path, node: LabNode, rows: Rows) -> None:
    """A start until the guest has booted, and a forced stop, with one worker that looks for work all the time. The two
    ways take turns, so that what else the machine does befalls both."""
    provide_image(folder, [node])
    who = actor(rows)
    vm = create(rows, row_of(node))
    name, console = vm.domain_name, node.pool / f"{vm.domain_name}-console.log"

    def start() -> None:
        actions.start(who, vm.id)
        work_off()

    def stop() -> None:
        actions.stop(who, vm.id, force=True)
        work_off()

    def start_by_virsh() -> None:
        boots = _boots(console)
        node.virsh("start", name)
        while _boots(console) == boots:
            time.sleep(0.01)

    start()  # deploys it
    stop()
    times: dict[str, list[float]] = defaultdict(list)
    for _ in range(ROUNDS):
        times["start"].append(_ms(start))
        times["stop"].append(_ms(stop))
        times["virsh start"].append(_ms(start_by_virsh))
        times["virsh stop"].append(_ms(lambda: node.virsh("destroy", name)))
    print("| one guest of one vCPU | over the API, ms | by virsh, ms | more |")
    print("|---|---:|---:|---:|")
    for what in ("start", "stop"):
        ours, theirs = median(times[what]), median(times[f"virsh {what}"])
        print(f"| {what} | {ours:.0f} | {theirs:.0f} | {(ours / theirs - 1) * 100:.0f} % |")
    print(flush=True)


def _ms(act: Callable[[], object]) -> float:
    began = time.perf_counter()
    act()
    return (time.perf_counter() - began) * 1000


def _boots(console: Path) -> int:
    """How often the guest has said that it is up."""
    return console.read_bytes().count(b" finished at ")
