"""What `VM_BACKEND_OPTIONS` may say to the libvirt backend."""

from collections.abc import Mapping
from dataclasses import dataclass, fields


@dataclass(frozen=True)
class Options:
    """All of them optional:

    `connect_s`: within how many seconds a node must have answered an attempt to connect.
    `keepalive_s`, `keepalive_count`: after how many seconds of silence a node is asked whether it is there, and how
    often. A call to a node that died ends `keepalive_s * (keepalive_count + 1)` seconds after its last word.
    `first_backoff_s`, `longest_backoff_s`: for how many seconds a node that could not be reached is left alone, at
    first and at most; the time doubles with each failure.
    """

    connect_s: float = 5.0
    keepalive_s: int = 5
    keepalive_count: int = 3
    first_backoff_s: float = 1.0
    longest_backoff_s: float = 60.0

    def __post_init__(self) -> None:
        _check_seconds("connect_s", self.connect_s, 0.1, 300)
        # Not 0: without keepalive a call to a node that died would never end.
        _check_whole("keepalive_s", self.keepalive_s, 1, 300)
        _check_whole("keepalive_count", self.keepalive_count, 1, 100)
        _check_seconds("first_backoff_s", self.first_backoff_s, 0, 3600)
        _check_seconds("longest_backoff_s", self.longest_backoff_s, 0, 3600)
        if self.first_backoff_s > self.longest_backoff_s:
            raise ValueError(
                f"first_backoff_s is {self.first_backoff_s:g}; it may be no more than longest_backoff_s, "
                f"which is {self.longest_backoff_s:g}"
            )

    @classmethod
    def of(cls, options: Mapping[str, object]) -> "Options":
        """Raises ValueError for an option that it does not know, or that has a value it does not take."""
        unknown = sorted(set(options) - {field.name for field in fields(cls)})
        if unknown:
            raise ValueError(f"LibvirtBackend knows no option {', '.join(unknown)}")
        return cls(**options)  # type: ignore[arg-type]  # each value is checked as the object is made


def _check_seconds(option: str, value: object, least: float, most: float) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= most:
        raise ValueError(f"{option} is {value!r}; it takes seconds, from {least:g} to {most:g}")


def _check_whole(option: str, value: object, least: int, most: int) -> None:
    # libvirt takes whole numbers: https://libvirt.org/html/libvirt-libvirt-host.html#virConnectSetKeepAlive
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise ValueError(f"{option} is {value!r}; it takes a whole number, from {least} to {most}")
