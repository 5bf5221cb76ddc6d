"""What a guest writes to its serial console: a file on its node that libvirt appends to.

Before each start a line is put there, so that one boot can be told from the one before, and its lines from one another
in time: the kernel stamps its own with seconds since its start, and those without a stamp are as old as the one before.
What was read may hold no such line, of a guest that has written much since or whose file virtlogd has begun anew; all
of it is of the last start then.
"""

import re
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta

from vmbackends.base import ConsoleTail, LogLine
from vmbackends.libvirt.handles import Connection, Pool
from vmbackends.libvirt.volumes import append, download, ensure_raw, find, is_file, remove, size

# A console that has grown so long is begun anew at the next start.
LONGEST_BYTES = 4 * 1024 * 1024
_READ_BYTES = 256 * 1024

# A guest's stamps count no longer, and no moment is taken that some computation could not bear.
_LONGEST_UPTIME = timedelta(days=36_500)
_FIRST_YEAR, _LAST_YEAR = 2000, 2200

_START = re.compile(rb"^=== AIWM: power on at (\S{10,40}) ===\r?$", re.MULTILINE)
_STAMP = re.compile(r"^\[\s*([0-9]{1,9}\.[0-9]{1,9})\]")
# What a terminal is told and a reader of a log is not: https://www.ecma-international.org/publications-and-standards/standards/ecma-48/
_ESCAPE = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\-_])")
# cloud-init's last word: https://docs.cloud-init.io/en/latest/reference/modules.html#final-message
_CLOUD_INIT_DONE = re.compile(rb"Cloud-init v\. .{0,200} finished at ")


def begin(connection: Connection, pool: Pool, name: str, now: datetime) -> None:
    """Say that the power goes on now."""
    volume = find(pool, name)
    if volume is not None and size(volume) > LONGEST_BYTES:
        remove(pool, name)
    line = f"\n=== AIWM: power on at {now.astimezone(UTC).isoformat()} ===\n"
    append(connection, ensure_raw(pool, name), line.encode())


def has_older_parts(pool: Pool, name: str) -> bool:
    """Whether virtlogd has begun it anew and kept what there was, which libvirt sees when it looks into the pool."""
    return is_file(pool, f"{name}.0")


def has_finished(connection: Connection, pool: Pool, name: str) -> bool:
    """Whether cloud-init has said its last word since the last start, however much was written before and after it."""
    volume = find(pool, name)
    if volume is None:
        return False
    length = size(volume)
    for most in (_READ_BYTES, LONGEST_BYTES):
        content = download(connection, volume, max(0, length - most), most)
        starts = list(_START.finditer(content))
        if is_done(content[starts[-1].end() :] if starts else content):
            return True
        if starts or length <= most:
            break
    return False


def is_done(boot: bytes) -> bool:
    """Whether cloud-init has said its last word in what one boot wrote."""
    return _CLOUD_INIT_DONE.search(boot) is not None


def read_lines(
    connection: Connection, pool: Pool, name: str, began: datetime, since: datetime | None, limit: int
) -> Sequence[LogLine]:
    """The newest lines since then, oldest first. `began` is as in `read_tail`."""
    tail = read_tail(connection, pool, name, began, None, limit)
    return [line for line in tail.lines if since is None or line.timestamp >= since] if tail else []


def read_tail(
    connection: Connection, pool: Pool, name: str, began: datetime, known_bytes: int | None, most_lines: int
) -> ConsoleTail | None:
    """None where it is not there, or as long as it was known to be. `began` is when the guest was started, for what
    does not say so itself."""
    volume = find(pool, name)
    if volume is None:
        return None
    length = size(volume)
    if length == known_bytes:
        return None
    offset = max(0, length - _READ_BYTES)
    content = download(connection, volume, offset, _READ_BYTES)
    lines = list(parse(content))
    dated = bool(lines)
    if not dated:
        whole_lines = content.partition(b"\n")[2] if offset else content
        lines = list(_lines_of_boot(whole_lines, began))
    return ConsoleTail(length, tuple(lines[-most_lines:] if most_lines else ()), dated)


def parse(content: bytes) -> Iterator[LogLine]:
    """Lines with their times. Those before any start, of which no time is known, are left out."""
    starts = list(_START.finditer(content))
    if not starts:
        return
    ends = [start.start() for start in starts[1:]] + [len(content)]
    for start, end in zip(starts, ends, strict=True):
        began = _moment(start[1])
        if began is not None:
            yield LogLine(began, "info", "Power on")
            yield from _lines_of_boot(content[start.end() : end], began)


def _lines_of_boot(content: bytes, began: datetime) -> Iterator[LogLine]:
    at = began
    for raw in content.decode(errors="replace").splitlines():
        text = "".join(c for c in _ESCAPE.sub("", raw) if c.isprintable()).strip()
        if not text:
            continue
        stamp = _STAMP.match(text)
        if stamp:
            at = max(at, began + min(timedelta(seconds=float(stamp[1])), _LONGEST_UPTIME))
        yield LogLine(at, "info", text)


def _moment(text: bytes) -> datetime | None:
    """A guest may write what looks like our line: what it says is believed within reason."""
    try:
        moment = datetime.fromisoformat(text.decode())
    except ValueError:
        return None
    return moment if moment.tzinfo and _FIRST_YEAR <= moment.year < _LAST_YEAR else None
