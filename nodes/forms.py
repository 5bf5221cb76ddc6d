"""The admin's forms of nodes, which say the same as the API's bodies, and of networks."""

import re
from collections.abc import Mapping
from ipaddress import IPv4Address
from typing import TYPE_CHECKING, Any

from django import forms

from common.errors import ValidationFailed
from common.validation import parse
from nodes.models import Gpu, Network, Node, NodeImage
from nodes.networks import is_host, usable_subnet
from nodes.requests import GpuBody, NodeCreate

if TYPE_CHECKING:
    NodeModelForm = forms.ModelForm[Node]
    GpuModelForm = forms.ModelForm[Gpu]
    NetworkModelForm = forms.ModelForm[Network]
else:
    NodeModelForm = GpuModelForm = NetworkModelForm = forms.ModelForm

_NODE_FIELDS = {
    "name": "name",
    "hostname": "hostname",
    "segment": "segment",
    "uri": "uri",
    "pool": "pool",
    "bridge": "bridge",
    "untaggedBridge": "untagged_bridge",
    "openvswitch": "openvswitch",
    "domainType": "domain_type",
    "cpuMode": "cpu_mode",
    "enabled": "enabled",
    "capacity.vcpus": "cap_vcpus",
    "capacity.ramMB": "cap_ram_mb",
    "capacity.diskGB": "cap_disk_gb",
    "vcpuOvercommit": "vcpu_overcommit",
}
_NULLABLE = ("domainType", "cpuMode")
_GPU_FIELDS = {
    "deviceId": "device_id",
    "model": "model",
    "memoryMB": "memory_mb",
    "pciAddress": "pci_address",
    "use": "use",
}


class NodeForm(NodeModelForm):
    # What was shown when the page was opened: a change from elsewhere since then is not written over.
    seen_version = forms.IntegerField(widget=forms.HiddenInput, required=False, min_value=0, max_value=2**31 - 1)

    class Meta:
        model = Node
        fields = tuple(_NODE_FIELDS.values())
        labels = {
            "uri": "URI",
            "pool": "storage pool",
            "openvswitch": "Open vSwitch",
            "cpu_mode": "CPU mode",
            "cap_vcpus": "vCPUs",
            "cap_ram_mb": "RAM in MB",
            "cap_disk_gb": "disk in GB",
            "vcpu_overcommit": "vCPU overcommit",
        }
        help_texts = {
            "enabled": "Off is maintenance: no new VMs.",
            "uri": "qemu+tls://, qemu+ssh://, qemu+tcp://, qemu+unix:// or qemu://; never with a password.",
            "pool": "For disks and images; changed in maintenance and without VMs only.",
            "bridge": "One for each VLAN, as br{vlan}; with Open vSwitch the one that takes VLANs as tags.",
            "untagged_bridge": "For VMs without a VLAN.",
            "domain_type": "Empty: KVM where the node has it.",
            "cpu_mode": "host-model, host-passthrough, maximum or a CPU model. Empty: the best that the node can do.",
            "vcpu_overcommit": "How many vCPUs may be promised for each that the node has.",
        }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.initial["seen_version"] = self.instance.version

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        if not self.errors:
            _check(self, NodeCreate, self.body(), _NODE_FIELDS)
        return cleaned

    def body(self) -> dict[str, Any]:
        """The API's body for what the form says, without GPUs and images."""
        body: dict[str, Any] = {"capacity": {}}
        for path, name in _NODE_FIELDS.items():
            parent, _, child = path.rpartition(".")
            value = self.cleaned_data[name]
            (body[parent] if parent else body)[child] = None if value == "" and path in _NULLABLE else value
        return body


class GpuForm(GpuModelForm):
    class Meta:
        model = Gpu
        fields = tuple(_GPU_FIELDS.values())
        labels = {"memory_mb": "memory in MB", "pci_address": "PCI address"}

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        if not self.errors:
            _check(self, GpuBody, self.body(), _GPU_FIELDS)
        return cleaned

    def body(self) -> dict[str, Any]:
        return {path: self.cleaned_data[name] for path, name in _GPU_FIELDS.items()}


class NetworkForm(NetworkModelForm):
    class Meta:
        model = Network
        fields = ("segment", "vlan_id", "name", "subnet", "gateway", "organizations")
        labels = {"vlan_id": "VLAN ID"}
        help_texts = {
            "vlan_id": "1 to 4094, or 0 for the untagged network.",
            "organizations": "None: open to all.",
        }

    def clean_segment(self) -> str:
        segment: str = self.cleaned_data["segment"]
        if not re.fullmatch(r"[A-Za-z0-9._-]{1,60}", segment):
            raise forms.ValidationError("Must be letters, digits, dots, dashes and underscores, as a node's segment.")
        return segment

    def clean_vlan_id(self) -> int:
        vlan_id: int = self.cleaned_data["vlan_id"]
        if vlan_id > 4094:
            raise forms.ValidationError("Must be 0 to 4094.")
        return vlan_id

    def clean_subnet(self) -> str:
        subnet: str = self.cleaned_data["subnet"]
        if subnet:
            try:
                usable_subnet(subnet)
            except ValueError as e:
                raise forms.ValidationError(str(e)) from e
        return subnet

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        subnet, gateway = cleaned.get("subnet"), cleaned.get("gateway")
        if subnet and gateway and not is_host(IPv4Address(gateway), usable_subnet(subnet)):
            self.add_error("gateway", "Must be a host address of the subnet.")
        return cleaned


def gpu_bodies(forms_of_gpus: list[GpuForm]) -> list[dict[str, Any]]:
    """What stays of an inline's rows: neither the deleted nor the empty ones."""
    return [form.body() for form in forms_of_gpus if form.cleaned_data and not form.cleaned_data.get("DELETE")]


def image_names(forms_of_images: list["forms.ModelForm[NodeImage]"]) -> list[str]:
    return [
        form.cleaned_data["os_image"]
        for form in forms_of_images
        if form.cleaned_data and not form.cleaned_data.get("DELETE")
    ]


def _check(form: Any, body_class: Any, body: Mapping[str, Any], fields: Mapping[str, str]) -> None:
    """Put the faults that the API would name beside the form's own fields."""
    try:
        parse(body_class, body)
    except ValidationFailed as e:
        for error in e.errors:
            form.add_error(fields.get(error.field), error.message)
