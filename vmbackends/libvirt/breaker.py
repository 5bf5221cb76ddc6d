"""Leaving a node alone that could not be reached, for longer each time."""

import threading
import time
from collections.abc import Callable


class Breaker:
    """One node's. Closed while the node answers; open after a failure, for `first_s` seconds and twice as long with
    each further one, `longest_s` at most. When the time is over, one attempt is let through."""

    def __init__(self, first_s: float, longest_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._first_s = first_s
        self._longest_s = longest_s
        self._clock = clock
        self._lock = threading.Lock()
        self._failures = 0
        self._open_until = 0.0

    def admit(self) -> float:
        """0 if the node may be asked now, or the seconds until then. Who is let in says `succeeded` or `failed`."""
        with self._lock:
            if not self._failures:
                return 0.0
            now = self._clock()
            if now < self._open_until:
                return self._open_until - now
            # The others go on to wait, no longer than if this one had failed: it may never say how it went.
            self._open_until = now + self._backoff_s()
            return 0.0

    def succeeded(self) -> None:
        with self._lock:
            self._failures = 0

    def failed(self) -> None:
        with self._lock:
            self._failures += 1
            self._open_until = self._clock() + self._backoff_s()

    def _backoff_s(self) -> float:
        doublings = min(self._failures - 1, 32)  # more would overflow no later than they exceed any limit
        return float(min(self._first_s * 2**doublings, self._longest_s))
