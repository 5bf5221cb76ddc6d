"""What a lab needs from Debian, installed with apt where it is missing. Imports nothing but the standard library."""

import os
import pwd
import sys
from pathlib import Path

from .shell import CommandFailed, run

# The daemon alone, without what its system package starts and configures on a machine.
HYPERVISOR = ["libvirt-daemon", "libvirt-daemon-driver-qemu", "libvirt-clients", "qemu-system-x86", "qemu-utils"]
TOOLS = ["procps", "mount", "util-linux", "passwd"]  # kill, mount, nsenter, useradd
GUESTS = ["ovmf", "swtpm", "swtpm-tools"]  # UEFI and TPM
NETWORK = ["iproute2", "dnsmasq-base", "iptables"]  # with ebtables, by which libvirt filters
IMAGES = ["binutils", "e2fsprogs", "kmod", "mmdebstrap"]
BINDINGS = ["libvirt-dev", "pkg-config", "gcc", "libc6-dev", "python3-dev"]  # libvirt-python is compiled
CHECKS = ["libxml2-utils", "gnutls-bin", "openssh-client"]  # xmllint, certtool for certificates, ssh to a node
ALL = [*HYPERVISOR, *TOOLS, *GUESTS, *NETWORK, *IMAGES, *BINDINGS, *CHECKS]

# QEMU's user, which libvirtd wants to be there even where it runs guests as root.
USER = "libvirt-qemu"
_APT_S = 900


class Unavailable(Exception):
    """There can be no lab on this machine. The message says why, to its user."""


def check() -> None:
    """Raises Unavailable where packages and namespaces are not ours to make."""
    if (
        not sys.platform.startswith("linux")
        or not Path("/etc/debian_version").exists()
        or os.uname().machine != "x86_64"
    ):
        raise Unavailable("The lab needs Debian on x86-64.")
    if os.geteuid():
        raise Unavailable("The lab needs root: it makes namespaces, bridges and virtual machines.")


def install() -> None:
    """Install what is missing, and say so. Raises Unavailable, CommandFailed."""
    check()
    if lacking := missing():
        print(f"Installing {len(lacking)} Debian packages for the lab: {' '.join(lacking)}", flush=True)
        _apt("update", "-qq")
        _apt("install", "-y", "-qq", "--no-install-recommends", *lacking)
    try:
        pwd.getpwnam(USER)
    except KeyError:
        run("useradd", "--system", "--home-dir=/nonexistent", "--shell=/usr/sbin/nologin", USER)


def missing() -> list[str]:
    said = run("dpkg-query", "--show", "--showformat=${Package} ${db:Status-Status}\n").splitlines()
    installed = {line.split()[0] for line in said if line.endswith(" installed")}
    return [name for name in ALL if name not in installed]


def unpack(package: str, folder: Path) -> Path:
    """The files of a package that is not installed, nor ever will be, below this folder: a kernel, say."""
    folder.mkdir(parents=True, exist_ok=True)
    try:
        _apt("download", "-qq", package, cwd=folder)
    except CommandFailed:
        _apt("update", "-qq")  # a machine made from an image may have no lists, or old ones
        _apt("download", "-qq", package, cwd=folder)
    for archive in folder.glob("*.deb"):
        run("dpkg-deb", "--extract", archive, folder)
        archive.unlink()
    return folder


def depends_on(package: str) -> list[str]:
    """The names of what it depends on, as a metapackage has them."""
    lines = run("apt-cache", "depends", "--important", package).splitlines()
    return [line.split()[-1] for line in lines if line.strip().startswith("Depends:")]


def _apt(*argv: str, cwd: Path | None = None) -> None:
    env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C.UTF-8"}
    run("apt-get", *argv, timeout_s=_APT_S, env=env, cwd=cwd)
