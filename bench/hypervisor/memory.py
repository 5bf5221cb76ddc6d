"""What memory a process has, as Linux says: https://man7.org/linux/man-pages/man5/proc_pid_smaps.5.html"""

import re
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Memory:
    """In MB: resident now, at most so far, and its share of what it has together with others."""

    resident_mb: float
    peak_mb: float
    share_mb: float

    @classmethod
    def of(cls, pid: int | str = "self") -> "Memory":
        process = Path(f"/proc/{pid}")
        shares = _kilobytes(process / "smaps_rollup")
        return cls(shares["Rss"] / 1024, _kilobytes(process / "status")["VmHWM"] / 1024, shares["Pss"] / 1024)


def _kilobytes(file: Path) -> dict[str, int]:
    return {name: int(number) for name, number in re.findall(r"^(\w+):\s+(\d+) kB$", file.read_text(), re.MULTILINE)}
