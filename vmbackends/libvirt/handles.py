"""libvirt's objects, as they stand in signatures. libvirt-python has no types, so to a checker they are all Any."""

from typing import TypeAlias

import libvirt

Connection: TypeAlias = libvirt.virConnect
Domain: TypeAlias = libvirt.virDomain
DomainSnapshot: TypeAlias = libvirt.virDomainSnapshot
Pool: TypeAlias = libvirt.virStoragePool
Stream: TypeAlias = libvirt.virStream
Volume: TypeAlias = libvirt.virStorageVol
