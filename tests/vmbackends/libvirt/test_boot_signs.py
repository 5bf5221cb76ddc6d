"""The address of a guest, as its agent tells it."""

# ruff: noqa: E402  # what imports libvirt comes after the look whether it is there

from dataclasses import replace

import pytest

libvirt = pytest.importorskip("libvirt", reason="needs the extra `libvirt`")

from tests.vmbackends.specs import vm_spec
from vmbackends.base import NetworkSpec
from vmbackends.libvirt.boot_signs import seen_address

MAC = "52:54:00:00:00:09"
VM = replace(vm_spec(), network=NetworkSpec(MAC, None, "dhcp"))
IPV4, IPV6 = libvirt.VIR_IP_ADDR_TYPE_IPV4, libvirt.VIR_IP_ADDR_TYPE_IPV6


class Domain:
    """One whose agent tells these addresses, of types, of its interface."""

    def __init__(self, *addresses):
        self.addresses = addresses

    def XMLDesc(self, flags):
        channel = "<channel><target name='org.qemu.guest_agent.0' state='connected'/></channel>"
        return f"<domain><devices>{channel}</devices></domain>"

    def interfaceAddresses(self, source, flags):
        if source != libvirt.VIR_DOMAIN_INTERFACE_ADDRESSES_SRC_AGENT:
            return {}
        addresses = [{"type": kind, "addr": text, "prefix": 24} for kind, text in self.addresses]
        return {
            "lo": {"hwaddr": "00:00:00:00:00:00", "addrs": [{"type": IPV4, "addr": "10.9.9.9", "prefix": 8}]},
            "eth0": {"hwaddr": MAC.upper(), "addrs": addresses},
            "eth1": {"hwaddr": MAC, "addrs": None},
        }


def test_it_is_the_one_of_its_own_interface():
    assert seen_address(Domain((IPV6, "2001:db8::9"), (IPV4, "10.0.0.9")), VM) == "10.0.0.9"


def test_it_is_passed_over_where_it_is_none_that_a_host_can_have():
    assert seen_address(Domain((IPV4, "x" * 323)), VM) is None
    assert seen_address(Domain((IPV4, "169.254.7.7"), (IPV4, "127.0.0.1"), (IPV4, "10.0.0.9")), VM) == "10.0.0.9"


def test_it_is_not_asked_for_where_it_is_known():
    assert seen_address(Domain((IPV4, "10.0.0.9")), replace(VM, network=replace(VM.network, ip_mode="static"))) is None
