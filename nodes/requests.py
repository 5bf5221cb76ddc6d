"""What an operator may say of a node: the bodies of POST and PATCH, which the admin's form is turned into as well."""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, ConfigDict, Field, StringConstraints

from common.validation import NO_CONTROL, CrossCheckedModel, Fault, StrictModel, custom_error
from nodes.uris import uri_fault

_LABEL = "[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_MOST = 2_147_483_647  # of an integer column


_NAME = r"^[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?$"


def _checked_name(name: str) -> str:
    if not re.fullmatch(_NAME, name):
        words = "Must be letters, digits, dots, dashes and underscores, as worker-01: it is written in commands"
        raise custom_error("pattern", words)
    return name


Name = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1, max_length=100),
    AfterValidator(_checked_name),
    Field(json_schema_extra={"pattern": _NAME}),
]
Hostname = Annotated[str, StringConstraints(max_length=253, pattern=rf"^{_LABEL}(?:\.{_LABEL})*$")]
# No colon: these stand in the keys of claims, and a device's name in `GPU-0:1g.5gb:3`.
Segment = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._-]{1,60}$")]
DeviceId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._-]{1,40}$")]
ImageName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9._-]{0,39}$")]
# domain:bus:slot.function, as lspci -D shows it.
PciAddress = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{4}:[0-9a-f]{2}:[01][0-9a-f]\.[0-7]$")]
# What names a bridge also ends in a device's name, of which Linux takes 15 characters, with a VLAN of four digits.
Bridge = Annotated[
    str,
    StringConstraints(
        max_length=17,
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,14}$|^[A-Za-z0-9][A-Za-z0-9._-]{0,10}\{vlan\}[A-Za-z0-9._-]{0,10}$",
    ),
]
UntaggedBridge = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,14}$")]
# A storage pool of libvirt's, and how its `<cpu>` is filled or the name of a CPU model.
Word = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,59}$")]
Count = Annotated[int, Field(ge=0, le=_MOST)]
Overcommit = Annotated[float, Field(ge=0.1, le=64, allow_inf_nan=False)]


def _checked_uri(uri: str) -> str:
    fault = uri_fault(uri) if uri else None
    if fault is not None:
        raise custom_error("invalid", fault)
    return uri


Uri = Annotated[str, AfterValidator(_checked_uri)]


class CapacityBody(StrictModel):
    """What the node has. `vcpus` is without the overcommit."""

    vcpus: Count
    ram_mb: Count = Field(alias="ramMB")
    disk_gb: Count = Field(alias="diskGB")


class CapacityPatch(StrictModel):
    vcpus: Count = 0
    ram_mb: Count = Field(default=0, alias="ramMB")
    disk_gb: Count = Field(default=0, alias="diskGB")


class GpuBody(StrictModel):
    device_id: DeviceId = Field(alias="deviceId")
    model: Annotated[str, StringConstraints(min_length=1, max_length=60, pattern=NO_CONTROL)]
    memory_mb: Annotated[int, Field(ge=1, le=_MOST, alias="memoryMB")]
    pci_address: PciAddress = Field(alias="pciAddress")
    use: Literal["passthrough", "mig", "either"] = "passthrough"


class _NodeFields(CrossCheckedModel):
    """A default here is never written by PATCH: only what the body names is."""

    segment: Segment = "default"
    uri: Uri | None = None
    pool: Word = "aiwm"
    bridge: Bridge = "br{vlan}"
    untagged_bridge: UntaggedBridge = Field(default="br0", alias="untaggedBridge")
    openvswitch: bool = False
    domain_type: Literal["kvm", "qemu"] | None = Field(default=None, alias="domainType")
    cpu_mode: Word | None = Field(default=None, alias="cpuMode")
    enabled: bool = True
    vcpu_overcommit: Overcommit = Field(default=1.0, alias="vcpuOvercommit")
    gpus: list[GpuBody] = Field(default_factory=list, max_length=64)
    os_images: list[ImageName] = Field(
        default_factory=list, max_length=100, alias="osImages", json_schema_extra={"uniqueItems": True}
    )

    @classmethod
    def cross_faults(cls, data: Mapping[str, Any]) -> Iterable[Fault]:
        gpus = [gpu if isinstance(gpu, dict) else {} for gpu in _list_at(data, "gpus")]
        for name in ("deviceId", "pciAddress"):
            for place in _doubles([gpu.get(name) for gpu in gpus]):
                yield Fault(("gpus", place, name), "duplicate", "Each GPU of a node has one of its own")
        for place in _doubles(_list_at(data, "osImages")):
            yield Fault(("osImages", place), "duplicate", "Named twice")


class NodeCreate(_NodeFields):
    """`POST /resources/nodes`"""

    name: Name
    hostname: Hostname
    capacity: CapacityBody

    @classmethod
    def cross_faults(cls, data: Mapping[str, Any]) -> Iterable[Fault]:
        yield from super().cross_faults(data)
        yield from _bridge_faults(data.get("bridge", "br{vlan}"), data.get("openvswitch", False))


class NodePatch(_NodeFields):
    """`PATCH /resources/nodes/<id>`: a JSON merge patch. `gpus` and `osImages` replace the whole list."""

    model_config = ConfigDict(
        json_schema_extra={"dependentSchemas": {"lost": {"properties": {"enabled": {"const": False}}}}}
    )

    name: Name = ""
    hostname: Hostname = ""
    capacity: CapacityPatch = CapacityPatch()
    lost: bool = False

    @classmethod
    def cross_faults(cls, data: Mapping[str, Any]) -> Iterable[Fault]:
        yield from super().cross_faults(data)
        if "lost" in data and data.get("enabled") is True:
            message = "Not together with lost: the node stays in maintenance until its domains have been looked at"
            yield Fault(("enabled",), "invalid", message)
        if "bridge" in data and "openvswitch" in data:
            yield from _bridge_faults(data["bridge"], data["openvswitch"])


def bridge_fault(bridge: str, openvswitch: bool) -> str | None:
    """Why VLANs could not be told apart by this bridge, or None."""
    if openvswitch and "{vlan}" in bridge:
        return "With openvswitch it is the one bridge that takes VLANs as tags, and has no {vlan} in its name"
    if not openvswitch and "{vlan}" not in bridge:
        return "Must have {vlan} in it, as br{vlan}: without openvswitch each VLAN has a bridge of its own"
    return None


def _bridge_faults(bridge: object, openvswitch: object) -> Iterator[Fault]:
    if isinstance(bridge, str) and isinstance(openvswitch, bool):
        fault = bridge_fault(bridge, openvswitch)
        if fault is not None:
            yield Fault(("bridge",), "invalid", fault)


def _list_at(data: Mapping[str, Any], name: str) -> list[Any]:
    value = data.get(name)
    return value if isinstance(value, list) else []


def _doubles(values: list[Any]) -> Iterator[int]:
    seen = set()
    for place, value in enumerate(values):
        if isinstance(value, str):
            if value in seen:
                yield place
            seen.add(value)
