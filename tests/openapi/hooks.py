"""What schemathesis cannot know: the ids of things that are there, and addresses that fit each other.

Only what is well-formed is replaced: what was generated to be refused stays as it is.
"""

import ipaddress
import os
import re
import uuid
from typing import Any

import schemathesis

NODE_ID = os.environ["AIWM_NODE_ID"]
DEVICES = 4
_OBJECT_ID = re.compile(r"[0-9a-f]{24}")
_KEY = re.compile(r"[!-~]{1,255}")
_DEVICE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,39}")
_PROFILE = re.compile(r"[1-7]g\.[1-9][0-9]{0,2}gb")


@schemathesis.hook
def map_headers(context: Any, headers: Any) -> Any:
    """A key of its own for each request: else one would be answered with what another had made, and deleted since."""
    if headers and _is(headers.get("Idempotency-Key"), _KEY):
        headers["Idempotency-Key"] = uuid.uuid4().hex
    return headers


@schemathesis.hook
def map_body(context: Any, body: Any) -> Any:
    if not isinstance(body, dict):
        return body
    if _is(body.get("nodeId"), _OBJECT_ID):
        body = {**body, "nodeId": NODE_ID}
    if isinstance(body.get("config"), dict):
        body = {**body, "config": _known(body["config"])}
    return body


def _known(config: dict[str, Any]) -> dict[str, Any]:
    gpu, network = config.get("gpuConfig"), config.get("networkConfig")
    if isinstance(gpu, dict) and gpu.get("enabled") is True:
        config = {**config, "gpuConfig": _of_the_node(gpu)}
    if isinstance(network, dict) and network.get("ipMode") == "static":
        config = {**config, "networkConfig": _fitting(network)}
    return config


def _of_the_node(gpu: dict[str, Any]) -> dict[str, Any]:
    devices = gpu.get("deviceIds")
    if isinstance(devices, list) and devices and all(_is(device, _DEVICE) for device in devices):
        wanted = len(devices)
        if wanted == len(set(devices)) and wanted <= 64:
            gpu = {**gpu, "deviceIds": [f"GPU-{number}" for number in range(min(wanted, DEVICES))]}
    if _is(gpu.get("migProfile"), _PROFILE):
        gpu = {**gpu, "migProfile": "1g.5gb"}
    return gpu


def _fitting(network: dict[str, Any]) -> dict[str, Any]:
    """Addresses that are hosts of one subnet, whatever its netmask; well-formed ones become different ones."""
    try:
        number = int(ipaddress.IPv4Address(network["ipAddress"]))
        mask = ipaddress.IPv4Network(f"0.0.0.0/{network['netmask']}")
        ipaddress.IPv4Address(network["gateway"])
    except (KeyError, TypeError, ValueError):
        return network
    if not 1 <= mask.prefixlen <= 30:
        return network
    subnet = 0x0A010000 | (number & 0xFFFC)
    addresses = {"ipAddress": subnet | 2, "gateway": subnet | 1}
    return {**network, **{name: str(ipaddress.IPv4Address(address)) for name, address in addresses.items()}}


def _is(value: object, pattern: re.Pattern[str]) -> bool:
    return isinstance(value, str) and pattern.fullmatch(value) is not None
