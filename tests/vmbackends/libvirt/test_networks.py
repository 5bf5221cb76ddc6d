"""Nodes whose libvirt has no filters, and those that need none. What real ones do is in tests/hypervisor."""

# ruff: noqa: E402  # what imports libvirt comes after the look whether it is there

import pytest

libvirt = pytest.importorskip("libvirt", reason="needs the extra `libvirt`")

from tests.vmbackends.specs import vm_spec
from vmbackends.base import NodeRef, NodeSettings
from vmbackends.errors import NotSupported
from vmbackends.libvirt import networks

LINUX = NodeRef("6" * 24, "node-1", settings=NodeSettings(bridge="eth{vlan}", untagged_bridge="eth1"))
OVS = NodeRef("6" * 24, "node-1", settings=NodeSettings(bridge="eth1", untagged_bridge="eth1", openvswitch=True))


@pytest.fixture
def connection():
    """libvirt's own mock, which knows no filters and has the one interface eth1."""
    connection = libvirt.open("test:///default")
    yield connection
    connection.close()


def test_no_vm_runs_without_a_filter(connection):
    with pytest.raises(NotSupported, match=r"^On node node-1 libvirt has no network filters.* Install "):
        networks.filter_for(connection, LINUX, vm_spec())


def test_open_vswitch_has_no_filters_of_libvirt(connection):
    assert networks.filter_for(connection, OVS, vm_spec()) is None


def test_a_node_without_filters_lacks_them_unless_it_has_open_vswitch(connection):
    assert [lack.what.partition(",")[0] for lack in networks.lacks(connection, LINUX)] == [
        "Its libvirt has no network filters"
    ]
    assert networks.lacks(connection, OVS) == ()


class Unlisted:
    """A node whose libvirt has filters, and lists no interfaces: another call of libvirt's mock fails in its place."""

    def __init__(self, fails, *, alive=True):
        self._fails = fails
        self._alive = alive

    def numOfNWFilters(self):
        return 0

    def listAllInterfaces(self, flags):
        return self._fails()

    def isAlive(self):
        return self._alive


NO_BRIDGES = NodeRef("6" * 24, "node-1", settings=NodeSettings(bridge="no{vlan}", untagged_bridge="none"))


def test_what_libvirt_does_not_list_is_not_said_to_be_lacking(connection):
    for fails in (connection.numOfNWFilters, lambda: connection.lookupByName("nobody")):
        assert networks.lacks(Unlisted(fails), NO_BRIDGES) == ()
        networks.see_bridge(Unlisted(fails), NO_BRIDGES, vm_spec())


def test_filters_whose_daemon_is_not_there_are_none(connection):
    class Connection(Unlisted):
        def numOfNWFilters(self):
            return libvirt.open("qemu+unix:///system?socket=/none/libvirt-sock")  # as a call of an absent daemon

        def nwfilterLookupByName(self, name):
            return self.numOfNWFilters()

    node = Connection(connection.numOfNWFilters)
    with pytest.raises(NotSupported, match=r"^On node node-1 libvirt has no network filters"):
        networks.filter_for(node, LINUX, vm_spec())
    assert networks.lacks(node, LINUX)[0].what.startswith("Its libvirt has no network filters")


def test_filters_that_may_not_be_looked_at_are_not_said_to_be_missing(connection):
    class Connection(Unlisted):
        def numOfNWFilters(self):
            return connection.createXML("<none/>")  # which fails by another code

    with pytest.raises(libvirt.libvirtError):
        networks.lacks(Connection(None), LINUX)


def test_a_connection_that_is_lost_is_not_taken_for_one_that_lists_nothing(connection):
    lost = Unlisted(connection.numOfNWFilters, alive=False)
    with pytest.raises(libvirt.libvirtError):
        networks.see_bridge(lost, NO_BRIDGES, vm_spec())


def test_where_libvirt_lists_no_interfaces_no_bridge_is_said_to_be_lacking():
    class Connection:
        def numOfNWFilters(self):
            return 0

        def listAllInterfaces(self, flags):
            return []

    assert networks.lacks(Connection(), LINUX) == ()


def test_other_errors_are_not_taken_for_missing_filters():
    connection = libvirt.open("test:///default")
    connection.close()

    with pytest.raises(libvirt.libvirtError):
        networks.filter_for(connection, LINUX, vm_spec())
    with pytest.raises(libvirt.libvirtError):
        networks.lacks(connection, LINUX)
