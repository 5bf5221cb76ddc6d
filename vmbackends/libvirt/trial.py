"""Which type of domain and which CPU truly work on a node.

libvirt offers KVM wherever /dev/kvm can be opened. Within a virtual machine it may open and yet run no guest: QEMU ends
at once, or the guest is paused for no known reason as soon as its kernel begins. So a guest is tried.
"""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import libvirt

from vmbackends.base import Power
from vmbackends.libvirt import domains, volumes
from vmbackends.libvirt.errors import is_transport
from vmbackends.libvirt.handles import Connection, Domain, Pool, Volume
from vmbackends.libvirt.xml.trial import trial_xml

# Best first.
CANDIDATES = (("kvm", "host-model"), ("kvm", "host-passthrough"), ("qemu", "maximum"), ("qemu", "qemu64"))
# A kernel that will be paused is so within a few seconds.
WATCHED_S = {"kvm": 8.0, "qemu": 1.0}
_LOOK_S = 0.2
NAME = "aiwm-trial"


@dataclass(frozen=True)
class Works:
    domain_type: str
    cpu_mode: str


def first_that_works(
    connection: Connection,
    pool: Pool,
    base: Volume | None,
    candidates: Iterable[tuple[str, str]] = CANDIDATES,
    sleep: Callable[[float], None] = time.sleep,
) -> Works | None:
    """Try them in order, on a clone of this image if there is one."""
    _clean(connection, pool)
    try:
        path = None
        if base is not None:
            gigabytes = -(-int(base.info()[1]) // volumes.GIB)
            path = volumes.clone(pool, f"{NAME}.qcow2", base, gigabytes).path()
        for domain_type, cpu_mode in candidates:
            if _works(connection, domain_type, cpu_mode, path, sleep):
                return Works(domain_type, cpu_mode)
    finally:
        _clean(connection, pool)
    return None


def _works(
    connection: Connection, domain_type: str, cpu_mode: str, path: str | None, sleep: Callable[[float], None]
) -> bool:
    try:
        domain = connection.createXML(trial_xml(NAME, domain_type, cpu_mode, path), 0)
    except libvirt.libvirtError as e:
        if is_transport(e):
            raise
        return False
    try:
        return _stays_on(domain, WATCHED_S[domain_type], sleep)
    finally:
        domains.power_off(domain)


def _stays_on(domain: Domain, seconds: float, sleep: Callable[[float], None]) -> bool:
    for _ in range(round(seconds / _LOOK_S)):
        if domains.power(domain)[0] is not Power.RUNNING:
            return False
        sleep(_LOOK_S)
    return True


def _clean(connection: Connection, pool: Pool) -> None:
    """What an earlier trial left whose worker was killed."""
    try:
        domains.power_off(connection.lookupByName(NAME))
    except libvirt.libvirtError as e:
        if is_transport(e):
            raise
    volumes.remove(pool, f"{NAME}.qcow2")
