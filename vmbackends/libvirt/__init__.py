"""VMs on real hypervisors, over libvirt's own protocol. Needs the extra `libvirt`.

`LibvirtBackend` is loaded when it is asked for: what builds XML and seeds needs no libvirt.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vmbackends.libvirt.backend import LibvirtBackend

__all__ = ["LibvirtBackend"]


def __getattr__(name: str) -> Any:
    if name == "LibvirtBackend":
        from vmbackends.libvirt.backend import LibvirtBackend

        return LibvirtBackend
    raise AttributeError(name)
