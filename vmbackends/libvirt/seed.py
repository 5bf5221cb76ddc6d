"""The seed that tells a guest at its first boot who it is, as cloud-init and cloudbase-init read it.

https://cloudinit.readthedocs.io/en/latest/reference/datasources/nocloud.html
https://cloudbase-init.readthedocs.io/en/latest/services.html#nocloud-configuration-drive
"""

import math
import re
import unicodedata
from collections.abc import Mapping
from io import BytesIO
from ipaddress import IPv4Interface
from typing import Any

import pycdlib
import yaml

from vmbackends.base import ImageSpec, NetworkSpec, Secret, VmSpec

_LABEL = "cidata"
_MAX_LABEL = 63  # RFC 1035, section 2.3.4


class Confidential(bytes):
    """Bytes with a password in them, which no traceback, log or failed assertion may show."""

    def __repr__(self) -> str:
        return f"<{len(self)} confidential bytes>"

    __str__ = __repr__


def documents(vm: VmSpec, image: ImageSpec, secret: Secret | None) -> Mapping[str, bytes]:
    """The files of the seed by name. Raises ValueError for a secret of the kind that this guest cannot use."""
    if secret is not None and secret.hashed == image.windows:
        raise ValueError("Windows takes a password in clear, any other guest its hash")
    user_data = _windows_user_data(vm, secret) if image.windows else _linux_user_data(vm, secret)
    meta_data = {"instance-id": vm.id, "local-hostname": hostname(vm)}
    if image.windows:
        meta_data |= _windows_administrator(vm, secret)
    return {
        "meta-data": Confidential(_yaml(meta_data)),
        "user-data": Confidential(b"#cloud-config\n" + _yaml(user_data)),
        "network-config": _yaml(_network_config(vm.network)),
    }


def iso(documents: Mapping[str, bytes]) -> bytes:
    """An ISO 9660 image with these files, as Linux (Rock Ridge) and Windows (Joliet) read it."""
    image = pycdlib.PyCdlib()
    image.new(interchange_level=3, vol_ident=_LABEL, joliet=3, rock_ridge="1.09")
    for number, (name, content) in enumerate(documents.items()):
        image.add_fp(BytesIO(content), len(content), iso_path=f"/FILE{number}.;1", rr_name=name, joliet_path=f"/{name}")
    written = BytesIO()
    image.write_fp(written)
    image.close()
    return Confidential(written.getvalue())


def hostname(vm: VmSpec) -> str:
    """What was asked for; else the VM's name, as far as it is made of what RFC 1123 allows; else the domain's name.

    Digits alone would be taken for an address, and Windows takes no such name.
    """
    if vm.cloud_init is not None and vm.cloud_init.hostname:
        return vm.cloud_init.hostname
    plain = unicodedata.normalize("NFKD", vm.name).encode("ascii", "ignore").decode().lower()
    spelled = re.sub("[^a-z0-9]+", "-", plain).strip("-")[:_MAX_LABEL].rstrip("-")
    return vm.domain_name if not spelled or spelled.isdigit() else spelled


def _linux_user_data(vm: VmSpec, secret: Secret | None) -> dict[str, Any]:
    """https://cloudinit.readthedocs.io/en/latest/reference/modules.html"""
    # `localhost` keeps the name resolvable and leaves the rest of /etc/hosts to its owner.
    data: dict[str, Any] = {"hostname": hostname(vm), "manage_etc_hosts": "localhost", "ssh_pwauth": secret is not None}
    if vm.cloud_init is None:
        return data
    user: dict[str, Any] = {
        "name": vm.cloud_init.username or "ubuntu",
        "shell": "/bin/bash",
        "sudo": "ALL=(ALL) NOPASSWD:ALL",
        "lock_passwd": secret is None,
    }
    if secret is not None:
        user["hashed_passwd"] = secret.value
    if vm.cloud_init.ssh_public_key:
        user["ssh_authorized_keys"] = [vm.cloud_init.ssh_public_key]
    if user["name"] == "root":
        data["disable_root"] = False
    return {**data, "users": [user]}


def _windows_user_data(vm: VmSpec, secret: Secret | None) -> dict[str, Any]:
    """https://cloudbase-init.readthedocs.io/en/latest/userdata.html#cloud-config"""
    if vm.cloud_init is None:
        return {}
    user: dict[str, Any] = {"name": vm.cloud_init.username or "Administrator", "groups": ["Administrators"]}
    if secret is not None:
        user["passwd"] = secret.value
    if vm.cloud_init.ssh_public_key:
        user["ssh_authorized_keys"] = [vm.cloud_init.ssh_public_key]
    return {"users": [user]}


def _windows_administrator(vm: VmSpec, secret: Secret | None) -> dict[str, str]:
    """The password once more: a plugin of cloudbase-init that runs after user-data's would set one at random."""
    if vm.cloud_init is None or secret is None:
        return {}
    return {"admin-username": vm.cloud_init.username or "Administrator", "admin-password": secret.value}


def _network_config(network: NetworkSpec) -> dict[str, Any]:
    """https://cloudinit.readthedocs.io/en/latest/reference/network-config-format-v2.html

    No name servers: nobody said which. The interface is named as well as matched, since the oldest releases of
    cloud-init take the key for its name; they and the newest take 0.0.0.0/0 for the default route.
    """
    ethernet: dict[str, Any] = {"match": {"macaddress": network.mac.lower()}, "set-name": "eth0"}
    if network.ip_mode == "dhcp":
        ethernet["dhcp4"] = True
    else:
        ethernet["dhcp4"] = False
        ethernet["addresses"] = [IPv4Interface(f"{network.ip_address}/{network.netmask}").with_prefixlen]
        ethernet["routes"] = [{"to": "0.0.0.0/0", "via": network.gateway}]
    return {"version": 2, "ethernets": {"eth0": ethernet}}


def _yaml(data: Mapping[str, Any]) -> bytes:
    return yaml.safe_dump(dict(data), sort_keys=False, allow_unicode=True, width=math.inf).encode()
