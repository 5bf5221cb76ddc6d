"""The disk image of the boot sector (bootsector.S): a guest that is up in a fifth of a second."""

import tempfile
from pathlib import Path

from .shell import run

SIZE_BYTES = 1024**2
_SOURCE = Path(__file__).with_suffix(".S")


def build(image: Path) -> Path:
    """Write it as qcow2 of 1 MiB. Needs as and ld of binutils, and qemu-img."""
    with tempfile.TemporaryDirectory(prefix="aiwm-lab-") as name:
        folder = Path(name)
        raw = folder / "raw"
        run("as", "--32", "-o", folder / "o", _SOURCE)
        run("ld", "-m", "elf_i386", "-Ttext", "0x7c00", "--oformat", "binary", "-o", raw, folder / "o")
        if raw.stat().st_size != 512:
            raise AssertionError("A boot sector is 512 bytes.")
        with raw.open("r+b") as file:
            file.truncate(SIZE_BYTES)
        run("qemu-img", "convert", "-f", "raw", "-O", "qcow2", raw, image)
    return image
