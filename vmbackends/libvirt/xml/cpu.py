"""The CPU that a guest sees: https://libvirt.org/formatdomain.html#cpu-model-and-topology"""

from lxml import etree
from lxml.builder import E

_MODES = ("host-model", "host-passthrough", "maximum")


def cpu(mode: str, vcpus: int) -> "etree._Element":
    """One socket: systems and licences that count sockets see a single one, however many vCPUs there are."""
    topology = E.topology(sockets="1", cores=str(vcpus), threads="1")
    if not mode:
        return E.cpu(topology)
    if mode in _MODES:
        return E.cpu(topology, mode=mode)
    # A guest on another model than the operator's would not come up where its memory was saved.
    return E.cpu(E.model(mode, fallback="forbid"), topology, mode="custom", match="exact")
