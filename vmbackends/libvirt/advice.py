"""What an operator does about a node that cannot be reached: libvirt's words tell why, its codes do not."""

import re
from collections.abc import Mapping
from urllib.parse import urlsplit

import libvirt

_IS_IT_ON = "Check that it is on and runs libvirt"
NOT_LET_IN = frozenset({
    libvirt.VIR_ERR_AUTH_FAILED, libvirt.VIR_ERR_AUTH_CANCELLED, libvirt.VIR_ERR_AUTH_UNAVAILABLE,
})  # fmt: skip

# By transport, the first pattern that is found. ssh's words are those of the worker's own ssh.
_CAUSES: Mapping[str, Mapping[str, str]] = {
    # Not every word of TLS: a connection that ends as its node does says TLS as well.
    "qemu+tls": {
        r"peer's certificate|TLS handshake": (
            "Check that the node's certificate is in date, of the worker's authority, and for the name in its URI"
        ),
        r"TLS confirmation": (
            "Check that the worker's certificate is of the node's authority, and its name in tls_allowed_dn_list there"
        ),
        r"certificate|x509": (
            "Check that the files in pkipath are there, the worker's to read, in date, and signed by its cacert.pem"
        ),
    },
    "qemu+ssh": {
        r"polkit|-sock\W*: Permission denied": "Check that the URI's user is in the group libvirt on the node",
        r"Host key verification failed|HOST IDENTIFICATION HAS CHANGED": (
            "Compare the node's host key with the one in /etc/ssh/ssh_known_hosts on the worker's machine, or enter it"
        ),
        r"Permission denied|bad permissions": (
            "Check that the key is the worker's own to read, has no passphrase, and lets in the URI's user on the node"
        ),
    },
}


def advice(uri: str, code: int, words: str) -> str:
    """A sentence without its stop, for what libvirt said of this URI."""
    for pattern, cause in _CAUSES.get(urlsplit(uri).scheme, {}).items():
        if re.search(pattern, words):
            return cause
    return "Check the keys or certificates of both" if code in NOT_LET_IN else _IS_IT_ON
