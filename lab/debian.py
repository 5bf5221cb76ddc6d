"""Debian 12 with the real cloud-init and guest agent: what a company's image is like. Built once, in a minute or two.

mmdebstrap fills a folder, mke2fs makes a file system of it, and the lab's loader starts its kernel: no loop device,
no mount of an image. Boots take most of a minute under emulation, where the tiny guest (guest.py) takes seconds.
"""

import tempfile
from pathlib import Path

from . import loader
from .packages import Unavailable
from .places import cached, keep
from .shell import run

SUITE = "bookworm"
# Where this machine has its own packages from: Debian's newer place for that, and the older one.
_SOURCES = (Path("/etc/apt/sources.list.d/debian.sources"), Path("/etc/apt/sources.list"))
_SYSTEM = ["linux-image-cloud-amd64", "initramfs-tools", "zstd", "systemd-sysv", "udev", "dbus", "netbase", "procps"]
_CLOUD = ["cloud-init", "cloud-guest-utils", "fdisk", "e2fsprogs", "qemu-guest-agent", "openssh-server", "sudo"]
_NETWORK = ["systemd-resolved", "iproute2", "iputils-ping", "ca-certificates"]
# In dpkg's own words: mmdebstrap's --dpkgopt would have it go through each file of the first packages by itself.
_LEAVE_OUT = (
    'mkdir -p "$1/etc/dpkg/dpkg.cfg.d" && cd "$1/etc/dpkg/dpkg.cfg.d" && '
    'printf "path-exclude=/usr/share/%s/*\\n" doc man locale > lab'
)
_SERVICES = "systemd-networkd ssh qemu-guest-agent serial-getty@ttyS0"
# For cloud-init: a seed is the only place to look, the one locale that is there, and one host key, for they take long
# to make under emulation.
_CLOUD_CONFIG = "datasource_list: [NoCloud, None]\nlocale: C.UTF-8\nssh_genkeytypes: [ed25519]\n"
# What must be each guest's own is made at its first boot, which nothing shall delay that is due daily, and no wait for
# an IPv6 router, of which a lab's networks have none.
_HOOKS = [
    'echo "LABEL=root / ext4 defaults,discard 0 1" > "$1/etc/fstab"',
    'rm -f "$1"/etc/ssh/ssh_host_*; : > "$1/etc/machine-id"; : > "$1/etc/hostname"',
    f'printf "{_CLOUD_CONFIG}" > "$1/etc/cloud/cloud.cfg.d/99_lab.cfg"',
    'mkdir "$1/etc/systemd/network/10-cloud-init-eth0.network.d"',
    'printf "[Network]\nIPv6AcceptRA=no\n" > "$1/etc/systemd/network/10-cloud-init-eth0.network.d/lab.conf"',
    f'chroot "$1" systemctl enable --quiet {_SERVICES}',
    'chroot "$1" systemctl mask --quiet apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer',
]
# In the initramfs only what finds the lab's disk: made in a moment, read and gone through in another.
_INITRAMFS = [
    'mkdir -p "$1/etc/initramfs-tools/conf.d" "$1/usr/share/initramfs-tools/modules.d"',
    'printf "MODULES=list\nCOMPRESSLEVEL=1\n" > "$1/etc/initramfs-tools/conf.d/lab"',
    'printf "virtio_pci\nvirtio_blk\next4\n" > "$1/usr/share/initramfs-tools/modules.d/lab"',
]
_COMMAND_LINE = "root=LABEL=root ro console=tty0 console=ttyS0,115200 net.ifnames=0 mitigations=off"
_SIZE_MB = 1536
_BUILD_S = 1800


def debian() -> Path:
    """The image, a qcow2 of 1.5 GiB, built unless the cache has it. Raises CommandFailed."""
    image = cached("debian-12", ".qcow2", *loader.SOURCES, Path(__file__))
    if not image.exists():
        with tempfile.TemporaryDirectory(prefix="debian-", dir=image.parent) as name:
            _build(Path(name), image)
    return image


def _build(folder: Path, image: Path) -> None:
    root, filled, built = folder / "root", folder / "ext4", folder / image.name
    _install(root)
    [kernel], [initramfs] = root.glob("boot/vmlinuz-*"), root.glob("boot/initrd.img-*")
    run("mke2fs", "-q", "-t", "ext4", "-L", "root", "-d", root, filled, f"{_SIZE_MB}M", timeout_s=_BUILD_S)
    loader.bootable(built, loader.Linux(kernel, initramfs, _COMMAND_LINE), filled)
    keep(built, image)


def _install(root: Path) -> None:
    options = [
        "--variant=minbase",
        "--mode=root",
        '--aptopt=Apt::Install-Recommends "false"',
        f"--include={','.join([*_SYSTEM, *_CLOUD, *_NETWORK])}",
        f"--setup-hook={_LEAVE_OUT}",
        *(f"--essential-hook={hook}" for hook in _INITRAMFS),
        *(f"--customize-hook={hook}" for hook in _HOOKS),
    ]
    sources = next((path for path in _SOURCES if path.exists()), None)
    if sources is None:
        raise Unavailable("This machine does not say where it has Debian's packages from.")
    # What it mounts is gone with it, even if it is killed.
    run("unshare", "--mount", "mmdebstrap", *options, SUITE, root, sources, timeout_s=_BUILD_S)
