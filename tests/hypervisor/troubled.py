"""The libvirt backend in a worker that dies or falls asleep by itself at a point that a test has chosen.

A point is a call of libvirt's in a method of the backend for a VM, and comes to pass once, whichever worker it is that
gets there. Reads change nothing, so that the points between two calls that change something are all there are.
"""

import json
import os
import signal
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import libvirt

from vmbackends.base import Backend, NodeRef, VmSpec
from vmbackends.libvirt import LibvirtBackend

# Long enough for libvirtd to have begun with a call, and for QEMU not to be there yet.
_IN_THE_MIDDLE_S = 0.03
_METHODS = {name for name, value in vars(Backend).items() if callable(value) and not name.startswith("_")}


@dataclass(frozen=True)
class Point:
    """`when` is "before", "during" or "after" the call, `deed` "KILL" or "STOP"."""

    vm: str
    method: str
    call: str
    when: str = "after"
    deed: str = "KILL"


def write(file: Path, points: Sequence[Point]) -> None:
    file.with_suffix(".new").write_text(json.dumps([asdict(point) for point in points]))
    file.with_suffix(".new").rename(file)


def come_to_pass(file: Path) -> int:
    return len(list(file.parent.glob(f"{file.name}.*.done")))


class TroubledBackend(LibvirtBackend):
    def __init__(self, points: str, **options: Any) -> None:
        super().__init__(**options)
        self._fate = Fate(Path(points))
        libvirt.libvirtmod = _Watched(libvirt.libvirtmod, self._fate)

    def __getattribute__(self, name: str) -> Any:
        value = super().__getattribute__(name)
        if name not in _METHODS:
            return value

        def called(*args: Any, **kwargs: Any) -> Any:
            if len(args) < 2 or not isinstance(args[0], NodeRef) or not isinstance(args[1], VmSpec):
                return value(*args, **kwargs)
            self._fate.at = (args[1].id, name)
            try:
                return value(*args, **kwargs)
            finally:
                self._fate.at = ("", "")

        return called


class Fate:
    """What awaits the worker at the calls of libvirt's that it makes. It does one thing at a time."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self.at = ("", "")

    def meet(self, call: str, when: str) -> bool:
        """Do what is to be done here and now. Gives whether there was anything."""
        if not self.at[0] or not self._file.exists():
            return False
        for number, words in enumerate(json.loads(self._file.read_text())):
            point = Point(**words)
            if (point.vm, point.method, point.call, point.when) == (*self.at, call, when) and self._first(number):
                self._do(point)
                return True
        return False

    def _first(self, number: int) -> bool:
        try:
            os.close(os.open(f"{self._file}.{number}.done", os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            return False
        return True

    def _do(self, point: Point) -> None:
        number = signal.Signals[f"SIG{point.deed}"]
        if point.when == "during":
            threading.Thread(target=_later, args=(number,), daemon=True).start()
        else:
            os.kill(os.getpid(), number)


def _later(number: signal.Signals) -> None:
    time.sleep(_IN_THE_MIDDLE_S)
    os.kill(os.getpid(), number)


class _Watched:
    """libvirt's module in C, each of whose calls may be the last."""

    def __init__(self, module: Any, fate: Fate) -> None:
        self._module = module
        self._fate = fate

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._module, name)
        return self._watched(name, value) if name.startswith("vir") and callable(value) else value

    def _watched(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def called(*args: Any) -> Any:
            self._fate.meet(name, "before")
            dies = self._fate.meet(name, "during")
            answer = function(*args)
            if dies:
                time.sleep(60)  # the call was quicker than its end
            self._fate.meet(name, "after")
            return answer

        return called
