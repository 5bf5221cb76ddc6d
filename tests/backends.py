"""A backend for tests whose node does what the test says."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from django.test import override_settings

from vmbackends import get_backend
from vmbackends.base import DomainState, NodeRef, Observation, Power, VmSpec
from vmbackends.mock import MockBackend


class ScriptedBackend(MockBackend):
    """The mock, with faults. `faults` maps a method's name to what it raises; `states` a VM's id to what is seen.

    `calls` are the methods that were called, in order, with faults or without.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"deploy_s": 0, "stop_s": 0, "restore_s": 0, "down": [], **options})
        self.faults: dict[str, BaseException] = {}
        self.states: dict[str, DomainState] = {}
        self.boot_id: str | None = None
        self.faults_seen: tuple[str, ...] = ()
        self.calls: list[str] = []

    def __getattribute__(self, name: str) -> Any:
        value = super().__getattribute__(name)
        if name.startswith("_") or not callable(value) or name not in MockBackend.__dict__:
            return value

        def called(*args: Any, **kwargs: Any) -> Any:
            self._meet(name)
            return value(*args, **kwargs)

        return called

    def _meet(self, name: str) -> None:
        self.calls.append(name)
        fault = self.faults.get(name) or self.faults.get("*")
        if fault is not None:
            raise fault

    def domain(self, node: NodeRef, vm: VmSpec) -> DomainState:
        return self.states.get(vm.id) or super().domain(node, vm)

    def power(self, node: NodeRef, vm: VmSpec) -> Power:
        self._meet("power")
        return (self.states.get(vm.id) or super().domain(node, vm)).power

    def observe(self, node: NodeRef, vms: Sequence[VmSpec]) -> Observation:
        seen = super().observe(node, vms)
        states = {**seen.domains, **{vm.id: self.states[vm.id] for vm in vms if vm.id in self.states}}
        boot_id = seen.boot_id if self.boot_id is None else self.boot_id
        return replace(seen, domains=states, boot_id=boot_id, faults=self.faults_seen)


@contextmanager
def scripted(**options: Any) -> Iterator[ScriptedBackend]:
    """The scripted backend in place of the configured one."""
    path = f"{ScriptedBackend.__module__}.{ScriptedBackend.__name__}"
    with override_settings(VM_BACKEND={"BACKEND": path, "OPTIONS": options}):
        backend = get_backend()
        assert isinstance(backend, ScriptedBackend)
        yield backend
