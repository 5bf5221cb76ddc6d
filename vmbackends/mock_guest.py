"""What a mock guest says of itself: the lines of a boot, and one now and then as long as it runs."""

import hashlib
from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import islice

from vmbackends.base import LogLine, VmSpec
from vmbackends.mock_metrics import gpu_name

_EVERY = timedelta(minutes=11)
_FIRST = timedelta(minutes=1)

_LINUX = (
    ("info", "Started Daily apt download activities"),
    ("info", "systemd-logind: New session of user {user}"),
    ("info", "Rotated system logs"),
    ("info", "Time synchronized with the configured servers"),
    ("debug", "DHCP lease of eth0 checked"),
    ("warning", "High load average for the last 5 minutes"),
    ("info", "cron: Hourly jobs finished"),
)
_WINDOWS = (
    ("info", "Windows Update: no new updates"),
    ("info", "Session of {user} opened"),
    ("info", "Windows Time: synchronized with the configured servers"),
    ("debug", "Task Scheduler: maintenance task finished"),
    ("warning", "High processor time for the last 5 minutes"),
)


def lines(vm: VmSpec, address: str, now: datetime, since: datetime | None, limit: int) -> list[LogLine]:
    """The newest `limit` lines from `since` to `now`, oldest first."""
    until_now = (line for line in _newest_first(vm, address, now) if line.timestamp <= now)
    newest = []
    for line in islice(until_now, max(0, limit)):
        if since is not None and line.timestamp < since:
            break
        newest.append(line)
    newest.reverse()
    return newest


def _newest_first(vm: VmSpec, address: str, now: datetime) -> Iterator[LogLine]:
    """Each later line has a slot of its own, so that the newest are found without making those before them."""
    begin = vm.power.since + _FIRST
    for slot in range((now - begin) // _EVERY, -1, -1):
        digest = hashlib.blake2b(f"{vm.id}:{slot}".encode(), digest_size=4).digest()
        number = int.from_bytes(digest, "big")
        said = _WINDOWS if _is_windows(vm) else _LINUX
        level, message = said[number % len(said)]
        at = begin + slot * _EVERY + timedelta(seconds=number // 16 % int(_EVERY.total_seconds()))
        yield LogLine(at, level, message.format(user=_user(vm)))
    yield from reversed(_boot(vm, address))


def _boot(vm: VmSpec, address: str) -> list[LogLine]:
    windows = _is_windows(vm)
    said: list[tuple[float, str]] = [
        (2, f"Booting {vm.os_image} on {vm.vcpus} vCPUs with {vm.ram_mb} MB of memory"),
        (10, f"Network interface {'Ethernet' if windows else 'eth0'} configured with IP {address}"),
        *((12 + 0.1 * number, f"NVIDIA driver found {gpu_name(gpu)}") for number, gpu in enumerate(vm.gpus)),
        (15, "Cloud-init completed"),
        (20, "RDP service ready" if windows else "SSH service ready"),
    ]
    return [LogLine(vm.power.since + timedelta(seconds=after), "info", message) for after, message in said]


def _is_windows(vm: VmSpec) -> bool:
    return vm.os_image.startswith("windows")


def _user(vm: VmSpec) -> str:
    named = vm.cloud_init.username if vm.cloud_init else None
    return named or ("Administrator" if _is_windows(vm) else "ubuntu")
