"""The body of a new VM, from the options of `vm create`. What is wrong in it the action says, all at once."""

import json
import sys
from argparse import ArgumentParser
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError

from nodes.cli import find_node
from resources.config import VIRTUAL_MACHINE, GpuMode, IpMode, NetworkMode, OsImage

# Options that say what the VM is; a file says it instead of them.
_SAYING = (
    "name", "description", "node", "image", "vcpus", "ram_gb", "ram_mb", "disk_gb", "gpu", "mig", "ip", "netmask",
    "gateway", "vlan", "hostname", "username", "ssh_key_file", "password_stdin",
)  # fmt: skip


def add_options(parser: ArgumentParser) -> None:
    parser.add_argument("--file", metavar="BODY.JSON", help="the API's whole body, in place of the options; - is stdin")
    parser.add_argument("--name")
    parser.add_argument("--description")
    parser.add_argument("--node", metavar="NODE", help="id or name")
    parser.add_argument("--image", help=", ".join(OsImage))
    parser.add_argument("--vcpus", type=int, metavar="N")
    ram = parser.add_mutually_exclusive_group()
    ram.add_argument("--ram-gb", type=int, metavar="N")
    ram.add_argument("--ram-mb", type=int, metavar="N")
    parser.add_argument("--disk-gb", type=int, metavar="N")
    gpu = parser.add_mutually_exclusive_group()
    gpu.add_argument("--gpu", nargs="+", metavar="GPU-0", help="whole GPUs of the node")
    gpu.add_argument("--mig", metavar="1g.5gb", help="one MIG instance")
    parser.add_argument("--ip", metavar="ADDRESS", help="static, with --netmask and --gateway; without it DHCP")
    parser.add_argument("--netmask")
    parser.add_argument("--gateway")
    parser.add_argument("--vlan", type=int, metavar="N")
    parser.add_argument("--hostname")
    parser.add_argument("--username")
    parser.add_argument("--ssh-key-file", metavar="FILE", help="a public key")
    parser.add_argument("--password-stdin", action="store_true", help="the first line of stdin is the password")


def body_of(options: Mapping[str, Any]) -> object:
    """What `resources.actions.create` takes."""
    said = [name for name in _SAYING if options[name] not in (None, False)]
    if options["file"] is None:
        return _body(options)
    if said:
        raise CommandError(f"--file says it all: leave out --{said[0].replace('_', '-')}.")
    return _of_file(options["file"])


def _body(options: Mapping[str, Any]) -> dict[str, Any]:
    ram_gb, ram_mb = options["ram_gb"], options["ram_mb"]
    config = {
        "type": VIRTUAL_MACHINE,
        "osImage": options["image"],
        "vcpus": options["vcpus"],
        "ramMB": ram_gb * 1024 if ram_gb is not None else ram_mb,
        "diskGB": options["disk_gb"],
        "gpuConfig": _gpu(options),
        "networkConfig": _network(options),
        "cloudInit": _cloud_init(options) or None,
    }
    return _given(
        {
            "name": options["name"],
            "description": options["description"],
            "resourceType": VIRTUAL_MACHINE,
            "nodeId": find_node(options["node"]).id if options["node"] is not None else None,
            "config": _given(config),
        }
    )


def _gpu(options: Mapping[str, Any]) -> dict[str, Any] | None:
    if options["gpu"]:
        return {"enabled": True, "mode": GpuMode.PASSTHROUGH.value, "deviceIds": options["gpu"]}
    if options["mig"]:
        return {"enabled": True, "mode": GpuMode.MIG.value, "migProfile": options["mig"]}
    return None


def _network(options: Mapping[str, Any]) -> dict[str, Any]:
    static = {"ipAddress": options["ip"], "netmask": options["netmask"], "gateway": options["gateway"]}
    mode = IpMode.STATIC if any(static.values()) else IpMode.DHCP
    return _given({"mode": NetworkMode.BRIDGE_VLAN.value, "ipMode": mode.value, **static, "vlanId": options["vlan"]})


def _cloud_init(options: Mapping[str, Any]) -> dict[str, Any]:
    return _given(
        {
            "hostname": options["hostname"],
            "username": options["username"],
            "sshPublicKey": _read(options["ssh_key_file"]) if options["ssh_key_file"] is not None else None,
            "password": _password() if options["password_stdin"] else None,
        }
    )


def _given(document: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in document.items() if value is not None}


def _password() -> str:
    password = sys.stdin.readline().rstrip("\r\n")
    if not password:
        raise CommandError("--password-stdin: stdin is empty.")
    return password


def _of_file(name: str) -> object:
    try:
        return json.loads(sys.stdin.read() if name == "-" else _read(name))
    except ValueError as e:
        raise CommandError(f"{name} is no JSON: {e}") from e


def _read(name: str) -> str:
    try:
        return Path(name).read_text(encoding="utf-8")
    except OSError as e:
        raise CommandError(f"{name} cannot be read: {e.strerror}") from e
    except UnicodeDecodeError as e:
        raise CommandError(f"{name} is no text in UTF-8") from e
