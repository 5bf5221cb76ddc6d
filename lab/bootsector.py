"""The disk image of the boot sector (bootsector.S): a guest that is up in a fifth of a second."""

import tempfile
from pathlib import Path

from .asm import boot_sector
from .shell import run

SIZE_BYTES = 1024**2
_SOURCE = Path(__file__).with_suffix(".S")


def build(image: Path) -> Path:
    """Write it as qcow2 of 1 MiB. Needs binutils and qemu-img."""
    with tempfile.NamedTemporaryFile(prefix="aiwm-lab-") as raw:
        raw.write(boot_sector(_SOURCE))
        raw.truncate(SIZE_BYTES)
        run("qemu-img", "convert", "-f", "raw", "-O", "qcow2", raw.name, image)
    return image
