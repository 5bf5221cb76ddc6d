"""An ssh server on a lab node, and the ssh of a worker that is to know it."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lab.node import Node
from lab.shell import run
from tests.hypervisor.unpacked import unpacked

_PACKAGES = ["openssh-server", "libwrap0", "libnsl2", "libtirpc3"]
_LIBRARIES = ("usr/lib/x86_64-linux-gnu", "lib/x86_64-linux-gnu")
_CONFIG = """\
HostKey {folder}/host-key
AuthorizedKeysFile {folder}/authorized-keys
AuthenticationMethods publickey
PermitRootLogin prohibit-password
UsePAM no
StrictModes no
PidFile {folder}/pid
"""
# What the package would make when it is installed: whom sshd is, and where, until it knows who calls.
_USER = "sshd:x:65533:65534::/run/sshd:/usr/sbin/nologin\n"
_PLACE = Path("/run/sshd")


def make_key(file: Path) -> str:
    """A new key; gives its public half."""
    run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", file)
    return file.with_name(f"{file.name}.pub").read_text()


@contextmanager
def served(node: Node, key: str) -> Iterator[str]:
    """The node lets root in by this key, until it is off. Gives its host key."""
    files = unpacked("openssh", _PACKAGES)
    folder = node.folder / "sshd"
    folder.mkdir()
    (folder / "config").write_text(_CONFIG.format(folder=folder))
    (folder / "authorized-keys").write_text(key)
    (folder / "passwd").write_text(Path("/etc/passwd").read_text() + _USER)
    host_key = make_key(folder / "host-key")
    made = not _PLACE.exists()  # the node has the machine's /run
    _PLACE.mkdir(mode=0o755, exist_ok=True)
    try:
        node.run("mount", "--bind", folder / "passwd", "/etc/passwd")
        libraries = ":".join(str(files / name) for name in _LIBRARIES)
        program = [files / "usr/sbin/sshd", "-f", folder / "config", "-E", folder / "log"]
        node.run("env", f"LD_LIBRARY_PATH={libraries}", *program)
        yield host_key
    finally:
        if made:
            _PLACE.rmdir()


def client(folder: Path, known_hosts: str) -> Path:
    """A folder for the front of PATH, with an ssh that knows these hosts and none of this machine's."""
    folder.mkdir()
    hosts = folder / "known_hosts"
    hosts.write_text(known_hosts)
    (folder / "ssh").write_text(
        f'#!/bin/sh\nexec /usr/bin/ssh -F none -o UserKnownHostsFile={hosts} -o GlobalKnownHostsFile=none "$@"\n'
    )
    (folder / "ssh").chmod(0o755)
    return folder
