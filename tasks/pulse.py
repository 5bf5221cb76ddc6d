"""What the worker of this process offers to the jobs that it does: a sign of life, and a way to be woken.

Elsewhere, as in tests and in the shell, both do nothing.
"""

from collections.abc import Callable


def _nothing() -> None:
    pass


_beat: Callable[[], None] = _nothing
_wake: Callable[[], None] = _nothing


def be(beat: Callable[[], None], wake: Callable[[], None]) -> None:
    """A worker says that it is the one of this process."""
    global _beat, _wake
    _beat, _wake = beat, wake


def beat() -> None:
    """Say that the worker lives: for jobs that take long, now and then. From the worker's own thread alone."""
    _beat()


def wake() -> None:
    """Have the worker look at once for what is to be done. From any thread."""
    _wake()
