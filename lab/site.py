"""A site of AIWM on the lab's nodes, with a database and folders of its own."""

import fcntl
import json
import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path

from .guest import tiny
from .node import Node
from .places import lab_folder
from .shell import CommandFailed

_ROOT = Path(__file__).resolve().parent.parent
_IMAGE = "debian-12"
# The nodes hide /dev/kvm, and are to have more than one VM on a machine of two cores.
_EMULATES = ("--domain-type", "qemu", "--vcpu-overcommit", "8")
_LIST = (
    "import json; from nodes.models import Node; print(json.dumps(list(Node.objects.values('uri', 'name', 'lost'))))"
)


def check_port(port: int) -> None:
    """Raises CommandFailed where somebody else listens there."""
    if not 1 <= port <= 65_535:
        raise CommandFailed(f"There is no port {port}: they are from 1 to 65535.")
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as e:
            raise CommandFailed(
                f"Port {port} cannot be had: {e.strerror}. Stop what uses it (`ss -ltnp` names it), or take another: "
                f"`make lab PORT={port + 1}`."
            ) from e


def serve(nodes: Sequence[Node], port: int, workers: int) -> None:
    """Make the site ready and become it: Ctrl-C ends the site, and leaves the nodes and their VMs."""
    _hold()
    _manage("migrate", "--verbosity=0")
    _manage("seed_demo", "--verbosity=0")
    names = _names(nodes)
    _keep_image(tiny())
    if names:
        _manage("images", "push", _IMAGE, *names)
        _manage("nodes", "refresh", *names, "--no-wait")  # for the workers, as soon as they are
    environment_file = _folder() / "env"
    environment_file.write_text(_for_shells())
    print(_story(nodes, environment_file), flush=True)
    command = _command("serve", "--port", str(port), "--workers", str(workers))
    os.execve(command[0], command, _environment())


def _names(nodes: Sequence[Node]) -> list[str]:
    """What they are called on the site, to which they are added; without those that are marked lost there."""
    names = []
    by_uri = {row["uri"]: row for row in json.loads(_read("shell", "--no-imports", "--command", _LIST))}
    for node in nodes:
        known = by_uri.get(node.uri)
        if known is None:
            its_own = ("--hostname", node.name, "--segment", node.name)
            _do("nodes", "add", node.name, node.uri, *its_own, *_EMULATES)
        elif known["lost"]:
            print(f"{known['name']} is marked lost, and left alone.")
            continue
        names.append(known["name"] if known else node.name)
    return names


def _keep_image(file: Path) -> None:
    """Unless the site has it, or one that its operator has imported under that name."""
    kept = [path.name for path in (_folder() / "images").glob(f"image-{_IMAGE}-*.qcow2")]
    ours = f"image-{_IMAGE}-{sha256(file.read_bytes()).hexdigest()[:12]}.qcow2"  # as an import names it
    record = _folder() / "image"
    known = record.read_text().split() if record.exists() else kept  # none of a lab that kept no record yet
    if kept == [ours]:
        return
    if not set(kept) <= set(known):
        print(
            f"{_IMAGE} is an image of your own here, and stays. The lab's is back when no VM is of it any more, after "
            f"`manage.py images remove {_IMAGE}`."
        )
        return
    record.write_text(" ".join([*known, ours]))
    _do("images", "import", _IMAGE, str(file), "--ready", "cloud-init")


def remove() -> None:
    """Delete its database and files. Raises CommandFailed while it serves."""
    if _folder().exists():
        _hold()
        shutil.rmtree(_folder(), ignore_errors=True)


def _hold() -> None:
    """Until this process ends, also as another program: the site is one's at a time."""
    _folder().mkdir(parents=True, exist_ok=True)
    lock = os.open(_folder() / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise CommandFailed("The lab's site is served by another process. Stop that first, with Ctrl-C.") from None
    os.set_inheritable(lock, True)


def _story(nodes: Sequence[Node], environment_file: Path) -> str:
    lan = nodes[0].lan(100)
    lines = ["", "To look into a node:"]
    lines += [f"  virsh -c '{node.uri}' list --all" for node in nodes]
    lines += [
        "",
        f"VMs on VLAN 100 are reached from this machine. Static addresses, with netmask {lan.network.netmask}:",
    ]
    lines += [
        f"  {node.name}: {node.lan(100).network[10]} to {node.lan(100).network[250]}, gateway {node.lan(100).gateway}"
        for node in nodes
    ]
    lines += [
        "",
        "In another shell, manage.py acts on this site so, and a first VM tells who it is at its address:",
        f"  set -a; . {environment_file}; set +a",
        f"  .venv/bin/python manage.py nodes check {nodes[0].name}",
        f"  .venv/bin/python manage.py vm create --as demo --name first --node {nodes[0].name} --image {_IMAGE} \\",
        f"    --vcpus 1 --ram-gb 1 --disk-gb 10 --hostname first --vlan 100 --ip {lan.network[10]} \\",
        f"    --netmask {lan.network.netmask} --gateway {lan.gateway} --start",
        f"  curl http://{lan.network[10]}/",
        "",
        "Ctrl-C stops the site; nodes and VMs run on until `make lab-down`.",
    ]
    return "\n".join(lines)


def _manage(*arguments: str) -> None:
    subprocess.run(_command(*arguments), env=_environment(), check=True)


def _do(*arguments: str) -> None:
    """Show what it says, but for what is to be done next: that is done here."""
    print("\n".join(line for line in _read(*arguments).splitlines() if not line.startswith("Next: ")), flush=True)


def _read(*arguments: str) -> str:
    return subprocess.run(
        _command(*arguments), env=_environment(), check=True, stdout=subprocess.PIPE, text=True
    ).stdout


def _command(*arguments: str) -> list[str]:
    return [sys.executable, str(_ROOT / "manage.py"), *arguments]


def _for_shells() -> str:
    lines = [f"{name}={shlex.quote(value)}" for name, value in _ours().items()]
    return "\n".join([f"unset {' '.join(sorted(_of_a_production()))}", *lines, ""])


def _environment() -> dict[str, str]:
    theirs = _of_a_production()
    return {**{name: value for name, value in os.environ.items() if name not in theirs}, **_ours()}


def _of_a_production() -> set[str]:
    """Settings that a shell may have from one, and that say nothing of the lab: they may name files, or hosts."""
    example = (_ROOT / "docs/production.env.example").read_text()
    names = {name.removesuffix("_FILE") for name in re.findall(r"^([A-Z_]+)=", example, re.MULTILINE)} | _ours().keys()
    return names | {f"{name}_FILE" for name in names}


def _ours() -> dict[str, str]:
    folder = _folder()
    return {
        "DEBUG": "1",
        "AIWM_VAR": str(folder),
        "DATABASE_URL": f"sqlite:///{folder}/aiwm.sqlite3",
        "VM_BACKEND": "vmbackends.libvirt.LibvirtBackend",
        "VM_BACKEND_OPTIONS": os.environ.get("VM_BACKEND_OPTIONS", "{}"),
        "IMAGES_DIR": str(folder / "images"),
        "AIWM_USER": "admin",
    }


def _folder() -> Path:
    return lab_folder() / "site"
