"""Which type of domain and which CPU truly work on a node.

libvirt offers KVM wherever /dev/kvm can be opened. Within a virtual machine it may open and yet run no guest: QEMU ends
at once, or the guest is paused for no known reason as soon as its kernel begins. So a guest is tried.
"""

import logging
import secrets
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import libvirt

from vmbackends.base import Power
from vmbackends.errors import Refused
from vmbackends.libvirt import domains, volumes
from vmbackends.libvirt.errors import is_transport
from vmbackends.libvirt.handles import Connection, Domain, Pool, Volume
from vmbackends.libvirt.xml.trial import trial_xml

log = logging.getLogger(__name__)

# Best first.
CANDIDATES = (("kvm", "host-model"), ("kvm", "host-passthrough"), ("qemu", "maximum"), ("qemu", "qemu64"))
# A kernel that will be paused is so within a few seconds.
WATCHED_S = {"kvm": 8.0, "qemu": 1.0}
_LOOK_S = 0.2
# What the names of all trials begin with; what follows is when each began, in seconds since 1970.
NAME = "aiwm-trial-"
# None takes so long: one that is older was left by a worker that was killed.
_LONGEST_S = 60


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
    """Try them in order, on a clone of this image if there is one. Raises Refused while another trial is under way."""
    _clean(connection, pool)
    name = f"{NAME}{int(time.time())}-{secrets.token_hex(4)}"
    try:
        path = None if base is None else _clone(pool, name, base)
        for domain_type, cpu_mode in candidates:
            if _works(connection, trial_xml(name, domain_type, cpu_mode, path), WATCHED_S[domain_type], sleep):
                return Works(domain_type, cpu_mode)
    finally:
        volumes.remove(pool, f"{name}.qcow2")
    return None


def _clone(pool: Pool, name: str, base: Volume) -> str | None:
    """None where it cannot be had, as in a pool that is full: then the firmware alone is tried."""
    try:
        return str(volumes.clone(pool, f"{name}.qcow2", base, -(-int(base.info()[1]) // volumes.GIB)).path())
    except Refused as e:
        log.info("a guest is tried without a disk", extra={"reason": e.message})
    except libvirt.libvirtError as e:
        if is_transport(e):
            raise
        log.info("a guest is tried without a disk", extra={"reason": str(e)})
    return None


def _works(connection: Connection, xml: str, seconds: float, sleep: Callable[[float], None]) -> bool:
    try:
        # It ends with the connection: no killed worker leaves it running.
        domain = connection.createXML(xml, libvirt.VIR_DOMAIN_START_AUTODESTROY)
    except libvirt.libvirtError as e:
        if is_transport(e):
            raise
        return False
    try:
        return _stays_on(domain, seconds, sleep)
    finally:
        domains.power_off(domain)


def _stays_on(domain: Domain, seconds: float, sleep: Callable[[float], None]) -> bool:
    for _ in range(round(seconds / _LOOK_S)):
        if domains.power(domain)[0] is not Power.RUNNING:
            return False
        sleep(_LOOK_S)
    return True


def _clean(connection: Connection, pool: Pool) -> None:
    """Take away what earlier trials left whose worker was killed. Raises Refused where one may still be under way."""
    for domain in connection.listAllDomains(libvirt.VIR_CONNECT_LIST_DOMAINS_ACTIVE):
        if domain.name().startswith(NAME):
            if time.time() - _began(domain.name()) < _LONGEST_S:
                raise Refused("Another check of this node is under way. Try again in a minute.")
            domains.power_off(domain)
    for volume in pool.listAllVolumes(0):
        if volume.name().startswith(NAME) and time.time() - _began(volume.name()) >= _LONGEST_S:
            volumes.remove(pool, volume.name())


def _began(name: str) -> int:
    """Long ago, where its name does not say."""
    digits = name.removeprefix(NAME).removesuffix(".qcow2").partition("-")[0]
    return int(digits) if digits.isdecimal() else 0
