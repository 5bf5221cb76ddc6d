"""The first process of a lab node: makes its namespaces, becomes its process 1, keeps libvirtd and reaps.

A program of its own, run by path; it imports nothing of ours. It prints its process id as the machine sees it once
its networks are there. It ends when it is killed, and all that runs in the node with it: the kernel kills a PID
namespace with its first process, and its network and mounts go with the last. It takes SIGUSR1 for "start libvirtd if
it does not run". It also ends when its stdin does, which a test holds open.

Orphans are reaped at once: libvirt's destroy waits for QEMU's process to vanish, not only to end.
"""

import contextlib
import ctypes
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

# https://man7.org/linux/man-pages/man2/clone.2.html
_NEW_MOUNT, _NEW_UTS, _NEW_IPC, _NEW_PID, _NEW_NET = 0x20000, 0x4000000, 0x8000000, 0x20000000, 0x40000000
# What guests and libvirt need. Not kvm: one that root may open and that boots nothing makes libvirt probe QEMU anew
# at every start of a domain.
_DEVICES = ["null", "zero", "full", "random", "urandom", "tty", "net/tun"]


def main(settings: dict[str, Any]) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(_NEW_MOUNT | _NEW_UTS | _NEW_IPC | _NEW_PID | _NEW_NET):
        raise OSError(ctypes.get_errno(), "cannot make the namespaces of a node")
    done, tell = os.pipe()
    child = os.fork()
    if child:
        os.close(tell)
        if not os.read(done, 1):
            sys.exit("The first process of the node ended.")
        print(child, flush=True)
        os._exit(0)
    os.setsid()
    os.dup2(2, 1)  # whoever reads the process id waits for no more
    _mount(settings)
    _connect(settings["lans"])
    _serve_addresses(settings["dhcp"])
    os.write(tell, b".")
    os.close(tell)
    daemon = _Daemon(settings["libvirtd"])
    threading.Thread(target=_end_with_stdin, daemon=True).start()
    daemon.keep()


def _end_with_stdin() -> None:
    while os.read(0, 1):
        pass
    os._exit(0)


def _mount(settings: dict[str, Any]) -> None:
    socket.sethostname(settings["name"])
    _do("mount", "--make-rprivate", "/")
    _do("mount", "-t", "proc", "proc", "/proc")
    _do("mount", "-t", "sysfs", "sysfs", "/sys")  # the old one shows the interfaces of the machine
    _do("mount", "--bind", settings["boot_id"], "/proc/sys/kernel/random/boot_id")
    _mount_devices(Path(settings["dev"]), settings["kvm"])
    _do("mount", "-t", "tmpfs", "tmpfs", "/run/lock")  # each node has a /dev/pts/0 whose console one may have open
    for source, target in settings["folders"].items():
        Path(target).mkdir(parents=True, exist_ok=True)
        _do("mount", "--bind", source, target)


def _mount_devices(folder: Path, kvm: bool) -> None:
    folder.mkdir(exist_ok=True)
    _do("mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", str(folder))
    for name in [*_DEVICES, *(["kvm"] if kvm else [])]:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).touch()
        _do("mount", "--bind", f"/dev/{name}", str(folder / name))
    for name, options in {"pts": "devpts", "shm": "tmpfs"}.items():
        (folder / name).mkdir()
        _do("mount", "-t", options, options, str(folder / name))
    (folder / "ptmx").symlink_to("pts/ptmx")
    (folder / "pts/ptmx").chmod(0o666)
    (folder / "fd").symlink_to("/proc/self/fd")
    _do("mount", "--move", str(folder), "/dev")


def _connect(bridges: dict[str, str]) -> None:
    _do("ip", "link", "set", "lo", "up")
    for bridge, address in bridges.items():
        # Without a MAC of its own a bridge takes its lowest port's, and a new one with each guest.
        mac = "02:00:" + ":".join(f"{int(byte):02x}" for byte in address.partition("/")[0].split("."))
        _do("ip", "link", "add", bridge, "address", mac, "type", "bridge", "forward_delay", "0")
        _do("ip", "address", "add", address, "dev", bridge)
        _do("ip", "link", "set", bridge, "up")


def _serve_addresses(argv: list[str]) -> None:
    subprocess.Popen(argv, stdin=subprocess.DEVNULL)


class _Daemon:
    """libvirtd: started once now, and again when asked for."""

    def __init__(self, argv: list[str]) -> None:
        # Before there is any other thread, which would inherit the duty of taking them.
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1, signal.SIGCHLD})
        self._argv = argv
        self._pid = 0

    def keep(self) -> None:
        self._start()
        while True:
            if signal.sigwait({signal.SIGUSR1, signal.SIGCHLD}) == signal.SIGUSR1:
                self._reap()
                self._start()
            else:
                self._reap()

    def _start(self) -> None:
        if not self._pid:
            null = (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0)
            self._pid = os.posix_spawnp(self._argv[0], self._argv, os.environ, file_actions=[null], setsigmask=[])

    def _reap(self) -> None:
        with contextlib.suppress(ChildProcessError):
            while pid := os.waitpid(-1, os.WNOHANG)[0]:
                if pid == self._pid:
                    self._pid = 0


def _do(*argv: str) -> None:
    subprocess.run(argv, check=True)


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
