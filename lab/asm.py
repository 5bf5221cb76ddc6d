"""Boot sectors, assembled with binutils."""

import tempfile
from pathlib import Path

from .shell import run

SECTOR = 512


def boot_sector(source: Path) -> bytes:
    """The 512 bytes that this source for as becomes at 0x7c00."""
    with tempfile.TemporaryDirectory(prefix="aiwm-lab-") as name:
        built, binary = Path(name) / "o", Path(name) / "binary"
        run("as", "--32", "-o", built, source)
        run("ld", "-m", "elf_i386", "-Ttext", "0x7c00", "--oformat", "binary", "-o", binary, built)
        sector = binary.read_bytes()
    if len(sector) != SECTOR:
        raise AssertionError(f"{source.name} becomes {len(sector)} bytes.")
    return sector
