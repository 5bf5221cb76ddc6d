"""Object ids: 24 lower-case hex digits, the same on every database engine.

The layout is MongoDB's ObjectId: 4 bytes of seconds, 5 random bytes of the process, a 3-byte counter.
Source: https://www.mongodb.com/docs/manual/reference/bson-types/#objectid
"""

import itertools
import os
import re
import secrets
import time

_PATTERN = re.compile(r"[0-9a-f]{24}")
_counter = itertools.count(secrets.randbelow(1 << 24))
_process: tuple[int, bytes] = (0, b"")


def new_object_id() -> str:
    """A new id. Ids made in one process sort by their time of creation, to the second."""
    global _process
    if _process[0] != os.getpid():  # a forked worker must not share its parent's random part
        _process = (os.getpid(), secrets.token_bytes(5))
    count = next(_counter) & 0xFFFFFF
    return (int(time.time()).to_bytes(4, "big") + _process[1] + count.to_bytes(3, "big")).hex()


def is_object_id(value: object) -> bool:
    return isinstance(value, str) and _PATTERN.fullmatch(value) is not None


def strip_prefix(public_id: str, prefix: str) -> str | None:
    """The object id inside a public id such as `task-675b...`, or None if it is not one."""
    head, dash, tail = public_id.partition("-")
    return tail if dash and head == prefix and is_object_id(tail) else None
