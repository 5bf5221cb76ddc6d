"""A site of AIWM on the lab's nodes, with a database and folders of its own."""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from .guest import tiny
from .node import Node
from .places import lab_folder

_ROOT = Path(__file__).resolve().parent.parent
_IMAGE = "debian-12"


def serve(nodes: Sequence[Node], port: int, workers: int) -> None:
    """Make the site ready and become it: Ctrl-C ends the site, and leaves the nodes and their VMs."""
    _manage("migrate", "--verbosity=0")
    _manage("seed_demo", "--verbosity=0")
    known = _read("nodes", "list")
    for node in nodes:
        if node.name not in known.split():
            _manage("nodes", "add", node.name, node.uri, "--hostname", node.name, "--segment", node.name)
    _manage("images", "import", _IMAGE, str(tiny()), "--ready", "cloud-init")
    _manage("images", "push", _IMAGE, *(node.name for node in nodes))
    _manage("nodes", "refresh", *(node.name for node in nodes), "--no-wait")  # for the workers, as soon as they are
    print(_story(nodes), flush=True)
    command = [sys.executable, str(_ROOT / "manage.py"), "serve", "--port", str(port), "--workers", str(workers)]
    os.execve(command[0], command, _environment())


def _story(nodes: Sequence[Node]) -> str:
    lines = ["", "To look into a node:"]
    lines += [f"  virsh -c '{node.uri}' list --all" for node in nodes]
    lines += ["", "VMs on VLAN 100 are reached from this machine. Free static addresses, with netmask 255.255.255.0:"]
    for node in nodes:
        lan = node.lan(100)
        lines.append(f"  {node.name}: {lan.network[10]} to {lan.network[250]}, gateway {lan.gateway}")
    return "\n".join(lines)


def _manage(*arguments: str) -> None:
    command = [sys.executable, str(_ROOT / "manage.py"), *arguments]
    subprocess.run(command, env=_environment(), check=True)


def _read(*arguments: str) -> str:
    command = [sys.executable, str(_ROOT / "manage.py"), *arguments]
    return subprocess.run(command, env=_environment(), check=True, capture_output=True, text=True).stdout


def _environment() -> dict[str, str]:
    folder = lab_folder() / "site"
    folder.mkdir(parents=True, exist_ok=True)
    ours = {
        "DEBUG": "1",
        "AIWM_VAR": str(folder),
        "DATABASE_URL": f"sqlite:///{folder}/aiwm.sqlite3",
        "VM_BACKEND": "vmbackends.libvirt.LibvirtBackend",
        "VM_BACKEND_OPTIONS": "{}",
        "AIWM_USER": "admin",
    }
    return {**os.environ, **ours}
