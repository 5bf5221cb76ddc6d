"""A throwaway hypervisor: a libvirtd in mount, network, UTS, IPC and PID namespaces of its own.

Everything of a node is in its folder, but for its sockets (whose paths must be shorter than 108 characters) below
`RUN`, two cables (lans.py) and its processes. Whoever makes a Node of the same folder finds it again.
"""

import json
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from uuid import uuid4

from . import config, init
from .lans import Lan, alone, claim, give_back, lans_of, plug_in
from .shell import CommandFailed, run

RUN = Path("/run/aiwm-lab")
_START_S = 30.0


class Node:
    """Paths below `folder` are the same inside the node and outside. Methods raise CommandFailed.

    `number` says which networks it has; without one, the node takes the first that is free and keeps it. With `kvm`
    its guests may use /dev/kvm. A node that is `mortal` ends with the process that started it, even a killed one.
    The libvirtd of one that `listens` takes connections from its networks, once the configuration in `etc` says so.
    """

    def __init__(
        self,
        name: str,
        folder: Path,
        number: int | None = None,
        *,
        kvm: bool = False,
        mortal: bool = False,
        listens: bool = False,
    ) -> None:
        self.name = name
        self.folder = folder.resolve()
        self.run_folder = RUN / f"{name}-{sha256(bytes(self.folder)).hexdigest()[:8]}"
        self._number = number
        self._kvm = kvm
        self._mortal = mortal
        self._listens = listens
        self._life: int | None = None  # a mortal node reads from its other end

    @property
    def uri(self) -> str:
        return f"qemu+unix:///system?socket={self.run_folder}/libvirt-sock"

    @property
    def pool(self) -> Path:
        """The folder of the storage pool `aiwm`."""
        return self.folder / "aiwm"

    @property
    def etc(self) -> Path:
        """The node's /etc/libvirt."""
        return self.folder / "etc"

    @property
    def hooks(self) -> Path:
        """The node's /etc/libvirt/hooks."""
        return self.etc / "hooks"

    @property
    def logs(self) -> Path:
        """The node's /var/log/libvirt: libvirtd.log, and qemu/<domain>.log."""
        return self.folder / "log"

    @property
    def boot_id(self) -> str:
        """What the node's /proc/sys/kernel/random/boot_id says."""
        return (self.folder / "boot_id").read_text().strip()

    @property
    def lans(self) -> tuple[Lan, Lan, Lan]:
        """Untagged, VLAN 100, VLAN 200. Known from the first start on."""
        return lans_of(int((self.folder / "number").read_text()))

    def lan(self, vlan_id: int | None) -> Lan:
        return next(lan for lan in self.lans if lan.vlan_id == vlan_id)

    @property
    def pid(self) -> int | None:
        """The node's first process as the machine sees it, or None while the node is off."""
        try:
            pid, started = (self.folder / "pid").read_text().split()
        except FileNotFoundError:
            return None
        return int(pid) if _started(int(pid)) == started else None

    @property
    def running(self) -> bool:
        return self.pid is not None

    # The whole node

    def start(self) -> "Node":
        """Power the node on and start its libvirtd, unless they run. Returns when libvirtd answers."""
        with alone():
            pid = self.pid
            if pid is None:
                self._power_on()
            else:
                plug_in(self.lans, pid)  # whoever powered it on may have been killed before they did
        if pid is None:
            self._wait_for_daemon()
        else:
            self.start_daemon()
        return self

    def _power_on(self) -> None:
        number = claim(self._wanted_number(), _living())
        lans = lans_of(number)
        try:
            self._prepare()
            (self.folder / "number").write_text(f"{number}\n")
            pid = self._launch(lans)
            (self.run_folder / "owner").write_text(f"{number} {pid} {_started(pid)}\n")
            plug_in(lans, pid)
        except BaseException:
            give_back(lans)
            self._end()
            raise

    def stop(self) -> None:
        """Cut the node's power: its guests, libvirtd and networks are gone when this returns. Disks stay."""
        if self.running:
            # While they are surely its own: once it has ended another node may have taken their names.
            give_back(self.lans)
        self._end()

    def _end(self) -> None:
        pid = self.pid
        if pid is not None:
            os.kill(pid, signal.SIGKILL)
            _wait(lambda: not self.running, f"The processes of node {self.name} did not end.")
        if self._life is not None:
            os.close(self._life)
            self._life = None
        (self.folder / "pid").unlink(missing_ok=True)
        shutil.rmtree(self.run_folder, ignore_errors=True)

    def reboot(self) -> "Node":
        """As after a power failure: guests are off, and the boot id is another."""
        self.stop()
        return self.start()

    def remove(self) -> None:
        """Stop it and delete its folder."""
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)
        with alone(), suppress(OSError):  # other nodes' may be there
            RUN.rmdir()

    # Its libvirtd

    @property
    def daemon_pid(self) -> int | None:
        """libvirtd's process id inside the node, or None while it does not run."""
        try:
            pid = int((self.run_folder / "libvirtd.pid").read_text())
        except (FileNotFoundError, ValueError):
            return None
        return pid if self._runs(pid) else None

    def kill_daemon(self) -> None:
        """End libvirtd with SIGKILL. Guests live on."""
        self._signal_daemon(signal.SIGKILL)
        _wait(lambda: self.daemon_pid is None, f"libvirtd of node {self.name} did not end.")

    def start_daemon(self) -> None:
        """Start libvirtd again, unless it runs. Returns when it answers."""
        self.run("kill", f"-{signal.SIGUSR1.value}", "1")
        self._wait_for_daemon()

    def stop_daemon_signal(self) -> None:
        """Freeze libvirtd with SIGSTOP: it accepts connections and never answers."""
        self._signal_daemon(signal.SIGSTOP)

    def continue_daemon(self) -> None:
        self._signal_daemon(signal.SIGCONT)

    # Inside of it

    def run(self, *argv: str | Path, timeout_s: float = 60) -> str:
        """Run a program inside the node; what it wrote to stdout."""
        pid = self.pid
        if pid is None:
            raise CommandFailed(f"Node {self.name} is off.")
        return run("nsenter", f"--target={pid}", "--all", *argv, timeout_s=timeout_s)

    def virsh(self, *argv: str, timeout_s: float = 60) -> str:
        return run("virsh", "--quiet", "--connect", self.uri, *argv, timeout_s=timeout_s)

    def kill_guest(self, domain: str) -> None:
        """End the QEMU of this domain with SIGKILL, as the kernel does when memory runs out."""
        self.run("kill", "-KILL", (self.run_folder / f"qemu/{domain}.pid").read_text().strip())

    def _wanted_number(self) -> int | None:
        if self._number is None and (self.folder / "number").exists():
            return int((self.folder / "number").read_text())
        return self._number

    def _prepare(self) -> None:
        shutil.rmtree(self.run_folder, ignore_errors=True)
        self.run_folder.mkdir(parents=True)
        for name in ("etc", "lib", "log", "cache"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        config.write(self.etc, self.pool)
        (self.folder / "boot_id").write_text(f"{uuid4()}\n")

    def _launch(self, lans: tuple[Lan, ...]) -> int:
        settings = {
            "name": self.name,
            "kvm": self._kvm,
            **config.for_init(self.folder, self.run_folder, lans, listens=self._listens),
        }
        log = self.folder / "init.log"
        words = (sys.executable, init.__file__, json.dumps(settings), log)
        # A pipe that this process alone can write to ends with it, a FIFO opened both ways never does.
        stdin, self._life = os.pipe() if self._mortal else (_endless(self.run_folder / "life"), None)
        try:
            pid = int(run("sh", "-c", 'exec "$0" "$1" "$2" 2>"$3"', *words, stdin=stdin))
        except CommandFailed as e:
            raise CommandFailed(f"Node {self.name} cannot start: {log.read_text().strip()}") from e
        finally:
            os.close(stdin)
        (self.folder / "pid").write_text(f"{pid} {_started(pid)}\n")
        return pid

    def _runs(self, pid: int) -> bool:
        if not self.running:
            return False
        try:
            self.run("kill", "-0", str(pid))
        except CommandFailed:
            return False
        return True

    def _signal_daemon(self, number: signal.Signals) -> None:
        pid = self.daemon_pid
        if pid is None:
            raise CommandFailed(f"libvirtd of node {self.name} does not run.")
        self.run("kill", f"-{number.value}", str(pid))

    def _wait_for_daemon(self) -> None:
        def answers() -> bool:
            if not self.running:
                raise CommandFailed(f"Node {self.name} ended: {(self.folder / 'init.log').read_text().strip()}")
            if not (self.run_folder / "libvirt-sock").exists():
                return False
            try:
                self.virsh("pool-info", self.pool.name, timeout_s=_START_S)
            except CommandFailed:
                return False
            return True

        _wait(answers, f"libvirtd of node {self.name} does not answer; see {self.logs}/libvirtd.log.")


def _living() -> set[int]:
    """The numbers of all nodes of this machine that run, also of those whose start was killed."""
    living = set()
    for file in RUN.glob("*/owner"):
        with suppress(FileNotFoundError):  # it was just stopped
            number, pid, started = file.read_text().split()
            if _started(int(pid)) == started:
                living.add(int(number))
    return living


def _endless(path: Path) -> int:
    """The descriptor of a FIFO that is never at its end, for it is its own writer."""
    os.mkfifo(path)
    return os.open(path, os.O_RDWR)


def _started(pid: int) -> str | None:
    """When this process started, which tells it from a later one of its id; None if it has ended."""
    try:
        words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    state, started = words[0], words[19]
    return None if state in "ZX" else started


def _wait(until: Callable[[], bool], else_say: str) -> None:
    deadline = time.monotonic() + _START_S
    while not until():
        if time.monotonic() > deadline:
            raise CommandFailed(else_say)
        time.sleep(0.02)
