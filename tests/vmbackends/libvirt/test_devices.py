"""What domains have that are not AIWM's, on libvirt's own mock. Real ones are in tests/hypervisor."""

# ruff: noqa: E402  # what imports libvirt comes after the look whether it is there

from dataclasses import replace

import pytest
from lxml.builder import E

libvirt = pytest.importorskip("libvirt", reason="needs the extra `libvirt`")

from lxml import etree

from tests.vmbackends.specs import vm_spec
from vmbackends.base import Devices, NodeSettings
from vmbackends.libvirt.devices import devices_of_others
from vmbackends.libvirt.xml.metadata import identity

LINUX = NodeSettings(bridge="br{vlan}", untagged_bridge="br0")
OVS = NodeSettings(bridge="sw0", untagged_bridge="sw1", openvswitch=True)
ADDRESS = "10.0.0.5"


@pytest.fixture
def connection():
    connection = libvirt.open("test:///default")
    connection.lookupByName("test").destroy()
    yield connection
    connection.close()


def card(source, *children, address=ADDRESS, kind="bridge"):
    if address is not None:
        children += (E.filterref(E.parameter(name="IP", value=address), filter="clean-traffic"),)
    return E.interface(E.source(**{kind: source}), *children, type=kind)


def define(connection, *cards, identity=()):
    named = identity or (E.name("theirs"),)
    domain = E.domain(
        *named, E.memory("1", unit="MiB"), E.os(E.type("hvm", arch="x86_64")), E.devices(*cards), type="test"
    )
    return connection.defineXML(etree.tostring(domain, encoding="unicode"))


def addresses(connection, settings, vm_ids=()):
    return dict(devices_of_others(connection, settings, vm_ids).addresses)


@pytest.mark.parametrize(
    ("settings", "cards", "found"),
    [
        (LINUX, [card("br0")], [(0, ADDRESS)]),
        (LINUX, [card("br100"), card("br7", address="10.0.0.9")], [(100, ADDRESS), (7, "10.0.0.9")]),
        (LINUX, [card("br"), card("br1x"), card("xbr1"), card("br01"), card("br99999"), card("virbr0")], []),
        (LINUX, [card("default", kind="network")], []),
        (LINUX, [card("br0", address=None)], []),
        (LINUX, [card("br0", address="no address"), card("br0", address="127.0.0.1")], []),
        (OVS, [card("sw0", E.virtualport(type="openvswitch"), E.vlan(E.tag(id="100")))], [(100, ADDRESS)]),
        (OVS, [card("sw1", E.virtualport(type="openvswitch"), E.vlan(E.tag(id="0")))], [(0, ADDRESS)]),
        (OVS, [card("sw0", E.virtualport(type="openvswitch"), E.vlan(E.tag(id="1"), E.tag(id="2")))], []),
        (OVS, [card("sw0", E.virtualport(type="openvswitch")), card("br1")], []),
    ],
)
def test_addresses_count_that_a_domain_is_held_to_on_networks_of_ours(connection, settings, cards, found):
    define(connection, *cards)
    assert addresses(connection, settings) == dict.fromkeys(found, "theirs")


def test_an_orphan_of_ours_tells_its_address_in_its_metadata(connection):
    vm = vm_spec()
    vm = replace(vm, network=replace(vm.network, ip_address=ADDRESS))
    tagged = card("sw0", E.virtualport(type="openvswitch"), E.vlan(E.tag(id="100")), address=None)
    define(connection, tagged, identity=tuple(identity(vm)))
    assert addresses(connection, OVS) == {(100, ADDRESS): vm.domain_name}
    assert devices_of_others(connection, OVS, [vm.id]) == Devices()
