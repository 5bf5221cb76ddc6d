"""Bodies of VMs as the OpenAPI document shows them: what `resources.config` checks across fields, as schemas.

No request is parsed with these models. They say in JSON Schema what holds for each mode, so that a generated client
has a type for each.
"""

import base64
from typing import Annotated, Any, Literal

from pydantic import Field

from common.schemas import BodySchema, absent, known_to_all, schema_of
from common.validation import NOT_BLANK, StrictModel
from resources.config import (
    MAX_DISK_GB,
    MAX_GPU_DEVICES,
    MAX_RAM_MB,
    MAX_SSH_KEY,
    MAX_VCPUS,
    MAX_VLAN_ID,
    MIN_DISK_GB,
    MIN_RAM_MB,
    MIN_VCPUS,
    MIN_VLAN_ID,
    CloudInit,
    Description,
    DeviceId,
    GpuMode,
    IpMode,
    Ipv4,
    MigProfile,
    Name,
    NetworkMode,
    OsImage,
)
from resources.ssh_keys import KEY_TYPES

Devices = Annotated[
    list[DeviceId], Field(min_length=1, max_length=MAX_GPU_DEVICES, json_schema_extra={"uniqueItems": True})
]
VlanId = Annotated[int, Field(ge=MIN_VLAN_ID, le=MAX_VLAN_ID)]
# Those that leave room for a host and its gateway: /1 to /30.
NETMASKS = [
    ".".join(str((0xFFFFFFFF << (32 - prefix) >> shift) & 0xFF) for shift in (24, 16, 8, 0)) for prefix in range(1, 31)
]
Netmask = Annotated[str, Field(json_schema_extra={"enum": NETMASKS})]


class NoGpu(StrictModel):
    """No GPU. What else stands here is ignored and not kept."""

    enabled: Literal[False]
    mode: Any = absent()
    device_ids: Any = absent(alias="deviceIds")
    mig_profile: Any = absent(alias="migProfile")


class PassthroughGpu(StrictModel):
    """Whole GPUs of the node, by name."""

    enabled: Literal[True]
    mode: Literal["passthrough"]
    device_ids: Devices = Field(alias="deviceIds")
    mig_profile: None = absent(alias="migProfile")


class MigGpu(StrictModel):
    """One MIG instance of a GPU of the node, by profile."""

    enabled: Literal[True]
    mode: Literal["mig"]
    mig_profile: MigProfile = Field(alias="migProfile")
    device_ids: None = absent(alias="deviceIds")


class StaticNetwork(StrictModel):
    """One interface with a fixed address. The gateway is another address of the same subnet."""

    mode: NetworkMode
    ip_mode: Literal["static"] = Field(alias="ipMode")
    ip_address: Ipv4 = Field(alias="ipAddress")
    netmask: Netmask
    gateway: Ipv4
    vlan_id: VlanId | None = absent(alias="vlanId")


class DhcpNetwork(StrictModel):
    """One interface that asks for its address."""

    mode: NetworkMode
    ip_mode: Literal["dhcp"] = Field(alias="ipMode")
    ip_address: None = absent(alias="ipAddress")
    netmask: None = absent()
    gateway: None = absent()
    vlan_id: VlanId | None = absent(alias="vlanId")


class GpuConfigPatch(StrictModel):
    """Changes of a `gpuConfig`; null removes a member. A change of the mode drops what belonged to the other."""

    enabled: bool = absent()
    mode: GpuMode | None = absent()
    device_ids: list[DeviceId] | None = absent(alias="deviceIds", max_length=MAX_GPU_DEVICES)
    mig_profile: MigProfile | None = absent(alias="migProfile")


class NetworkConfigPatch(StrictModel):
    """Changes of a `networkConfig`; null removes a member. A change to `dhcp` drops the three addresses."""

    mode: NetworkMode = absent()
    ip_mode: IpMode = absent(alias="ipMode")
    ip_address: Ipv4 | None = absent(alias="ipAddress")
    netmask: Netmask | None = absent()
    gateway: Ipv4 | None = absent()
    vlan_id: VlanId | None = absent(alias="vlanId")


class ConfigPatch(StrictModel):
    """Changes of a `config`. `diskGB` only grows once the disk exists."""

    type: Literal["virtual-machine"] = absent()
    os_image: OsImage = absent(alias="osImage")
    vcpus: int = absent(ge=MIN_VCPUS, le=MAX_VCPUS)
    ram_mb: int = absent(alias="ramMB", ge=MIN_RAM_MB, le=MAX_RAM_MB)
    disk_gb: int = absent(alias="diskGB", ge=MIN_DISK_GB, le=MAX_DISK_GB)
    gpu_config: GpuConfigPatch | None = absent(alias="gpuConfig")
    network_config: NetworkConfigPatch = absent(alias="networkConfig")
    cloud_init: CloudInit | None = absent(alias="cloudInit")


class VirtualMachinePatch(StrictModel):
    """A JSON merge patch (RFC 7396) of a VM: objects merge, null removes an optional member."""

    name: Name = absent()
    description: Description | None = absent()
    resource_type: Literal["virtual-machine"] = absent(alias="resourceType")
    node_id: Annotated[str, Field(pattern="^[0-9a-f]{24}$")] = absent(alias="nodeId")
    config: ConfigPatch = absent()


class _AnAddress(StrictModel):
    value: Ipv4


class CreateBodySchema(BodySchema):  # type: ignore[no-untyped-call]
    target_class = "resources.config.CreateBody"
    match_subclasses = False
    priority = 2  # before the one for every body

    def describe(self) -> dict[str, Any]:
        return refined(super().describe())


class EstimateBodySchema(CreateBodySchema):  # type: ignore[no-untyped-call]
    target_class = "resources.pricing.EstimateBody"


class PatchSchema(CreateBodySchema):  # type: ignore[no-untyped-call]
    target_class = "resources.request_schemas.VirtualMachinePatch"


# Where a config is one of several kinds, told apart by a member.
_KINDS: dict[str, tuple[type[StrictModel], ...]] = {
    "GpuConfig": (NoGpu, PassthroughGpu, MigGpu),
    "NetworkConfig": (StaticNetwork, DhcpNetwork),
}
_CONTROL = r"\u0000-\u001f\u007f-\u009f\u2028\u2029"
_LINUX_USERNAME = "^[a-z_][a-z0-9_-]{0,31}$"
_WINDOWS_USERNAME = (
    r'^[^"/\\\[\]:;|=,+*?<>@%\u0000-\u001f\u007f-\u009f]{0,19}[^"/\\\[\]:;|=,+*?<>@%. \u0000-\u001f\u007f-\u009f]$'
)


def refined(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema with the rules that pydantic keeps in code."""
    parts = schema["$defs"]
    for name, kinds in _KINDS.items():
        if name in parts:
            for kind in kinds:
                described = schema_of(kind, "validation")
                parts |= described.pop("$defs", {})
                parts[kind.__name__] = described
            parts[name] = {
                "description": parts[name]["description"],
                "oneOf": [{"$ref": f"#/components/schemas/{kind.__name__}"} for kind in kinds],
            }
    if "name" in schema["properties"]:
        schema["properties"]["name"]["pattern"] = known_to_all(NOT_BLANK)
    if "VirtualMachineConfig" in parts:
        parts["VirtualMachineConfig"] |= _usernames()
    cloud_init = parts["CloudInit"]["properties"]
    _text_of(cloud_init["hostname"])["not"] = schema_of(_AnAddress, "validation")["properties"]["value"]
    _text_of(cloud_init["sshPublicKey"]).update(pattern=SSH_PUBLIC_KEY, maxLength=MAX_SSH_KEY)
    _text_of(cloud_init["password"])["pattern"] = r"^[^\u0000-\u001f\u007f-\u009f]*$"
    return schema


def _text_of(nullable: dict[str, Any]) -> dict[str, Any]:
    text: dict[str, Any] = next(kind for kind in nullable["anyOf"] if kind["type"] == "string")
    return text


def _usernames() -> dict[str, Any]:
    def with_username(pattern: str) -> dict[str, Any]:
        return {"properties": {"cloudInit": {"properties": {"username": {"pattern": pattern}}}}}

    return {
        "if": {"properties": {"osImage": {"pattern": "^windows-"}}},
        "then": with_username(_WINDOWS_USERNAME),
        "else": with_username(_LINUX_USERNAME),
    }


def _key_start(kind: str) -> str:
    """How the data of each key of a type begins: its name behind its length, and the zeros of the next length."""
    raw = len(kind).to_bytes(4, "big") + kind.encode() + b"\0\0"
    start = base64.b64encode(raw).decode()[: len(raw) * 8 // 6]
    return f"{kind} {start}".replace(".", r"\.").replace("+", r"\+")


SSH_PUBLIC_KEY = (
    rf"^\s*(?:{'|'.join(_key_start(kind) for kind in KEY_TYPES)})[A-Za-z0-9+/]{{4,}}(?:={{0,2}}|\.{{2,}}|…)"
    rf"(?: [^{_CONTROL}]*)?$"
)
