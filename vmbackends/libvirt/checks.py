"""What this backend will not take of a VM that the API's schema lets pass."""

import base64
import binascii
from collections.abc import Sequence

from vmbackends.base import Fault, VmSpec


def faults(vm: VmSpec) -> Sequence[Fault]:
    key = vm.cloud_init.ssh_public_key if vm.cloud_init else None
    if key is not None and not _decodes(key):
        return (
            Fault(
                "cloudInit.sshPublicKey",
                "The SSH public key is cut short. Paste the whole line of the .pub file.",
            ),
        )
    return ()


def _decodes(key: str) -> bool:
    """Whether its data has all the parts that their lengths promise: https://www.rfc-editor.org/rfc/rfc4253#section-6.6"""
    words = key.split()
    try:
        data = base64.b64decode(words[1], validate=True) if len(words) > 1 else b""
    except (binascii.Error, ValueError):
        return False
    parts = 0
    while data:
        length = int.from_bytes(data[:4], "big")
        if len(data) < 4 + length:
            return False
        data = data[4 + length :]
        parts += 1
    return parts >= 2
