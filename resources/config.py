"""What a client may ask for: the body of a new VM, its `config` document, and patches of them.

The document that the API shows is the one that is stored. Secrets are read from a body and written nowhere.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from enum import StrEnum
from typing import Annotated, Any, Literal, get_args

from pydantic import AfterValidator, BaseModel, Field, SecretStr, StringConstraints, model_validator

from common.errors import FieldError, Malformed, ValidationFailed
from common.validation import (
    NO_CONTROL,
    NO_CONTROL_BUT_LINES,
    CrossCheckedModel,
    Fault,
    StrictModel,
    custom_error,
    parse,
)
from resources import ssh_keys
from resources.addresses import STATIC_FIELDS, network_faults
from resources.messages import MESSAGES

MIN_VCPUS, MAX_VCPUS = 1, 128
MIN_RAM_MB, MAX_RAM_MB = 512, 1_048_576
MIN_DISK_GB, MAX_DISK_GB = 10, 10_240
MIN_VLAN_ID, MAX_VLAN_ID = 1, 4094
MAX_NAME, MAX_DESCRIPTION = 100, 500
MAX_GPU_DEVICES = 64
MAX_SSH_KEY = 8192
MAX_PASSWORD = 128

VIRTUAL_MACHINE: Literal["virtual-machine"] = "virtual-machine"

_OCTET = "(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])"
_IPV4 = rf"^(?:{_OCTET}\.){{3}}{_OCTET}$"
_LABEL = "[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_HOSTNAME = rf"^{_LABEL}(?:\.{_LABEL})*$"
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
# As useradd(8) takes it.
_LINUX_USERNAME = re.compile(r"[a-z_][a-z0-9_-]{0,31}")
# https://learn.microsoft.com/windows-server/administration/windows-commands/net-user: 20 characters, none of these
_WINDOWS_USERNAME = re.compile(r"""(?=.*[^. ])[^"/\\\[\]:;|=,+*?<>@%\x00-\x1f\x7f-\x9f]{1,20}(?<![. ])""")


class OsImage(StrEnum):
    UBUNTU_22_04 = "ubuntu-22.04"
    UBUNTU_20_04 = "ubuntu-20.04"
    CENTOS_8 = "centos-8"
    CENTOS_7 = "centos-7"
    DEBIAN_12 = "debian-12"
    DEBIAN_11 = "debian-11"
    WINDOWS_SERVER_2022 = "windows-server-2022"
    WINDOWS_SERVER_2019 = "windows-server-2019"

    @property
    def is_windows(self) -> bool:
        return self.value.startswith("windows-")

    @property
    def default_username(self) -> str:
        return "Administrator" if self.is_windows else "ubuntu"


class GpuMode(StrEnum):
    PASSTHROUGH = "passthrough"
    MIG = "mig"


class NetworkMode(StrEnum):
    BRIDGE_VLAN = "bridge-vlan"


class IpMode(StrEnum):
    STATIC = "static"
    DHCP = "dhcp"


def _public_key(value: str) -> str:
    fault = ssh_keys.fault_of(value)
    if fault:
        raise custom_error("invalid", fault)
    if len(value) > MAX_SSH_KEY:
        raise custom_error("max", f"SSH public key cannot exceed {MAX_SSH_KEY:,} characters")
    return value


def _hostname(value: str) -> str:
    if re.fullmatch(_IPV4, value):  # RFC 1123, section 2.1: a name must not look like an address
        raise custom_error("pattern", "Invalid hostname")
    return value


def _without_control(value: SecretStr) -> SecretStr:
    if _CONTROL.search(value.get_secret_value()):
        raise custom_error("pattern", "Password cannot contain control characters")
    return value


# In a strict model an enum is taken from its own members alone, and a tuple from a tuple: JSON has neither.
DeviceId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:-]{0,39}$")]
DeviceIds = Annotated[tuple[DeviceId, ...], Field(strict=False, max_length=MAX_GPU_DEVICES)]
Ipv4 = Annotated[str, StringConstraints(pattern=_IPV4)]
MigProfile = Annotated[str, StringConstraints(pattern=r"^[1-7]g\.[1-9][0-9]{0,2}gb$")]
Name = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=MAX_NAME, pattern=NO_CONTROL)]
Description = Annotated[str, StringConstraints(max_length=MAX_DESCRIPTION, pattern=NO_CONTROL_BUT_LINES)]
Hostname = Annotated[str, StringConstraints(max_length=253, pattern=_HOSTNAME), AfterValidator(_hostname)]
Username = Annotated[str, StringConstraints(max_length=32, pattern=NO_CONTROL)]
Password = Annotated[SecretStr, Field(min_length=1, max_length=MAX_PASSWORD), AfterValidator(_without_control)]
PublicKey = Annotated[str, StringConstraints(strip_whitespace=True), AfterValidator(_public_key)]


class GpuConfig(CrossCheckedModel):
    """Whole GPUs by name, or one MIG instance by profile. Not enabled, it holds nothing else."""

    enabled: bool
    mode: Annotated[GpuMode, Field(strict=False)] | None = None
    device_ids: DeviceIds | None = Field(default=None, alias="deviceIds")
    mig_profile: MigProfile | None = Field(default=None, alias="migProfile")

    @model_validator(mode="before")
    @classmethod
    def _drop_what_is_off(cls, data: Any) -> Any:
        if not isinstance(data, dict) or data.get("enabled") is not False:
            return data
        return {key: value for key, value in data.items() if key not in ("mode", "deviceIds", "migProfile")}

    @classmethod
    def cross_faults(cls, data: Mapping[str, Any]) -> Iterator[Fault]:
        if data.get("enabled") is False:
            return
        mode, devices, profile = data.get("mode"), data.get("deviceIds"), data.get("migProfile")
        if mode is None and data.get("enabled") is True:
            yield Fault(("mode",), "required", "GPU mode is required")
        elif mode == GpuMode.PASSTHROUGH:
            if devices is None or devices == []:
                yield Fault(("deviceIds",), "required", "At least one GPU device required for passthrough mode")
            if profile is not None:
                yield Fault(("migProfile",), "invalid", "MIG profile is not allowed in passthrough mode")
        elif mode == GpuMode.MIG:
            if profile is None or profile == "":
                yield Fault(("migProfile",), "required", "MIG profile required for MIG mode")
            if devices is not None:
                yield Fault(("deviceIds",), "invalid", "GPU devices are not allowed in MIG mode")
        if isinstance(devices, list):
            yield from _doubles(devices[:MAX_GPU_DEVICES])


def _doubles(devices: list[Any]) -> Iterator[Fault]:
    seen: set[str] = set()
    for place, device in enumerate(devices):
        if isinstance(device, str):
            if device in seen:
                yield Fault(("deviceIds", place), "duplicate", "GPU device listed twice")
            seen.add(device)


class NetworkConfig(CrossCheckedModel):
    """One interface on a bridge, tagged with a VLAN or untagged."""

    mode: Annotated[NetworkMode, Field(strict=False)]
    ip_mode: Annotated[IpMode, Field(strict=False)] = Field(alias="ipMode")
    ip_address: Ipv4 | None = Field(default=None, alias="ipAddress")
    netmask: Ipv4 | None = None
    gateway: Ipv4 | None = None
    vlan_id: int | None = Field(default=None, alias="vlanId", ge=MIN_VLAN_ID, le=MAX_VLAN_ID)

    @classmethod
    def cross_faults(cls, data: Mapping[str, Any]) -> Iterable[Fault]:
        return network_faults(data)


class CloudInit(StrictModel):
    """What the guest does at its first boot. The password is taken in and never given out."""

    hostname: Hostname | None = None
    ssh_public_key: PublicKey | None = Field(default=None, alias="sshPublicKey")
    username: Username | None = None
    password: Password | None = Field(
        default=None, exclude=True, repr=False, json_schema_extra={"writeOnly": True, "format": "password"}
    )


class VirtualMachineConfig(CrossCheckedModel):
    type: Literal["virtual-machine"]
    os_image: Annotated[OsImage, Field(strict=False)] = Field(alias="osImage")
    vcpus: int = Field(ge=MIN_VCPUS, le=MAX_VCPUS)
    ram_mb: int = Field(alias="ramMB", ge=MIN_RAM_MB, le=MAX_RAM_MB)
    disk_gb: int = Field(alias="diskGB", ge=MIN_DISK_GB, le=MAX_DISK_GB)
    gpu_config: GpuConfig | None = Field(default=None, alias="gpuConfig")
    network_config: NetworkConfig = Field(alias="networkConfig")
    cloud_init: CloudInit | None = Field(default=None, alias="cloudInit")

    @classmethod
    def cross_faults(cls, data: Mapping[str, Any]) -> Iterator[Fault]:
        cloud_init = data.get("cloudInit")
        username = cloud_init.get("username") if isinstance(cloud_init, dict) else None
        if isinstance(username, str) and not _fits(username, data.get("osImage")):
            yield Fault(("cloudInit", "username"), "pattern", "Invalid username")


def _fits(username: str, os_image: object) -> bool:
    if isinstance(os_image, str) and os_image.startswith("windows-"):
        return _WINDOWS_USERNAME.fullmatch(username) is not None
    return _LINUX_USERNAME.fullmatch(username) is not None


# With a second type of resource this becomes `Annotated[VirtualMachineConfig | ..., Field(discriminator="type")]`,
# which pydantic refuses for a single member.
Config = VirtualMachineConfig


class CreateBody(StrictModel):
    """The body of `POST /resources`, and what a patch must come to."""

    name: Name
    description: Description | None = None
    resource_type: Literal["virtual-machine"] = Field(alias="resourceType")
    node_id: Annotated[str, StringConstraints(pattern="^[0-9a-f]{24}$")] = Field(alias="nodeId")
    config: Config


def parse_create(data: object) -> CreateBody:
    """Raises ValidationFailed with all faults of the body, or Malformed."""
    return parse(CreateBody, data, MESSAGES)


def config_document(config: Config) -> dict[str, Any]:
    """The document as the API shows it: what was sent, without the password."""
    return config.model_dump(mode="json", by_alias=True, exclude_none=True)


def config_json(config: Config) -> str:
    """The same as compact JSON, to be stored and sent as it is."""
    return config.model_dump_json(by_alias=True, exclude_none=True)


def password_of(config: Config) -> str | None:
    """The password of a body just parsed. A stored document has none."""
    if config.cloud_init is None or config.cloud_init.password is None:
        return None
    return config.cloud_init.password.get_secret_value()


def effective_username(config: Config) -> str:
    given = config.cloud_init.username if config.cloud_init else None
    return given or config.os_image.default_username


def gpu_count(config: Config) -> int:
    """How many whole GPUs it takes."""
    gpu = config.gpu_config
    return len(gpu.device_ids or ()) if gpu and gpu.enabled and gpu.mode is GpuMode.PASSTHROUGH else 0


def mig_count(config: Config) -> int:
    """How many MIG instances it takes: one or none."""
    gpu = config.gpu_config
    return 1 if gpu and gpu.enabled and gpu.mode is GpuMode.MIG else 0


def merge_patch(document: Mapping[str, Any], patch: Mapping[str, Any]) -> dict[str, Any]:
    """The document after a JSON merge patch (RFC 7396). Neither argument is changed."""
    merged = dict(document)
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        elif isinstance(value, dict):
            old = merged.get(key)
            merged[key] = merge_patch(old if isinstance(old, dict) else {}, value)
        else:
            merged[key] = value
    return merged


def parse_patch(current: Mapping[str, Any], patch: object) -> tuple[CreateBody, set[str]]:
    """What a VM comes to by a patch, and the paths that differ: `name`, `nodeId`, `config.vcpus`, `config.cloudInit`.

    `current` has the members of a create body, with `config` as it is stored. Raises ValidationFailed with all
    faults of the whole, or Malformed.
    """
    if not isinstance(patch, dict):
        raise Malformed("The body must be a JSON object")
    before = {key: current[key] for key in _BODY if current.get(key) is not None}
    faults = [FieldError(path, "unknown_field", "Unknown field") for path in _unknown_nulls(CreateBody, patch)]
    try:
        body = parse_create(merge_patch(_without_outdated(before, patch), patch))
    except ValidationFailed as e:
        raise ValidationFailed([*e.errors, *faults]) from e
    if faults:
        raise ValidationFailed(faults)
    return body, _changed(before, body)


_BODY = ("name", "description", "resourceType", "nodeId", "config")


def _unknown_nulls(model: type[BaseModel], patch: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    """Fields that no model knows and that a merge would drop in silence, because the patch removes them."""
    models = {field.alias or name: _model_in(field.annotation) for name, field in model.model_fields.items()}
    for key, value in patch.items():
        if value is None and key not in models:
            yield prefix + key
        inner = models.get(key)
        if inner is not None and isinstance(value, dict):
            yield from _unknown_nulls(inner, value, f"{prefix}{key}.")


def _model_in(annotation: Any) -> type[BaseModel] | None:
    """The model that a field holds: `CloudInit` of `CloudInit | None`."""
    for member in (annotation, *get_args(annotation)):
        if isinstance(member, type) and issubclass(member, BaseModel):
            return member
    return None


def _without_outdated(document: dict[str, Any], patch: Mapping[str, Any]) -> dict[str, Any]:
    """The document without what the patched modes leave no place for. What the patch itself gives stays wrong."""
    config, changes = document["config"], patch.get("config")
    if not isinstance(changes, dict):
        return document
    outdated = {
        "networkConfig": STATIC_FIELDS if _given(changes, "networkConfig", "ipMode") == IpMode.DHCP else (),
        "gpuConfig": _OUTDATED_BY.get(_given(changes, "gpuConfig", "mode"), ()),
    }
    kept = {
        section: {key: value for key, value in config[section].items() if key not in names}
        for section, names in outdated.items()
        if section in config
    }
    return {**document, "config": {**config, **kept}}


_OUTDATED_BY: dict[object, tuple[str, ...]] = {
    GpuMode.PASSTHROUGH.value: ("migProfile",),
    GpuMode.MIG.value: ("deviceIds",),
}


def _given(changes: Mapping[str, Any], section: str, name: str) -> str | None:
    value = changes[section].get(name) if isinstance(changes.get(section), dict) else None
    return value if isinstance(value, str) else None


def _changed(before: Mapping[str, Any], body: CreateBody) -> set[str]:
    old, new = before["config"], config_document(body.config)
    changed = {f"config.{key}" for key in {*old, *new} if old.get(key) != new.get(key)}
    if password_of(body.config) is not None:
        changed.add("config.cloudInit")
    if body.name != before["name"]:
        changed.add("name")
    if (body.description or "") != before.get("description", ""):
        changed.add("description")
    if body.node_id != before["nodeId"]:
        changed.add("nodeId")
    return changed
