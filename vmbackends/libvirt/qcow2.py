"""What a qcow2 file says of the snapshots in it, read from its first bytes and their table.

https://www.qemu.org/docs/master/interop/qcow2.html
"""

import struct
from collections.abc import Callable, Iterator, Mapping

Read = Callable[[int, int], bytes]  # offset, length

_MAGIC = b"QFI\xfb"
_HEADER = struct.Struct(">60xIQ")  # nb_snapshots, snapshots_offset
_ENTRY = struct.Struct(">QIHHIIQII")
_LONGEST_TABLE = 1024 * 1024


def snapshot_sizes(read: Read) -> Mapping[str, int]:
    """The bytes of guest memory in each snapshot, by its name. Raises ValueError for what is no qcow2 file."""
    header = read(0, 72)
    if len(header) < 72 or not header.startswith(_MAGIC):
        raise ValueError("not a qcow2 file")
    number, offset = _HEADER.unpack(header)
    if not number:
        return {}
    table = read(offset, min(_LONGEST_TABLE, number * 1024))
    try:
        return dict(_entries(table, number))
    except struct.error as e:
        raise ValueError("the table of snapshots is cut short") from e


def _entries(table: bytes, number: int) -> Iterator[tuple[str, int]]:
    at = 0
    for _ in range(number):
        _, _, id_length, name_length, _, _, _, short_size, extra_length = _ENTRY.unpack_from(table, at)
        at += _ENTRY.size
        size = struct.unpack_from(">Q", table, at)[0] if extra_length >= 8 else short_size
        at += extra_length + id_length
        yield table[at : at + name_length].decode(errors="replace"), size
        at = (at + name_length + 7) // 8 * 8
