"""The files of OS images: looked at by qemu-img, and copied or converted to where operators keep them.

A file may come from anywhere. Its format is stated and never guessed, and one that would have qemu open another file
beside it is refused, because a guest could then read what is in that. https://www.qemu.org/docs/master/tools/qemu-img.html
"""

import hashlib
import json
import shutil
import subprocess
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from django.conf import settings

from common.errors import Unsupported

FORMATS = ("qcow2", "raw")
Progress = Callable[[int], None]  # told how many bytes have been read in all

_CHUNK = 4 * 1024 * 1024
_LOOK_S = 60.0  # a look at a header; what takes longer hangs
_WORK_S = 3600.0
_PART = ".part"
_LONGEST_S = 3 * _WORK_S  # nobody is at a file that was not written to for so long
_SECTOR = 512
_MAGIC = b"QFI\xfb"
# Of the header's incompatible features: https://www.qemu.org/docs/master/interop/qcow2.html
_DATA_FILE = 1 << 2


@dataclass(frozen=True)
class ImageFile:
    """A qcow2 file in the folder of images, under a name that is not yet an image's."""

    path: Path
    sha256: str
    size_bytes: int
    virtual_bytes: int


def path_of(volume: str) -> Path:
    return Path(settings.IMAGES_DIR) / volume


@contextmanager
def taken_in(source: Path, file_format: str, sha256: str | None, progress: Progress) -> Iterator[ImageFile]:
    """This file as one of our own, which is gone at the end unless it was renamed. `sha256` is what the source's must
    be. What another left that was killed is removed. Raises Unsupported, with what would help."""
    own = path_of(f".{uuid.uuid4().hex}{_PART}")
    try:
        _refuse_format(source, file_format)
        own.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
        _remove_what_is_left(own.parent)
        try:
            yield _taken(source, own, file_format, sha256, progress)
        finally:
            own.unlink(missing_ok=True)
    except OSError as e:
        raise Unsupported(f"{e.filename or source}: {e.strerror or e}.") from e


def _remove_what_is_left(folder: Path) -> None:
    for part in folder.glob(f".*{_PART}"):
        with suppress(FileNotFoundError):
            if time.time() - part.stat().st_mtime > _LONGEST_S:
                part.unlink()


def _taken(source: Path, own: Path, file_format: str, sha256: str | None, progress: Progress) -> ImageFile:
    digest = _copy(source, own, progress) if file_format == "qcow2" else _convert(source, own, sha256, progress)
    if sha256 is not None and digest != sha256.lower():
        raise Unsupported(f"{source.name} is not the file that was meant: its SHA-256 is {digest}.")
    virtual_bytes = _looked_at(own, source.name)
    return ImageFile(own, digest if file_format == "qcow2" else _digest(own), own.stat().st_size, virtual_bytes)


def is_whole(path: Path, size_bytes: int) -> bool:
    """Whether a kept file is there as it was kept. Raises Unsupported where it cannot be read."""
    try:
        if not path.is_file() or path.stat().st_size != size_bytes:
            return False
        path.open("rb").close()
    except OSError as e:
        raise Unsupported(f"{path} cannot be read: {e.strerror}. Say this as the user who imported it.") from e
    return True


def _refuse_format(source: Path, file_format: str) -> None:
    if not source.is_file():
        raise Unsupported(f"{source} is no file.")
    with source.open("rb") as content:
        is_qcow2 = content.read(4) == _MAGIC
    if file_format == "qcow2" and not is_qcow2:
        raise Unsupported(
            f"{source.name} is no qcow2 file. Say --format raw if it is a raw disk; convert any other with "
            "qemu-img convert -O qcow2, once you trust it."
        )
    if file_format == "raw" and is_qcow2:
        raise Unsupported(f"{source.name} is a qcow2 file. Leave out --format raw.")
    if file_format == "raw" and source.stat().st_size % _SECTOR:
        raise Unsupported(f"{source.name} is no raw disk: that has whole sectors, of {_SECTOR} bytes each.")


def _copy(source: Path, own: Path, progress: Progress) -> str:
    """Gives the SHA-256."""
    free = shutil.disk_usage(own.parent).free
    if free < source.stat().st_size:
        raise Unsupported(f"{own.parent} has no room for {source.name}: {free / 1024**3:.1f} GB are free.")
    digest, done = hashlib.sha256(), 0
    with source.open("rb") as content, own.open("xb") as copy:
        while chunk := content.read(_CHUNK):
            copy.write(chunk)
            digest.update(chunk)
            done += len(chunk)
            progress(done)
    return digest.hexdigest()


def _convert(source: Path, own: Path, sha256: str | None, progress: Progress) -> str:
    """Gives the SHA-256 of the source, where somebody asks for it."""
    _qemu_img(
        _WORK_S, "convert", "-f", "raw", "-O", "qcow2", str(source.absolute()), str(own),
        called={str(own): f"the copy of {source.name}"},
    )  # fmt: skip
    progress(source.stat().st_size)
    return "" if sha256 is None else _digest(source)


def _looked_at(own: Path, name: str) -> int:
    """Refuse what must not be cloned or is damaged; gives the size of the disk in it. `name` is what it is called."""
    with own.open("rb") as content:
        header = content.read(80)
    if int.from_bytes(header[4:8], "big") >= 3 and int.from_bytes(header[72:80], "big") & _DATA_FILE:
        raise Unsupported(f"{name} keeps its data in another file. Convert it with qemu-img convert -O qcow2.")
    looked = _qemu_img(_LOOK_S, "info", "-f", "qcow2", "--output=json", str(own), called={str(own): name})
    info = json.loads(looked)
    if info.get("backing-filename") is not None:
        raise Unsupported(
            f"{name} is the difference to another file, {info['backing-filename']!r}. Make it whole with "
            "qemu-img convert -O qcow2."
        )
    if info.get("encrypted"):
        raise Unsupported(f"{name} is encrypted, and nobody could give nodes its key.")
    virtual_bytes = int(info["virtual-size"])
    if not virtual_bytes:
        raise Unsupported(f"{name} is empty.")
    found = _qemu_img(
        _WORK_S, "check", "-f", "qcow2", "--output=json", str(own), may_end_with=(0, 2, 3), called={str(own): name}
    )  # fmt: skip
    if _faults(json.loads(found)):
        raise Unsupported(f"{name} is damaged or cut short. Get it again, and give its checksum with --sha256.")
    return virtual_bytes


def _faults(report: dict[str, Any]) -> int:
    """Leaked clusters are none: they waste room."""
    return int(report.get("corruptions", 0)) + int(report.get("check-errors", 0))


def _qemu_img(
    timeout_s: float, *arguments: str, may_end_with: tuple[int, ...] = (0,), called: Mapping[str, str] | None = None
) -> str:
    """What it printed. An absolute path is never taken for a protocol's name. `called` is what paths are for those who
    read what went wrong."""
    program = shutil.which("qemu-img")
    if program is None:
        raise Unsupported("qemu-img is not installed here. On Debian: apt-get install qemu-utils.")
    try:
        done = subprocess.run(  # noqa: S603  # no shell; the paths among the arguments are absolute
            [program, *arguments], capture_output=True, text=True, errors="replace", timeout=timeout_s, check=False,
            stdin=subprocess.DEVNULL,
        )  # fmt: skip
    except subprocess.TimeoutExpired as e:
        raise Unsupported(f"qemu-img {arguments[0]} did not end within {timeout_s:g} s.") from e
    if done.returncode not in may_end_with:
        said = done.stderr.strip() or f"ended with {done.returncode}"
        for path, name in (called or {}).items():
            said = said.replace(path, name)
        raise Unsupported(f"qemu-img {arguments[0]}: {said[:300]}")
    return done.stdout


def _digest(path: Path) -> str:
    with path.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()
