"""The rows that are measured: an organization with a hundred VMs and, later, others with many more."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from itertools import count
from typing import Any

from django.db import connection
from django.utils import timezone

from accounts.models import Organization, User
from nodes.models import Node, NodeImage
from resources.models import VirtualMachine
from resources.states import Status

VMS = 100
_BATCH = 5_000
# What is listed, and how many of a hundred have it.
_MIX = {Status.RUNNING: 80, Status.STOPPED: 10, Status.QUEUED: 10}
_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIE3Jw1m0mZ1mM9uVb0mYHdd7Tn0Q0m8rG0nGq0Y3m7Jd dev@example.com"

_hosts = count(1)


@dataclass(frozen=True)
class Rows:
    """`user` is a member; `listed` are the ids of their organization's hundred VMs, all on `node`."""

    user: User
    operator: User
    node: Node
    listed: list[str]

    @classmethod
    def new(cls) -> "Rows":
        organization = _organization("bench")
        user = User.objects.create(username="bench", organization=organization)
        operator = User.objects.create(username="bench-operator", organization=organization, is_staff=True)
        now = timezone.now()
        node = Node.objects.create(
            name="bench-01", hostname="bench-01", online=True, last_seen=now, cap_vcpus=10**8, cap_ram_mb=10**11,
            cap_disk_gb=10**9,
        )  # fmt: skip
        NodeImage.objects.create(node=node, os_image="ubuntu-22.04")
        statuses = [status for status, number in _MIX.items() for _ in range(number)]
        vms = [vm_row(user, node, status) for status in statuses]
        VirtualMachine.objects.bulk_create(vms)
        return cls(user, operator, node, [vm.id for vm in vms])

    def add(self, number: int, status: Status) -> list[str]:
        """So many further VMs of the member, for what changes them. They are older than the hundred listed ones."""
        vms = [vm_row(self.user, self.node, status, age=timedelta(days=1)) for _ in range(number)]
        VirtualMachine.objects.bulk_create(vms, batch_size=_BATCH)
        return [vm.id for vm in vms]

    def remove(self) -> None:
        """Leave the member with the hundred again."""
        vms = VirtualMachine.objects.filter(organization=self.user.organization).exclude(pk__in=self.listed)
        vms.update(deleted_at=timezone.now())
        _tidy()

    def add_others(self, number: int) -> None:
        """VMs of another organization, spread over as many statuses."""
        organization = _organization("others")
        owner = User.objects.create(username="others", organization=organization)
        nodes = Node.objects.bulk_create(Node(name=f"others-{n}", hostname=f"others-{n}") for n in range(100))
        statuses = list(Status)
        for start in range(0, number, _BATCH):
            VirtualMachine.objects.bulk_create(
                vm_row(owner, nodes[n % len(nodes)], statuses[n % len(statuses)])
                for n in range(start, min(start + _BATCH, number))
            )
        _tidy()

    def bodies(self) -> Iterator[bytes]:
        """Bodies of a create, each with an address that nobody has."""
        while True:
            body = {
                "name": "Dev VM",
                "description": "For the benchmark",
                "resourceType": "virtual-machine",
                "nodeId": self.node.id,
                "config": _config(),
            }
            yield json.dumps(body).encode()


def _tidy() -> None:
    """What a database does by itself sooner or later: here before the next measurement, and not in it."""
    with connection.cursor() as cursor:
        cursor.execute("VACUUM ANALYZE" if connection.vendor == "postgresql" else "ANALYZE")


def _organization(name: str) -> Organization:
    return Organization.objects.create(
        name=name, quota_vms=10**6, quota_vcpus=10**8, quota_ram_mb=10**11, quota_disk_gb=10**9
    )


def vm_row(user: User, node: Node, status: Status, age: timedelta = timedelta()) -> VirtualMachine:
    config = _config()
    created = timezone.now() - age
    ran = status not in (Status.QUEUED, Status.DEPLOYING, Status.FAILED)
    return VirtualMachine(
        name="Dev VM", description="For the benchmark", organization_id=user.organization_id, owner=user,
        created_by=user, node=node, status=status, config_json=json.dumps(config, separators=(",", ":")),
        os_image=config["osImage"], vcpus=config["vcpus"], ram_mb=config["ramMB"], disk_gb=config["diskGB"],
        ip_address=config["networkConfig"]["ipAddress"], deployed=ran, desired_on=status == Status.RUNNING,
        desired_since=created if ran else None, started_at=created if ran else None, created_at=created,
        updated_at=created,
    )  # fmt: skip


def _config() -> dict[str, Any]:
    host = next(_hosts)
    return {
        "type": "virtual-machine",
        "osImage": "ubuntu-22.04",
        "vcpus": 8,
        "ramMB": 32_768,
        "diskGB": 100,
        "networkConfig": {
            "mode": "bridge-vlan", "ipMode": "static", "netmask": "255.0.0.0", "gateway": "10.255.255.254",
            "ipAddress": f"10.{host >> 16}.{host >> 8 & 255}.{host & 255}", "vlanId": 100,
        },
        "cloudInit": {"hostname": "dev", "username": "dev", "sshPublicKey": _KEY},
    }  # fmt: skip
