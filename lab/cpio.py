"""Archives for the kernel's initramfs, which need no root and no file system to be made.

https://docs.kernel.org/driver-api/early-userspace/buffer-format.html
"""

import stat
from dataclasses import dataclass, field

_CONSOLE = (5, 1)  # https://docs.kernel.org/admin-guide/devices.html


@dataclass
class Archive:
    """Of the format "newc". A folder must be added before what is in it."""

    _parts: list[bytes] = field(default_factory=list)

    def folder(self, name: str) -> None:
        self._add(name, stat.S_IFDIR | 0o755)

    def file(self, name: str, content: bytes) -> None:
        """Executable: it does no harm."""
        self._add(name, stat.S_IFREG | 0o755, content)

    def link(self, name: str, target: str) -> None:
        self._add(name, stat.S_IFLNK | 0o777, target.encode())

    def console(self) -> None:
        """What init's stdout is, before there is a /dev."""
        self._add("dev/console", stat.S_IFCHR | 0o600, device=_CONSOLE)

    def written(self) -> bytes:
        self._add("TRAILER!!!", 0)
        return b"".join(self._parts)

    def _add(self, name: str, mode: int, content: bytes = b"", device: tuple[int, int] = (0, 0)) -> None:
        path = name.encode() + b"\0"
        inode = len(self._parts) + 1
        # inode, mode, owner, group, links, time, size, device of the file system, device, length of the name, checksum
        numbers = [inode, mode, 0, 0, 1, 0, len(content), 0, 0, *device, len(path), 0]
        header = b"070701" + b"".join(b"%08X" % number for number in numbers)
        self._parts += [_padded(header + path), _padded(content)]


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)
