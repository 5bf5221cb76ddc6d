"""Calls to a node that may take longer than a worker may wait in one step of a task.

Such a call goes on in a thread when the step that began it has ended. What it came to is never taken from here, but
from the node: libvirtd ends what it has begun, whether or not the worker lives that asked for it, and the next step may
be another worker's. The thread only knows what libvirtd said if it failed, and that nobody need begin anew.
"""

import threading
import time
import traceback
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from dataclasses import dataclass, field

from vmbackends.base import NodeRef, VmSpec
from vmbackends.errors import Busy, NodeUnreachable, NotAsked
from vmbackends.libvirt import domains, threads
from vmbackends.libvirt.connections import Connections
from vmbackends.libvirt.handles import Domain

# Within this most calls are done, and then their step is, too. Well below a step's deadline with what precedes it.
_WAITS_S = 10.0
# libvirt lets a call wait for 30 s until it is done with another of the domain, and then refuses it.
_WAITS_FOR_ITS_TURN_S = 22.0
# A thread that slept longer before its call does not make it: another worker may have the task by now.
_FRESH_S = 10.0
# Each has one of libvirtd's threads, of which there are 20 for all workers, and a connection of its own: see there.
# What copies memory and disks takes no turn from what starts guests.
MOST_OF_A_NODE = 2
MOST_STARTS_OF_A_NODE = 2


@dataclass(frozen=True)
class _Call:
    node_id: str
    identity: Hashable
    starts: bool
    ended: "Future[None]" = field(default_factory=Future)


class LongCalls:
    """One of a VM, as its tasks are; one that hangs may outlive its task. An `identity` tells the calls of one step
    from all others."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections
        self._lock = threading.Lock()
        self._calls: dict[str, _Call] = {}  # the newest, by the VM's id
        self._open: list[_Call] = []  # older ones too, which hang

    def goes_on(self, vm: VmSpec, identity: Hashable) -> bool:
        """Whether this process has made this call, and it has not ended."""
        call = self._calls.get(vm.id)
        return call is not None and call.identity == identity and not call.ended.done()

    def has_ended(self, vm: VmSpec, identity: Hashable) -> bool:
        """Whether this process has made this call, and it has ended: told once. Raises what it failed with."""
        with self._lock:
            call = self._calls.get(vm.id)
            if call is None or call.identity != identity or not call.ended.done():
                return False
            del self._calls[vm.id]
            self._open = [other for other in self._open if other is not call]
        call.ended.result()
        return True

    def see_that_it_may(self, node: NodeRef, *, starts: bool) -> None:
        """Raises Busy where too many calls to the node go on already."""
        others = [call for call in tuple(self._open) if (call.node_id, call.starts) == (node.id, starts)]
        if sum(not call.ended.done() for call in others) >= (MOST_STARTS_OF_A_NODE if starts else MOST_OF_A_NODE):
            raise Busy(f"Node {node.name} is busy with others.")

    def begin(
        self, node: NodeRef, what: str, vm: VmSpec, identity: Hashable, do: Callable[[Domain], object], *,
        starts: bool = False,
    ) -> bool:  # fmt: skip
        """Make the call and wait for its end for some time: whether it has ended. Raises what it fails with until then,
        and Busy where it is not made. `do` is given the domain, makes one call that changes anything, and no other
        before it.
        """
        call = _Call(node.id, identity, starts)
        with self._lock:
            self.see_that_it_may(node, starts=starts)
            self._calls[vm.id] = call
            self._open = [other for other in self._open if not other.ended.done()] + [call]
        try:
            threads.begin(node, f"libvirt: {what}", self._make, call, node, what, vm, do, time.monotonic())
        except NotAsked as e:
            call.ended.set_exception(e)
        return self._wait(call, vm, _WAITS_S)

    def wait_for_its_turn(self, vm: VmSpec, identity: Hashable) -> bool:
        """After `begin`, where nothing on the node tells of the call yet: wait while libvirt may yet refuse it.

        Whether it has ended meanwhile. Raises what it failed with.
        """
        call = self._calls.get(vm.id)
        return call is not None and call.identity == identity and self._wait(call, vm, _WAITS_FOR_ITS_TURN_S)

    def _wait(self, call: _Call, vm: VmSpec, seconds: float) -> bool:
        try:
            call.ended.exception(seconds)
        except TimeoutError:
            return False
        return self.has_ended(vm, call.identity)

    def _make(
        self, call: _Call, node: NodeRef, what: str, vm: VmSpec, do: Callable[[Domain], object], asked: float
    ) -> None:
        try:
            self._ask(node, what, vm, do, asked)
        except Exception as e:  # noqa: BLE001  # raised again where it is asked for
            _let_go_of_frames(e)
            call.ended.set_exception(e)
        else:
            call.ended.set_result(None)

    def _ask(self, node: NodeRef, what: str, vm: VmSpec, do: Callable[[Domain], object], asked: float) -> None:
        with self._connections.at(node, what, vm) as connection:
            domain = domains.require(connection, vm)
            if time.monotonic() - asked > _FRESH_S:
                raise NodeUnreachable(f"Node {node.name} was asked too late to {what}.", busy=True)
            do(domain)


def _let_go_of_frames(error: BaseException | None) -> None:
    """It may be kept for long, and the connections and domains that its traceback refers to would be, too."""
    while error is not None:
        traceback.clear_frames(error.__traceback__)
        error = error.__cause__ or error.__context__
