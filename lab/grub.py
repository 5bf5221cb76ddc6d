"""Disks that a BIOS boots: GRUB, a kernel and its initramfs on bare sectors, and one partition behind them.

GRUB reads files as lists of sectors, so that no file system, loop device or mount is needed.
https://www.gnu.org/software/grub/manual/grub/grub.html#Block-list-syntax
"""

import struct
import tempfile
from dataclasses import dataclass
from pathlib import Path

from .shell import run

_MODULES = Path("/usr/lib/grub/i386-pc")
_SECTOR = 512
_ALIGNED = 2048  # sectors: partitions begin at a MiB
_LINUX = 0x83
# Of boot.img, by GRUB's include/grub/i386/pc/boot.h: where it keeps the sector of the rest, and jumps past a check of
# the drive's number, which only broken BIOSes need.
_KERNEL_SECTOR, _DRIVE_CHECK = 0x5C, 0x66
_NO_OPERATION = b"\x90\x90"
# The last entry of the list of sectors in the first of core.img, and the segment to which they are loaded.
_LIST, _SEGMENT = 500, 0x820


@dataclass(frozen=True)
class Linux:
    kernel: Path
    initramfs: Path
    command_line: str


def bootable(image: Path, linux: Linux, partition: Path) -> None:
    """Write the qcow2 `image`. /dev/vda1 will have the content of `partition`, whose size is whole sectors."""
    with tempfile.TemporaryDirectory(prefix="aiwm-lab-", dir=image.parent) as name:
        raw = Path(name) / "raw"
        with raw.open("w+b") as disk:
            kernel = _Extent.after(_ALIGNED, linux.kernel)
            initramfs = _Extent.after(kernel.end, linux.initramfs)
            last = _Extent.after(initramfs.end, partition)
            core = _core(Path(name), f"linux {kernel.grub} {linux.command_line}\ninitrd {initramfs.grub}\nboot\n")
            disk.write(_first_sector(last) + core)
            for extent in (kernel, initramfs, last):
                disk.seek(extent.start * _SECTOR)
                with extent.file.open("rb") as file:
                    while piece := file.read(1024**2):
                        disk.write(piece)
            disk.truncate(last.end * _SECTOR)
        run("qemu-img", "convert", "-f", "raw", "-O", "qcow2", raw, image, timeout_s=600)


@dataclass(frozen=True)
class _Extent:
    """A file on the disk, in sectors."""

    file: Path
    start: int
    length: int

    @classmethod
    def after(cls, sector: int, file: Path) -> "_Extent":
        return cls(file, -(-sector // _ALIGNED) * _ALIGNED, -(-file.stat().st_size // _SECTOR))

    @property
    def end(self) -> int:
        return self.start + self.length

    @property
    def grub(self) -> str:
        return f"(hd0){self.start}+{self.length}"


def _core(folder: Path, commands: str) -> bytes:
    """GRUB itself, which will run these commands and knows no others."""
    script, core = folder / "grub.cfg", folder / "core.img"
    script.write_text(commands)
    run("grub-mkimage", "-O", "i386-pc", "-o", core, "-c", script, "-p", "/", "biosdisk", "linux")
    content = bytearray(core.read_bytes())
    sectors = -(-len(content) // _SECTOR)
    if sectors >= _ALIGNED:
        raise AssertionError("GRUB does not fit before the kernel.")
    struct.pack_into("<QHH", content, _LIST, 2, sectors - 1, _SEGMENT)
    return bytes(content)


def _first_sector(partition: _Extent) -> bytes:
    sector = bytearray((_MODULES / "boot.img").read_bytes())
    struct.pack_into("<Q", sector, _KERNEL_SECTOR, 1)
    sector[_DRIVE_CHECK : _DRIVE_CHECK + 2] = _NO_OPERATION
    # Status, first and last sector in cylinders, heads and so on (which nobody reads), type, start, length.
    struct.pack_into("<B3sB3sII", sector, 446, 0x80, b"\0\0\0", _LINUX, b"\0\0\0", partition.start, partition.length)
    sector[510:512] = b"\x55\xaa"
    return bytes(sector)
