"""A backend that is half a mock."""

from collections.abc import Callable, Sequence
from typing import Any

from vmbackends.base import NodeRef, Observation, VmSpec
from vmbackends.libvirt import LibvirtBackend
from vmbackends.mock import MockBackend


class SweptMock(MockBackend):
    """A mock that looks for real at nodes with a URI: what workers do beside their sweeps is then AIWM's alone, and not
    what QEMU does on the same cores."""

    def __init__(self, **options: Any) -> None:
        super().__init__(deploy_s=0, stop_s=0, down=(), **options)
        self._libvirt = LibvirtBackend()

    def observe(self, node: NodeRef, vms: Sequence[VmSpec]) -> Observation:
        return self._libvirt.observe(node, vms) if node.uri else super().observe(node, vms)

    def watch(self, node: NodeRef, notice: Callable[[], None]) -> bool:
        return self._libvirt.watch(node, notice) if node.uri else super().watch(node, notice)
