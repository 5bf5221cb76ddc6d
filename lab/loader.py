"""Disks that a BIOS boots: a kernel and its initramfs on bare sectors, and one partition behind them.

No file system, loop device or mount is needed to make them. The loader is loader.S; what it leaves to this module is
https://docs.kernel.org/arch/x86/boot.html
"""

import struct
import tempfile
from dataclasses import dataclass
from pathlib import Path

from .asm import SECTOR, boot_sector
from .shell import run

_SOURCE = Path(__file__).with_suffix(".S")
SOURCES = (_SOURCE, Path(__file__))
_TABLE, _PARTITIONS = 384, 446
_LINUX_PARTITION = 0x83
_ALIGNED = 2048  # sectors: partitions begin at a MiB

# Where things go in memory. The kernel unpacks itself to 16 MiB and on, so that its initramfs is out of the way; guests
# need 256 MiB.
_SETUP, _KERNEL, _INITRAMFS = 0x90000, 0x100000, 0x8000000
_COMMAND_LINE = 0xE000  # from _SETUP, which is also where the setup's heap and stack end


@dataclass(frozen=True)
class Linux:
    kernel: Path
    initramfs: Path
    command_line: str


@dataclass(frozen=True)
class _Load:
    """Bytes on the disk from a sector on, and their address in memory."""

    content: bytes
    sector: int
    address: int = 0

    @property
    def sectors(self) -> int:
        return -(-len(self.content) // SECTOR)

    @property
    def after(self) -> int:
        """The next sector where something may begin."""
        return -(-(self.sector + self.sectors) // _ALIGNED) * _ALIGNED


def bootable(image: Path, linux: Linux, partition: Path) -> None:
    """Write the qcow2 `image`. The first partition, /dev/vda1, will have the content of `partition`."""
    loads = _loads(linux)
    start, size = loads[-1].after, -(-partition.stat().st_size // SECTOR)
    with tempfile.NamedTemporaryFile(prefix="aiwm-lab-", dir=image.parent) as raw:
        raw.write(_first_sector(loads, start, size))
        for load in loads:
            raw.seek(load.sector * SECTOR)
            raw.write(load.content)
        raw.truncate((start + size) * SECTOR)
        raw.flush()
        run("dd", f"if={partition}", f"of={raw.name}", "bs=1M", f"seek={start // _ALIGNED}", "conv=notrunc,sparse",
            timeout_s=600)  # fmt: skip
        run("qemu-img", "convert", "-f", "raw", "-O", "qcow2", raw.name, image, timeout_s=600)


def _loads(linux: Linux) -> list[_Load]:
    kernel, initramfs = linux.kernel.read_bytes(), linux.initramfs.read_bytes()
    length = (kernel[0x1F1] + 1) * SECTOR
    first = _Load(_setup(kernel[:length], len(initramfs), linux.command_line), _ALIGNED, _SETUP)
    second = _Load(kernel[length:], first.after, _KERNEL)
    return [first, second, _Load(initramfs, second.after, _INITRAMFS)]


def _setup(setup: bytes, initramfs_bytes: int, command_line: str) -> bytes:
    """The kernel's part for real mode, its header filled in, and the command line behind it."""
    if setup[0x202:0x206] != b"HdrS" or len(setup) > _COMMAND_LINE:
        raise ValueError("This is not a kernel for x86.")
    filled = bytearray(setup.ljust(_COMMAND_LINE, b"\0") + command_line.encode() + b"\0")
    filled[0x210] = 0xFF  # a loader without a number of its own
    filled[0x211] |= 0x80  # which says where the heap ends
    struct.pack_into("<II", filled, 0x218, _INITRAMFS, initramfs_bytes)
    struct.pack_into("<H", filled, 0x224, _COMMAND_LINE - 0x200)
    struct.pack_into("<I", filled, 0x228, _SETUP + _COMMAND_LINE)
    return bytes(filled)


def _first_sector(loads: list[_Load], partition: int, sectors: int) -> bytes:
    sector = bytearray(boot_sector(_SOURCE))
    for number, load in enumerate(loads):
        struct.pack_into("<III", sector, _TABLE + 12 * number, load.sector, load.sectors, load.address)
    # Status, first and last sector as cylinder, head and so on (which nobody reads), type, start, length.
    struct.pack_into("<B3xB3xII", sector, _PARTITIONS, 0x80, _LINUX_PARTITION, partition, sectors)
    return bytes(sector)
