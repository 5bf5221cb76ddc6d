"""Calls of functions inside a process of a site, one after another."""

import sys
import traceback
from collections.abc import Callable
from multiprocessing.connection import Client, Connection, Listener
from pathlib import Path
from typing import Any

from tests.processes.sites import Site, wait_for


class Inside:
    """`inside(function, *arguments)` gives what the function gives there, on the site's database and settings."""

    def __init__(self, site: Site) -> None:
        self._site = site
        address = site.directory / "inside"
        process = site.start("-m", "tests.processes.inside", str(address))

        def reach() -> Connection | None:
            assert process.poll() is None, site.output()
            try:
                return Client(str(address))
            except (FileNotFoundError, ConnectionRefusedError):  # there, but nobody listens yet
                return None

        self._peer: Connection = wait_for(reach, 60, "the process inside of the site")

    def __call__(self, function: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
        self._peer.send((function, arguments, named))
        failure, answer = self._peer.recv()
        assert failure is None, failure
        return answer

    def until(self, function: Callable[..., Any], *arguments: Any, gives: Any, within_s: float = 60.0) -> None:
        last: list[Any] = []

        def came() -> bool:
            last[:] = [self(function, *arguments)]
            return bool(last[0] == gives)

        try:
            wait_for(came, within_s, f"{function.__name__} = {gives!r}")
        except AssertionError as e:
            raise AssertionError(f"{e}, but {last}\n{self._site.output()[-6000:]}") from e


def serve(address: Path) -> None:
    import django

    django.setup()
    with Listener(str(address)) as listener, listener.accept() as peer:
        while True:
            try:
                function, arguments, named = peer.recv()
            except EOFError:
                return
            try:
                peer.send((None, function(*arguments, **named)))
            except Exception:  # noqa: BLE001 - it is told where it was called from
                peer.send((traceback.format_exc(), None))


if __name__ == "__main__":
    serve(Path(sys.argv[1]))
