"""A backend whose nodes keep image files, and files to keep."""

import os
import shutil
import subprocess
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from django.test import override_settings

from tests.backends import ScriptedBackend
from vmbackends import get_backend
from vmbackends.base import Devices, ImageReport, ImageSpec, NodeRef, NodeReport, Observation, VmSpec
from vmbackends.errors import BackendError, Refused
from vmbackends.pci import PciAddress


class KeepingBackend(ScriptedBackend):
    """`volumes` are the lengths of what each node has, by the node's and the volume's name; `refusals` what a node
    raises when it is sent an image, or is to remove one; `bases` volumes that disks are clones of; `report` what a
    probe finds besides; `devices` and `addresses` what domains have, and `asked` the VMs whose were not asked for;
    `there` what a look sees of VMs by their ids, unless `volumes_seen` is off."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.volumes: dict[tuple[str, str], int] = {}
        self.refusals: dict[str, BackendError] = {}
        self.bases: set[str] = set()
        self.devices: dict[PciAddress, str] = {}
        self.addresses: dict[tuple[int, str], str] = {}
        self.asked: list[list[str]] = []
        self.there: dict[str, tuple[str, ...]] = {}
        self.volumes_seen = True
        self.report: dict[str, Any] = {}
        self.probed: list[NodeRef] = []

    def push_image(self, node: NodeRef, image: ImageSpec, file: Path, progress: Callable[[int], None]) -> None:
        self._refuse(node)
        length = file.stat().st_size
        progress(length)
        self.volumes[node.name, image.volume] = length

    def remove_image(self, node: NodeRef, volume: str) -> None:
        self._refuse(node)
        if volume in self.bases:
            raise Refused(f"1 disks are clones of {volume}.")
        self.volumes.pop((node.name, volume), None)

    def observe(self, node: NodeRef, vms: Sequence[VmSpec]) -> Observation:
        self._refuse(node)
        return replace(
            super().observe(node, vms),
            images=tuple(name for at, name in self.volumes if at == node.name),
            unasked={vm_id: names for vm_id, names in self.there.items() if vm_id not in {vm.id for vm in vms}},
            volumes_seen=self.volumes_seen,
        )

    def devices_of_others(self, node: NodeRef, vm_ids: Collection[str]) -> Devices:
        self._refuse(node)
        self._meet("devices_of_others")
        self.asked.append(list(vm_ids))
        return Devices(self.devices, self.addresses)

    def probe(self, node: NodeRef) -> NodeReport:
        self.probed.append(node)
        self._refuse(node)
        images = tuple(ImageReport(volume, size) for (name, volume), size in self.volumes.items() if name == node.name)
        return NodeReport(**{"boot_id": "boot-1", "images": images, **self.report})

    def _refuse(self, node: NodeRef) -> None:
        if node.name in self.refusals:
            raise self.refusals[node.name]


@contextmanager
def keeping() -> Iterator[KeepingBackend]:
    path = f"{KeepingBackend.__module__}.{KeepingBackend.__name__}"
    with override_settings(VM_BACKEND={"BACKEND": path, "OPTIONS": {}}):
        backend = get_backend()
        assert isinstance(backend, KeepingBackend)
        yield backend


def require_qemu_img() -> None:
    if shutil.which("qemu-img") is None:
        assert not os.environ.get("CI"), "qemu-img is missing: apt-get install qemu-utils"
        pytest.skip("SKIPPED, NOTHING IS TESTED HERE: qemu-img is missing. apt-get install qemu-utils")


def qemu_img(*arguments: str | Path) -> None:
    require_qemu_img()
    subprocess.run(["qemu-img", *map(str, arguments)], check=True, capture_output=True)


def raw_disk(path: Path, content: bytes = b"bootable", megabytes: int = 3) -> Path:
    path.write_bytes(content.ljust(megabytes * 1024**2, b"\1"))
    return path


def qcow2_disk(path: Path, content: bytes = b"bootable", megabytes: int = 3) -> Path:
    raw = raw_disk(path.with_suffix(".raw"), content, megabytes)
    qemu_img("convert", "-f", "raw", "-O", "qcow2", raw, path)
    raw.unlink()
    return path
