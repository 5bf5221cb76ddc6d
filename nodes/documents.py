"""A node as the API shows it. The pydantic models describe the answers for the schema; the functions make them."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from pydantic import Field

from accounts.actors import Actor
from common.schemas import Document, ObjectId, Pagination, TaskId, Timestamp, absent
from common.times import isoformat
from nodes import mig, room
from nodes.claims import SLICED, WHOLE, profiles_of, slice_of
from nodes.models import Claim, Gpu, Node
from nodes.room import Room


class RoomDocument(Document):
    """Of vCPUs with the overcommit."""

    vcpus: int
    ram_mb: int = Field(alias="ramMB")
    disk_gb: int = Field(alias="diskGB")


class MigProfileDocument(Document):
    """How many instances of a profile still fit at most."""

    profile: str
    free: int


class GpuDocument(Document):
    """`available`: it can still be had, whole or in part. `allocatedTo`: the caller's own VMs that hold it."""

    device_id: str
    model: str
    memory_mb: int = Field(alias="memoryMB")
    pci_address: str
    use: Literal["passthrough", "mig", "either"]
    mig_capable: bool
    mig_profiles: list[MigProfileDocument]
    available: bool
    allocated_to: list[ObjectId]


class HypervisorDocument(Document):
    """What the node said itself when it was last asked. By `domainType` and `cpuMode` its guests come up; of `uefi` and
    `tpm` they can have what stands in `capabilities`."""

    domain_type: Literal["kvm", "qemu"] | None
    cpu_mode: str | None
    versions: dict[str, str]
    capabilities: list[str] | None


class NodeDocument(Document):
    """Those from `uri` on stand for operators alone. `domainType` and `cpuMode` are null where what the node said of
    itself counts."""

    id: ObjectId = Field(alias="_id")
    name: str
    hostname: str
    segment: str
    status: Literal["online", "offline", "maintenance", "lost"]
    capacity: RoomDocument
    allocated: RoomDocument
    free: RoomDocument
    gpus: list[GpuDocument]
    last_seen: Timestamp | None
    uri: str = absent()
    pool: str = absent()
    bridge: str = absent()
    untagged_bridge: str = absent()
    openvswitch: bool = absent()
    domain_type: Literal["kvm", "qemu"] | None = absent()
    cpu_mode: str | None = absent()
    hypervisor: HypervisorDocument = absent()
    enabled: bool = absent()
    lost: bool = absent()
    vcpu_overcommit: float = absent()
    os_images: list[str] = absent()


class NodeListDocument(Document):
    data: list[NodeDocument]
    pagination: Pagination


class NodeTaskDocument(Document):
    success: bool
    message: str
    task_id: TaskId


class NodeDoneDocument(Document):
    success: bool
    message: str


def node_document(
    actor: Actor, node: Node, gpus: Sequence[Gpu], claims_on: Mapping[str, Sequence[Claim]], os_images: Sequence[str]
) -> dict[str, Any]:
    """`claims_on` has the claims on each GPU by its id. The hypervisor's address is for operators alone."""
    document: dict[str, Any] = {
        "_id": node.id,
        "name": node.name,
        "hostname": node.hostname,
        "segment": node.segment,
        "status": node.status,
        "capacity": room_document(room.capacity(node)),
        "allocated": room_document(room.allocated(node)),
        "free": room_document(room.free(node)),
        "gpus": [gpu_document(actor, gpu, claims_on.get(gpu.id, ())) for gpu in gpus],
        "lastSeen": None if node.last_seen is None else isoformat(node.last_seen),
    }
    if actor.is_operator:
        document |= {
            "uri": node.uri,
            "pool": node.pool,
            "bridge": node.bridge,
            "untaggedBridge": node.untagged_bridge,
            "openvswitch": node.openvswitch,
            "domainType": node.domain_type or None,
            "cpuMode": node.cpu_mode or None,
            "hypervisor": {
                "domainType": node.probed_domain_type or None,
                "cpuMode": node.probed_cpu_mode or None,
                "versions": node.hypervisor,
                "capabilities": node.capabilities,
            },
            "enabled": node.enabled,
            "lost": node.lost,
            "vcpuOvercommit": node.vcpu_overcommit,
            "osImages": list(os_images),
        }
    return document


def room_document(size: Room) -> dict[str, int]:
    return {"vcpus": size.vcpus, "ramMB": size.ram_mb, "diskGB": size.disk_gb}


def gpu_document(actor: Actor, gpu: Gpu, claims: Sequence[Claim]) -> dict[str, Any]:
    taken = {slice_of(claim)[1] for claim in claims}
    offered = profiles_of(gpu)
    can_be_had = gpu.present and not gpu.stray_domain
    profiles = [
        {"profile": profile.name, "free": mig.free_count(profile, taken) if can_be_had else 0}
        for profile in (offered if gpu.use in SLICED else [])
    ]
    whole_is_free = can_be_had and gpu.use in WHOLE and not taken
    return {
        "deviceId": gpu.device_id,
        "model": gpu.model,
        "memoryMB": gpu.memory_mb,
        "pciAddress": gpu.pci_address,
        "use": gpu.use,
        "migCapable": bool(offered),
        "migProfiles": profiles,
        "available": whole_is_free or any(profile["free"] for profile in profiles),
        "allocatedTo": sorted({claim.vm_id for claim in claims if actor.sees(claim.org_id)}),
    }
