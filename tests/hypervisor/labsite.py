"""A site whose workers run VMs on lab nodes, for tests in which workers or nodes fail."""

import os
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lab.node import Node
from tests.hypervisor import estate
from tests.processes import hands
from tests.processes.inside import Inside
from tests.processes.sites import Site, wait_for

SECONDS = 90.0


class LabSite:
    """`inside` calls the functions of tests.hypervisor.estate on the site's database."""

    def __init__(self, site: Site, labs: Sequence[Node]) -> None:
        self._site = site
        self.labs = labs
        self.workers: list[int] = []
        self.inside = Inside(site)
        self.inside(estate.hurry)
        self.inside(estate.move_in, [(lab.name, lab.uri, lab.boot_id) for lab in labs], estate.sizes(labs[0]))

    def hire(self, count: int, lease_s: float | None = None) -> list[int]:
        """New workers' process ids."""
        hired = [self.inside(hands.hire, lease_s) for _ in range(count)]
        self.workers += hired
        return hired

    def dismiss(self) -> None:
        """All workers, in order."""
        self._send(self.workers, signal.SIGTERM)
        assert set(self.codes_of(self.workers)) <= {0}, self.output()[-6000:]
        self.workers = []

    def codes_of(self, workers: Sequence[int]) -> list[int]:
        """With what they end, when they have all ended."""
        wait_for(lambda: set(workers) <= set(self.inside(hands.ended)), SECONDS, f"the end of {workers}")
        ended = self.inside(hands.ended)
        return [ended[pid] for pid in workers]

    def replace_the_dead(self) -> None:
        """With workers to whom their tasks fall at once."""
        ended = self.inside(hands.ended)
        for pid in [pid for pid in self.workers if pid in ended]:
            self.workers.remove(pid)
            self.inside(estate.expire_leases_of, pid)
            self.hire(1)

    def wait_until_asleep(self, workers: Sequence[int]) -> None:
        wait_for(lambda: {_state_of(pid) for pid in workers} == {"T"}, SECONDS, "all to be stopped")

    def wake(self, workers: Sequence[int]) -> None:
        self._send(workers, signal.SIGCONT)

    def _send(self, workers: Sequence[int], number: signal.Signals) -> None:
        for pid in workers:
            os.kill(pid, number)

    def deploy(self, *vm_ids: str, within_s: float = 90.0) -> None:
        self.inside(estate.ask, "start", *vm_ids)
        self.inside.until(estate.statuses, vm_ids, gives=["running"] * len(vm_ids), within_s=within_s)

    def assert_balanced(self) -> None:
        estate.assert_balanced(self.labs, self.inside(estate.books))

    def output(self) -> str:
        return self._site.output()


def _state_of(pid: int) -> str:
    """As ps has it: https://man7.org/linux/man-pages/man5/proc_pid_stat.5.html"""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return ""


def settings(backend: str = "vmbackends.libvirt.LibvirtBackend", **options: Any) -> dict[str, object]:
    """Of a site on lab nodes. Nothing happens by the clock that a test does not ask for."""
    return {
        "VM_BACKEND": backend,
        "VM_BACKEND_OPTIONS": {**estate.QUICK, **options},
        "SWEEP_SECONDS": 1000,
        "SAMPLE_SECONDS": 1000,
        "LOG_LEVEL": "INFO",
        "OPEN_VLANS": "1",
    }
