"""The tiny guest: Debian's cloud kernel and busybox, as a disk that a BIOS boots and that believes a NoCloud seed.

It is virtio only, as the kernel is. What it does is in tiny/init; at port 80 it tells what it took from its seed.
"""

import os
import tempfile
from pathlib import Path

from . import cpio, loader, packages
from .places import cached, keep
from .shell import run

KERNEL_PACKAGE = "linux-image-cloud-amd64"
_ROOT = Path(__file__).with_name("tiny")
_DRIVERS = ["virtio_pci", "virtio_net", "virtio_blk", "virtio_scsi", "virtio_balloon", "virtio_rng"]
_MODULES = [*_DRIVERS, "sr_mod", "isofs", "button", "evdev"]
_COMMAND_LINE = "console=tty0 console=ttyS0,115200 quiet net.ifnames=0 mitigations=off nokaslr no_timer_check"
_STATE_BYTES = 1024**2


def tiny() -> Path:
    """The image, a qcow2, built unless the cache has it. Raises CommandFailed."""
    sources = [path for path in sorted(_ROOT.rglob("*")) if path.is_file()]
    image = cached("tiny", ".qcow2", *loader.SOURCES, Path(cpio.__file__), Path(__file__), *sources)
    if not image.exists():
        with tempfile.TemporaryDirectory(prefix="tiny-", dir=image.parent) as name:
            _build(Path(name), image)
    return image


def _build(folder: Path, image: Path) -> None:
    debian = folder / "debian"
    for package in [*packages.depends_on(KERNEL_PACKAGE), "busybox-static"]:
        packages.unpack(package, debian)
    (folder / "initramfs").write_bytes(_initramfs(debian))
    (folder / "state").write_bytes(bytes(_STATE_BYTES))
    [kernel] = debian.glob("boot/vmlinuz-*")
    built = folder / image.name
    loader.bootable(built, loader.Linux(kernel, folder / "initramfs", _COMMAND_LINE), folder / "state")
    keep(built, image)


def _initramfs(debian: Path) -> bytes:
    archive = cpio.Archive()
    for name in ("dev", "proc", "sys", "bin", "modules"):
        archive.folder(name)
    archive.console()
    archive.file("bin/busybox", (debian / "bin/busybox").read_bytes())
    archive.link("bin/sh", "busybox")
    modules = _modules(debian)
    for path in modules:
        archive.file(f"modules/{path.name}", path.read_bytes())
    archive.file("modules/order", "".join(f"{path.name}\n" for path in modules).encode())
    for path in sorted(_ROOT.rglob("*")):
        name = str(path.relative_to(_ROOT))
        if path.is_file():
            archive.file(name, path.read_bytes())
        elif name != "bin":
            archive.folder(name)
    return archive.written()


def _modules(debian: Path) -> list[Path]:
    """Each module after those that it needs."""
    [version] = os.listdir(debian / "lib/modules")
    run("depmod", "--basedir", debian, version)
    order: dict[Path, None] = {}
    for name in _MODULES:
        said = run("modprobe", "--dirname", debian, "--set-version", version, "--show-depends", name)
        order.update({Path(line.split()[1]): None for line in said.splitlines() if line.startswith("insmod")})
    return list(order)
