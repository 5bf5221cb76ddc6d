"""The files by which the libvirtd of a lab node is configured: https://libvirt.org/daemons.html"""

from pathlib import Path
from typing import Any
from uuid import uuid4

from .lans import Lan

# Guests run as root, whoever may look into the node's folder; no confinement, cgroups or namespaces are to be had in
# a container, and virtlogd, which the machine may not have, is not asked to write logs.
_QEMU = """\
user = "root"
group = "root"
swtpm_user = "root"
swtpm_group = "root"
dynamic_ownership = 1
remember_owner = 0
security_driver = "none"
stdio_handler = "file"
cgroup_controllers = []
namespaces = []
"""

_LIBVIRTD = """\
unix_sock_group = "root"
unix_sock_rw_perms = "0700"
auth_unix_ro = "none"
auth_unix_rw = "none"
log_outputs = "2:file:/var/log/libvirt/libvirtd.log"
host_uuid = "{uuid}"
listen_tls = 0
"""
_DAEMON = ["libvirtd", "-p", "/run/libvirt/libvirtd.pid", "-f", "/etc/libvirt/libvirtd.conf"]

_POOL = """\
<pool type='dir'>
  <name>{name}</name>
  <uuid>{uuid}</uuid>
  <target><path>{path}</path></target>
</pool>
"""


def write(etc: Path, pool: Path) -> None:
    """Write what is not there yet, with a pool named as its folder that starts with libvirtd. Ids stay for good."""
    (etc / "hooks").mkdir(parents=True, exist_ok=True)
    (etc / "storage/autostart").mkdir(parents=True, exist_ok=True)
    pool.mkdir(exist_ok=True)
    _keep(etc / "qemu.conf", _QEMU)
    _keep(etc / "libvirtd.conf", _LIBVIRTD.format(uuid=uuid4()))
    _keep(etc / f"storage/{pool.name}.xml", _POOL.format(name=pool.name, uuid=uuid4(), path=pool))
    link = etc / f"storage/autostart/{pool.name}.xml"
    if not link.is_symlink():
        link.symlink_to(f"/etc/libvirt/storage/{pool.name}.xml")


def for_init(folder: Path, run_folder: Path, lans: tuple[Lan, ...], *, listens: bool) -> dict[str, Any]:
    """What init.py must know of a node: what is mounted where, and what is run."""
    targets = {
        "etc": "/etc/libvirt",
        "lib": "/var/lib/libvirt",
        "log": "/var/log/libvirt",
        "cache": "/var/cache/libvirt",
    }
    return {
        "boot_id": str(folder / "boot_id"),
        "dev": str(run_folder / "dev"),
        "folders": {str(run_folder): "/run/libvirt", **{str(folder / name): to for name, to in targets.items()}},
        "lans": {lan.bridge: lan.on_bridge for lan in lans},
        "dhcp": _dnsmasq(folder, lans[0]),
        "libvirtd": [*_DAEMON, "--listen"] if listens else _DAEMON,
    }


def _dnsmasq(folder: Path, lan: Lan) -> list[str]:
    """DHCP alone, from .100 to .199."""
    return [
        "dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--user=root", "--port=0", "--pid-file=",
        f"--dhcp-leasefile={folder}/leases", f"--log-facility={folder}/dnsmasq.log", f"--interface={lan.bridge}",
        "--bind-interfaces", "--dhcp-authoritative", "--no-ping", f"--dhcp-option=option:router,{lan.gateway}",
        f"--dhcp-range={lan.network[100]},{lan.network[199]},1h",
    ]  # fmt: skip


def _keep(path: Path, text: str) -> None:
    if not path.exists():
        path.write_text(text, encoding="utf-8")
