"""A site whose workers run VMs on lab nodes, for tests in which workers or nodes fail."""

import os
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lab.node import Node
from tests.hypervisor import estate
from tests.hypervisor.inside import Inside
from tests.processes.sites import Site, wait_for


class LabSite:
    """`inside` calls the functions of tests.hypervisor.estate on the site's database."""

    def __init__(self, site: Site, labs: Sequence[Node]) -> None:
        self._site = site
        self.labs = labs
        self.workers: list[subprocess.Popen[bytes]] = []
        self.inside = Inside(site)
        self.inside(estate.move_in, [(lab.name, lab.uri, lab.boot_id) for lab in labs])

    def hire(self, count: int) -> list[subprocess.Popen[bytes]]:
        hired = [self._site.manage("worker", "--skip-checks") for _ in range(count)]
        self.workers += hired
        return hired

    def dismiss(self) -> None:
        """All workers, in order."""
        for worker in self.workers:
            worker.terminate()
        for worker in self.workers:
            worker.wait(30)
        self.workers = []

    def replace_the_dead(self) -> int:
        """With workers to whom their tasks fall at once. Gives how many there were."""
        dead = [worker for worker in self.workers if worker.poll() is not None]
        for worker in dead:
            self.workers.remove(worker)
            self.inside(estate.expire_leases_of, worker.pid)
        self.hire(len(dead))
        return len(dead)

    def deploy(self, *vm_ids: str, within_s: float = 90.0) -> None:
        self.inside(estate.ask, "start", *vm_ids)
        self.inside.until(estate.statuses, vm_ids, gives=["running"] * len(vm_ids), within_s=within_s)

    def assert_balanced(self) -> None:
        estate.assert_balanced(self.labs, self.inside(estate.books))

    def output(self) -> str:
        return self._site.output()


def wait_until_stopped(worker: subprocess.Popen[bytes], within_s: float = 60.0) -> None:
    """Until it sleeps for SIGSTOP."""
    wait_for(lambda: state_of(worker.pid) == "T", within_s, f"worker {worker.pid} to stop")


def wake(worker: subprocess.Popen[bytes]) -> None:
    os.kill(worker.pid, signal.SIGCONT)


def state_of(pid: int) -> str:
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
