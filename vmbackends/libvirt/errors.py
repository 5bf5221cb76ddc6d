"""libvirt's errors as those of `vmbackends.errors`.

Codes and domains are libvirt's: https://libvirt.org/html/libvirt-virterror.html
"""

import logging
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

import libvirt

from vmbackends.base import NodeRef, VmSpec
from vmbackends.errors import BackendError, NodeUnreachable, NotSupported, Refused
from vmbackends.libvirt.advice import NOT_LET_IN, advice

log = logging.getLogger(__name__)

_MISSING = frozenset({
    libvirt.VIR_ERR_NO_DOMAIN, libvirt.VIR_ERR_NO_DOMAIN_SNAPSHOT, libvirt.VIR_ERR_NO_DOMAIN_METADATA,
    libvirt.VIR_ERR_NO_STORAGE_POOL, libvirt.VIR_ERR_NO_STORAGE_VOL, libvirt.VIR_ERR_NO_NETWORK,
    libvirt.VIR_ERR_NO_INTERFACE, libvirt.VIR_ERR_NO_NWFILTER, libvirt.VIR_ERR_NO_NWFILTER_BINDING,
    libvirt.VIR_ERR_NO_NODE_DEVICE, libvirt.VIR_ERR_NO_SECRET, libvirt.VIR_ERR_DEVICE_MISSING,
})  # fmt: skip
_UNSUPPORTED = frozenset({
    libvirt.VIR_ERR_NO_SUPPORT, libvirt.VIR_ERR_CONFIG_UNSUPPORTED, libvirt.VIR_ERR_ARGUMENT_UNSUPPORTED,
    libvirt.VIR_ERR_OPERATION_UNSUPPORTED,
})  # fmt: skip
_TRANSPORT = NOT_LET_IN | {
    libvirt.VIR_ERR_UNKNOWN_HOST, libvirt.VIR_ERR_NO_CONNECT, libvirt.VIR_ERR_INVALID_CONN, libvirt.VIR_ERR_RPC,
    libvirt.VIR_ERR_GNUTLS_ERROR, libvirt.VIR_ERR_SSH, libvirt.VIR_ERR_LIBSSH, libvirt.VIR_ERR_NO_SERVER,
    libvirt.VIR_ERR_NO_CLIENT,
}  # fmt: skip
# A socket's failures have codes that mean other things elsewhere; that libvirt's client says so is their mark.
_TRANSPORT_DOMAINS = frozenset({
    libvirt.VIR_FROM_RPC, libvirt.VIR_FROM_REMOTE, libvirt.VIR_FROM_SSH, libvirt.VIR_FROM_LIBSSH,
    libvirt.VIR_FROM_AUTH,
})  # fmt: skip

# An absolute path, of which only the last name is shown: where a node keeps its files is no business of a VM's owner.
_A_PATH = re.compile(r"(?<![\w.:/-])/(?:[^\s/'\",;:]+/)+([^\s/'\",;:]+)")
_A_URI = re.compile(r"\b[A-Za-z][A-Za-z0-9+.-]*://[^\s'\"]*")
# A VM's domain, or a volume of it.
_A_VM = re.compile(r"(?:\b(?:domain|volume|file) )?(['\"]?)\bvm-([0-9a-f]{24})\b(?:[-.]\w+)*\1")
# Any other domain, where libvirt says whose a device or a name is: it may be somebody's who is no user of ours.
_OF_OURS = r"(?!vm-[0-9a-f]{24}\b)"
_A_DOMAIN = re.compile(
    rf"\b[Dd]omain (?:(['\"]){_OF_OURS}[^'\"]+\1|(?<=in use by driver QEMU, domain ){_OF_OURS}[^\n:]+)"
)
# ssh draws a box around its warnings.
_A_BOX = re.compile(r"@{4,}|^@ +| +@\r?$", re.MULTILINE)
_LONGEST_TEXT = 500


def _be_quiet(_context: None, _error: object) -> None:
    """libvirt prints each error to stderr unless somebody takes it; what matters is raised as well."""


libvirt.registerErrorHandler(_be_quiet, None)


def is_missing(error: libvirt.libvirtError) -> bool:
    """The node answered, and has no such thing."""
    return error.get_error_code() in _MISSING


def is_transport(error: libvirt.libvirtError) -> bool:
    """The node did not answer, by the looks of the error.

    A node that talks to a daemon of its own may hand on an error that looks like this. Whoever has the connection
    at hand asks whether it is alive.
    """
    code = error.get_error_code()
    # A node that is older than a call says so in the client's own name.
    if code in _UNSUPPORTED:
        return False
    return code in _TRANSPORT or error.get_error_domain() in _TRANSPORT_DOMAINS


@contextmanager
def translated(
    node: NodeRef, what: str, vm: VmSpec | None = None, *, answers: Callable[[], bool] | None = None
) -> Iterator[None]:
    """Turn each libvirtError into a BackendError. `what` says what was to be done, after "could not": "start it".

    `answers` tells whether the connection is alive still; without it, the error's looks decide.
    Raises NodeUnreachable, NotSupported or Refused.
    """
    try:
        yield
    except libvirt.libvirtError as e:
        lost = is_transport(e) if answers is None else not answers()
        raise _translation(e, node, what, vm, lost=lost) from e


def _translation(
    error: libvirt.libvirtError, node: NodeRef, what: str, vm: VmSpec | None, *, lost: bool
) -> BackendError:
    code = error.get_error_code()
    text = text_of(error, node, vm)
    log.info("libvirt refused", extra={"node": node.name, "task": what, "code": code, "text": str(error)})
    task = f"{what} (VM {vm.name})" if vm else what
    if lost:
        mend = advice(node.uri, code, str(error))
        return NodeUnreachable(f"Node {node.name} cannot be reached to {task}: {text}. {mend}.", code=code)
    if code == libvirt.VIR_ERR_OPERATION_TIMEOUT:
        # Another job holds the domain. The node is there, and the call may be repeated.
        return NodeUnreachable(f"Node {node.name} is too busy to {task}: {text}.", code=code, busy=True)
    if code in _UNSUPPORTED:
        return NotSupported(f"Node {node.name} cannot {task} as it is: {text}.", code=code)
    return Refused(f"Node {node.name} could not {task}: {text}.", code=code)


def text_of(error: libvirt.libvirtError, node: NodeRef, vm: VmSpec | None = None) -> str:
    """libvirt's own words on one line, without the node's URI, the user it names, or where files lie. What is said to
    the owner of a VM names no other."""
    text = str(error)
    if node.uri:
        text = text.replace(node.uri, "its URI")
        user, at, _ = urlsplit(node.uri).netloc.rpartition("@")
        text = text.replace(user + at, "") if user else text
    text = _A_PATH.sub(r"\1", _A_URI.sub("its URI", _A_BOX.sub("", text)))
    if vm is not None:
        text = _A_VM.sub(lambda found: found[0] if found[2] == vm.id else "another VM", text)
        text = _A_DOMAIN.sub("another domain", text)
    text = " ".join(text.split()).rstrip(".")
    return text if len(text) <= _LONGEST_TEXT else text[: _LONGEST_TEXT - 1] + "…"
