"""Rows for tests. Each is the least that is valid; a test names what it is about."""

import json
from datetime import timedelta
from typing import Any

import factory
from django.utils import timezone

from accounts.models import Organization, Role, User
from nodes.models import Gpu, GpuUse, Image, Network, Node, NodeImage
from resources.config import VirtualMachineConfig
from resources.holdings import Wants, take
from resources.models import VirtualMachine
from resources.states import Status
from snapshots.models import Snapshot, SnapshotStatus

ALL_IMAGES = (
    "ubuntu-22.04", "ubuntu-20.04", "centos-8", "centos-7", "debian-12", "debian-11", "windows-server-2022",
    "windows-server-2019",
)  # fmt: skip


class OrganizationFactory(factory.django.DjangoModelFactory):
    class Meta:
        model = Organization

    name = factory.Sequence(lambda n: f"organization-{n}")
    quota_vms = 200
    quota_vcpus = 512
    quota_ram_mb = 2_097_152
    quota_disk_gb = 20_480
    quota_gpus = 8
    quota_mig_instances = 64


class UserFactory(factory.django.DjangoModelFactory):
    class Meta:
        model = User
        skip_postgeneration_save = True

    username = factory.Sequence(lambda n: f"user-{n}")
    email = factory.LazyAttribute(lambda user: f"{user.username}@example.com")
    organization = factory.SubFactory(OrganizationFactory)
    role = Role.MEMBER

    @factory.post_generation
    def password(user, create: bool, extracted: str | None, **kwargs: Any) -> None:
        if extracted:
            user.set_password(extracted)
            user.save(update_fields=["password"])


class OperatorFactory(UserFactory):
    is_staff = True
    is_superuser = True


class NodeFactory(factory.django.DjangoModelFactory):
    class Meta:
        model = Node
        skip_postgeneration_save = True

    name = factory.Sequence(lambda n: f"node-{n}")
    hostname = factory.LazyAttribute(lambda node: f"{node.name}.example.com")
    online = True
    last_seen = factory.LazyFunction(timezone.now)
    cap_vcpus = 128
    cap_ram_mb = 1_048_576
    cap_disk_gb = 20_480

    @factory.post_generation
    def images(node, create: bool, extracted: tuple[str, ...] | None, **kwargs: Any) -> None:
        names = ALL_IMAGES if extracted is None else extracted
        NodeImage.objects.bulk_create(NodeImage(node=node, os_image=name) for name in names)


class GpuFactory(factory.django.DjangoModelFactory):
    class Meta:
        model = Gpu

    node = factory.SubFactory(NodeFactory)
    device_id = factory.Sequence(lambda n: f"GPU-{n}")
    model = "NVIDIA A100-PCIE-40GB"
    memory_mb = 40_960
    pci_address = factory.Sequence(lambda n: f"0000:{n % 250:02x}:00.0")
    use = GpuUse.EITHER


class ImageFactory(factory.django.DjangoModelFactory):
    class Meta:
        model = Image

    os_image = "ubuntu-22.04"
    sha256 = factory.Sequence(lambda n: f"{n:064x}")
    volume = factory.LazyAttribute(lambda image: f"image-{image.os_image}-{image.sha256[-12:]}.qcow2")
    size_bytes = 300_000_000
    virtual_bytes = 2 * 1024**3


class NetworkFactory(factory.django.DjangoModelFactory):
    class Meta:
        model = Network
        skip_postgeneration_save = True

    vlan_id = factory.Sequence(lambda n: 1000 + n)
    name = factory.LazyAttribute(lambda network: f"vlan-{network.vlan_id}")

    @factory.post_generation
    def organizations(network, create: bool, extracted: Any, **kwargs: Any) -> None:
        network.organizations.set(extracted or [])


def vm_config(**changes: Any) -> dict[str, Any]:
    """A small valid config on DHCP, as the API takes it."""
    return {
        "type": "virtual-machine",
        "osImage": "ubuntu-22.04",
        "vcpus": 2,
        "ramMB": 2048,
        "diskGB": 20,
        "networkConfig": {"mode": "bridge-vlan", "ipMode": "dhcp"},
        **changes,
    }


def static_network(address: str, vlan_id: int | None = 100) -> dict[str, Any]:
    network = {
        "mode": "bridge-vlan",
        "ipMode": "static",
        "ipAddress": address,
        "netmask": "255.255.255.0",
        "gateway": address.rsplit(".", 1)[0] + ".1",
    }
    return network if vlan_id is None else {**network, "vlanId": vlan_id}


def create_body(node: Node, **changes: Any) -> dict[str, Any]:
    """A valid body of `POST /resources`."""
    return {
        "name": "web",
        "resourceType": "virtual-machine",
        "nodeId": node.id,
        "config": vm_config(),
        **changes,
    }


class VirtualMachineFactory(factory.django.DjangoModelFactory):
    """A VM with all that it holds, taken as a create takes it. `config` is changes to `vm_config()`."""

    class Meta:
        model = VirtualMachine

    class Params:
        config = factory.LazyFunction(dict)

    name = factory.Sequence(lambda n: f"vm-{n}")
    organization = factory.SubFactory(OrganizationFactory)
    owner = factory.SubFactory(UserFactory, organization=factory.SelfAttribute("..organization"))
    created_by = factory.SelfAttribute("owner")
    node = factory.SubFactory(NodeFactory)
    status = Status.QUEUED
    config_json = factory.LazyAttribute(lambda vm: json.dumps(vm_config(**vm.config), separators=(",", ":")))
    created_at = factory.LazyFunction(timezone.now)
    updated_at = factory.SelfAttribute("created_at")

    @classmethod
    def _create(cls, model_class: type[VirtualMachine], *args: Any, **kwargs: Any) -> VirtualMachine:
        config = VirtualMachineConfig.model_validate_json(kwargs["config_json"])
        status = Status(kwargs["status"])
        on_node = status not in (Status.QUEUED, Status.FAILED)
        once_ran = on_node and status != Status.DEPLOYING
        defaults = {
            "os_image": config.os_image,
            "vcpus": config.vcpus,
            "ram_mb": config.ram_mb,
            "disk_gb": config.disk_gb,
            "ip_address": config.network_config.ip_address or "",
            "deployed": on_node,
            "desired_on": status in (Status.RUNNING, Status.DEPLOYING, Status.ERROR),
            "desired_since": kwargs["created_at"] if on_node else None,
            "started_at": kwargs["created_at"] + timedelta(seconds=5) if once_ran else None,
        }
        vm = model_class(**{**defaults, **kwargs})
        wants = Wants(config)
        vm.gpu_count, vm.mig_count = wants.usage.gpus, wants.usage.mig_instances
        vm.allocated_gpu = take(vm.id, vm.organization_id, vm.node, wants)
        vm.save(force_insert=True)
        return vm


class SnapshotFactory(factory.django.DjangoModelFactory):
    class Meta:
        model = Snapshot

    vm = factory.SubFactory(VirtualMachineFactory, status=Status.STOPPED)
    name = factory.Sequence(lambda n: f"snapshot {n}")
    status = SnapshotStatus.COMPLETED
    size = 52_428_800
    config_json = factory.SelfAttribute("vm.config_json")
    created_at = factory.LazyFunction(timezone.now)
