"""What libvirt says of a domain's power, in our words.

https://libvirt.org/html/libvirt-libvirt-domain.html#virDomainState and the reasons beside it
"""

import libvirt

from vmbackends.base import Power

# Pauses in the middle of what libvirt itself does; they pass.
_PASSING = frozenset(
    {
        libvirt.VIR_DOMAIN_PAUSED_MIGRATION,
        libvirt.VIR_DOMAIN_PAUSED_SAVE,
        libvirt.VIR_DOMAIN_PAUSED_DUMP,
        libvirt.VIR_DOMAIN_PAUSED_FROM_SNAPSHOT,
        libvirt.VIR_DOMAIN_PAUSED_SHUTTING_DOWN,
        libvirt.VIR_DOMAIN_PAUSED_SNAPSHOT,
        libvirt.VIR_DOMAIN_PAUSED_STARTING_UP,
        libvirt.VIR_DOMAIN_PAUSED_POSTCOPY,
    }
)
_PAUSED = {
    libvirt.VIR_DOMAIN_PAUSED_USER: "paused by hand on its node",
    libvirt.VIR_DOMAIN_PAUSED_IOERROR: "paused because its disk failed: its node may be out of space",
    libvirt.VIR_DOMAIN_PAUSED_WATCHDOG: "paused by its watchdog",
    libvirt.VIR_DOMAIN_PAUSED_CRASHED: "paused because it crashed",
    libvirt.VIR_DOMAIN_PAUSED_POSTCOPY_FAILED: "paused because a migration failed",
}
_NO_REASON = "paused for no known reason: the hypervisor could not go on with it"
_OFF = {
    libvirt.VIR_DOMAIN_SHUTOFF_SHUTDOWN: "shut down from within",
    libvirt.VIR_DOMAIN_SHUTOFF_DESTROYED: "its power was cut",
    libvirt.VIR_DOMAIN_SHUTOFF_MIGRATED: "migrated away",
    libvirt.VIR_DOMAIN_SHUTOFF_SAVED: "saved to its node's disk",
}
# Off, and nobody asked for it. libvirt tells a guest's panic and a QEMU that was killed by one word.
_DIED = {
    libvirt.VIR_DOMAIN_SHUTOFF_CRASHED: "it panicked, or its QEMU was killed, as for want of memory",
    libvirt.VIR_DOMAIN_SHUTOFF_FAILED: "its QEMU could not be started",
    libvirt.VIR_DOMAIN_SHUTOFF_DAEMON: "its QEMU was lost while libvirt was not there",
}


def power_of(state: int, reason: int) -> tuple[Power, str]:
    """The power and, where it is not plainly on, why."""
    match state:
        case libvirt.VIR_DOMAIN_RUNNING | libvirt.VIR_DOMAIN_BLOCKED | libvirt.VIR_DOMAIN_SHUTDOWN:
            return Power.RUNNING, ""
        case libvirt.VIR_DOMAIN_PAUSED if reason in _PASSING:
            return Power.RUNNING, ""
        case libvirt.VIR_DOMAIN_PAUSED:
            return Power.PAUSED, _PAUSED.get(reason, _NO_REASON)
        case libvirt.VIR_DOMAIN_SHUTOFF if reason in _DIED:
            return Power.CRASHED, _DIED[reason]
        case libvirt.VIR_DOMAIN_SHUTOFF:
            return Power.OFF, _OFF.get(reason, "")
        case libvirt.VIR_DOMAIN_CRASHED:
            return Power.CRASHED, "the guest crashed"
        case libvirt.VIR_DOMAIN_PMSUSPENDED:
            return Power.PAUSED, "suspended by the guest itself"
    return Power.PAUSED, f"in a state that is not known here ({state}, {reason})"
