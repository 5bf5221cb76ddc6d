"""The address of a guest, as its agent tells it."""

# ruff: noqa: E402  # what imports libvirt comes after the look whether it is there

import math
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
        self.alive = True
        self.agent_answers_s = math.inf  # libvirt's default

    def XMLDesc(self, flags):
        channel = "<channel><target name='org.qemu.guest_agent.0' state='connected'/></channel>"
        return f"<domain><devices>{channel}</devices></domain>"

    def connect(self):
        return self

    def isAlive(self):
        return self.alive

    def agentSetResponseTimeout(self, seconds, flags):
        self.agent_answers_s = seconds

    def interfaceAddresses(self, source, flags):
        if source != libvirt.VIR_DOMAIN_INTERFACE_ADDRESSES_SRC_AGENT:
            raise libvirt.libvirtError("no network driver")
        assert self.agent_answers_s < 30, "a step would end before"
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


def test_a_node_that_keeps_no_leases_tells_none_and_one_that_is_away_is_an_error():
    domain = Domain()
    assert seen_address(domain, VM) is None
    domain.alive = False
    with pytest.raises(libvirt.libvirtError):
        seen_address(domain, VM)


def test_it_is_not_asked_for_where_it_is_known():
    assert seen_address(Domain((IPV4, "10.0.0.9")), replace(VM, network=replace(VM.network, ip_mode="static"))) is None
