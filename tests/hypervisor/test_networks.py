"""Two VLANs do not see each other, and a guest that takes its neighbour's address is not heard."""

import json
import shutil
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import libvirt
import pytest
from lxml import etree

from lab.node import Node
from tests.hypervisor import heard, openvswitch
from tests.hypervisor.guests import guest_spec, node_ref, wait_for
from tests.hypervisor.labguests import wait
from vmbackends.base import ImageSpec, NetworkSpec, NodeRef, NodeSettings, Power, VmSpec
from vmbackends.errors import Refused
from vmbackends.libvirt import LibvirtBackend, names, networks
from vmbackends.libvirt.xml import nwfilters

IMAGE = ImageSpec("image-tiny-networks.qcow2", ready="cloud-init")
# The networks of a node's VLANs are halves of this one: to a guest of one, those of the other are neighbours.
BOTH_VLANS = "255.255.252.0"
HOOK = Path(__file__).parents[2] / "hooks/qemu.d/aiwm.py"
BOOT_S = 180  # some five on a machine that does nothing else
NOBODY: dict[str, list[str]] = {"arp": [], "ip": []}


@dataclass
class Place:
    """A node, and guests on it, by what the tests call them."""

    node: Node
    ref: NodeRef
    backend: LibvirtBackend = field(default_factory=LibvirtBackend)
    vms: dict[str, VmSpec] = field(default_factory=dict)

    def begin(self, name: str, network: NetworkSpec, *, takes: str | None = None) -> None:
        """A guest that starts to boot. `takes` is the address that it is told, where that is not its own."""
        vm = guest_spec(image=IMAGE, ram_mb=256, network=network)
        self.vms[name] = vm
        self.backend.create_disk(self.ref, vm)
        told = vm if takes is None else replace(vm, network=replace(network, ip_address=takes))
        self.backend.write_seed(self.ref, told, None)
        self.backend.define(self.ref, vm)
        self.backend.start(self.ref, vm)

    def begin_two(self) -> None:
        """Neighbours in VLAN 100, of whom one takes the other's address."""
        self.begin("owner", self.static("52:54:00:00:aa:01", 10))
        self.begin("thief", self.static("52:54:00:00:aa:02", 11), takes=self.address("owner"))

    def let_boot(self) -> None:
        for vm in self.vms.values():
            wait(lambda vm=vm: self.backend.domain(self.ref, vm).booted, within_s=BOOT_S)

    def remove(self) -> None:
        for vm in self.vms.values():
            self.backend.power_off(self.ref, vm)
            self.backend.undefine(self.ref, vm)
            self.backend.delete_disks(self.ref, vm)
        self.backend.remove_image(self.ref, IMAGE.volume)

    def static(self, mac: str, host: int) -> NetworkSpec:
        lan = self.node.lan(100)
        return NetworkSpec(mac, 100, "static", str(lan.network[host]), BOTH_VLANS, str(lan.gateway))

    def address(self, name: str) -> str:
        return self.vms[name].network.ip_address

    def mac(self, name: str) -> str:
        return self.vms[name].network.mac

    def heard(self, interface: str, address: str) -> dict[str, list[str]]:
        """The MACs that answer for this address on this interface of the node."""
        asker = str(self.node.lan(100).network[250])
        return json.loads(self.node.run(sys.executable, heard.__file__, interface, address, asker))

    def xml(self, name: str) -> str:
        return self.node.virsh("dumpxml", self.vms[name].domain_name)


def answers(*names_: str, on: Place) -> dict[str, list[str]]:
    macs = sorted(on.mac(name) for name in names_)
    return {"arp": macs, "ip": macs}


# A guest under emulation takes seconds for its first answer, and many beside other work.
SECONDS = 45


def get(address: str, path: str = "/") -> dict:
    with urllib.request.urlopen(f"http://{address}{path}", timeout=SECONDS) as answer:
        return json.load(answer)


def get_inside(node: Node, address: str, path: str = "/") -> dict:
    """The same from the node itself, which alone is on VLAN 200."""
    code = "import sys, urllib.request; print(urllib.request.urlopen(sys.argv[1], timeout=45).read().decode())"
    return json.loads(node.run(sys.executable, "-c", code, f"http://{address}{path}"))


# Filters and bridges as libvirt has them


@pytest.fixture(scope="module")
def connection(lab_nodes):
    """To a node where no guest has a filter: libvirt would write the rules of each anew."""
    connection = libvirt.open(lab_nodes[1].uri)
    yield connection
    connection.close()


@pytest.mark.parametrize(
    ("network", "name"),
    [
        (NetworkSpec("52:54:00:00:aa:05", 100, "static", "198.18.1.1", "255.255.255.0", "198.18.1.254"), "aiwm-static"),
        (NetworkSpec("52:54:00:00:aa:05", 100, "dhcp"), "aiwm-dhcp"),
    ],
)
def test_a_filter_is_defined_and_mended_and_else_left_alone(lab_nodes, connection, network, name):
    ref, vm = node_ref(lab_nodes[1]), guest_spec(network=network)
    assert networks.filter_for(connection, ref, vm) == name
    wanted = nwfilters.filter_xml(name)
    assert nwfilters.same(connection.nwfilterLookupByName(name).XMLDesc(0), wanted)

    connection.nwfilterDefineXML(wanted.replace("drop", "accept"))
    assert not nwfilters.same(connection.nwfilterLookupByName(name).XMLDesc(0), wanted)

    assert networks.filter_for(connection, ref, vm) == name
    assert nwfilters.same(connection.nwfilterLookupByName(name).XMLDesc(0), wanted)


@pytest.mark.parametrize(
    ("settings", "lacking"),
    [
        (NodeSettings(), []),
        (NodeSettings(bridge="vlan{vlan}"), ["It has no bridge for any VLAN, named vlan{vlan}."]),
        (NodeSettings(untagged_bridge="lan0"), ["It has no bridge lan0."]),
        (
            NodeSettings(bridge="ovsbr1", untagged_bridge="ovsbr1", openvswitch=True),
            ["libvirt sees no Open vSwitch bridge ovsbr1."],
        ),
    ],
)
def test_a_node_lacks_the_bridges_that_it_does_not_have(lab_nodes, connection, settings, lacking):
    ref = replace(node_ref(lab_nodes[1]), settings=settings)

    assert [lack.what for lack in networks.lacks(connection, ref)] == lacking


@pytest.mark.parametrize(
    ("vlan_id", "untagged", "named"),
    [
        (300, "br0", "bridge br300, which VLAN 300 needs"),
        (None, "lan0", "bridge lan0, which the untagged network needs"),
    ],
)
def test_no_vm_is_defined_without_its_bridge(lab_nodes, backend, vlan_id, untagged, named):
    ref = replace(node_ref(lab_nodes[1]), settings=NodeSettings(untagged_bridge=untagged, domain_type="qemu"))
    vm = guest_spec(network=NetworkSpec("52:54:00:00:aa:06", vlan_id, "dhcp"))

    with pytest.raises(Refused, match=f"has no {named}.*ask an operator to make the bridge"):
        backend.define(ref, vm)

    assert backend.domain(ref, vm).power is Power.MISSING


def test_a_bridge_of_open_vswitch_is_not_looked_for(lab_nodes, connection):
    settings = NodeSettings(bridge="ovsbr1", untagged_bridge="ovsbr1", openvswitch=True)
    ref = replace(node_ref(lab_nodes[1]), settings=settings)

    networks.see_bridge(connection, ref, guest_spec())


# Linux bridges


@pytest.fixture(scope="module")
def bridges(lab_nodes, tiny_linux):
    place = Place(lab_nodes[0], node_ref(lab_nodes[0]))
    place.backend.push_image(place.ref, IMAGE, tiny_linux, lambda sent: None)
    try:
        with dhcp_in_vlan_200(place.node):
            place.begin_two()
            place.begin("stranger", NetworkSpec("52:54:00:00:aa:03", 200, "dhcp"))
            place.let_boot()
            yield place
    finally:
        place.remove()


@contextmanager
def dhcp_in_vlan_200(node: Node) -> Iterator[None]:
    lan, pid, leases = node.lan(200), node.folder / "dnsmasq-200.pid", node.folder / "leases-200"
    node.run(
        "dnsmasq", "--conf-file=/dev/null", "--user=root", "--port=0", f"--pid-file={pid}", "--bind-interfaces",
        f"--interface={lan.bridge}", f"--dhcp-leasefile={leases}", "--dhcp-authoritative",
        f"--dhcp-range={lan.network[100]},{lan.network[199]},{BOTH_VLANS},1h",
    )  # fmt: skip
    try:
        yield
    finally:
        node.run("kill", pid.read_text().strip())
        leases.unlink()


def leased(place: Place, name: str) -> str:
    leases = [line.split() for line in (place.node.folder / "leases-200").read_text().splitlines()]
    [address] = [lease[2] for lease in leases if lease[1] == place.mac(name)]
    return address


def test_two_vlans_on_linux_bridges_do_not_see_each_other(bridges):
    owner, stranger = bridges.address("owner"), leased(bridges, "stranger")

    assert get(owner)["mac"] == bridges.mac("owner")
    assert get_inside(bridges.node, stranger)["mac"] == bridges.mac("stranger")
    assert get(owner, f"/cgi-bin/reach?{bridges.node.lan(100).gateway}") == {"reached": True}
    assert get(owner, f"/cgi-bin/reach?{stranger}") == {"reached": False}
    assert get_inside(bridges.node, stranger, f"/cgi-bin/reach?{owner}") == {"reached": False}
    assert bridges.heard("br200", stranger) == answers("stranger", on=bridges)
    assert bridges.heard("br100", stranger) == NOBODY
    assert bridges.heard("br200", owner) == NOBODY


def test_one_with_dhcp_is_heard_from_the_address_it_was_given(bridges):
    address = leased(bridges, "stranger")

    answer = get_inside(bridges.node, address)

    assert (answer["dhcp"], answer["address"].partition("/")[0]) == (True, address)
    assert address in bridges.node.run("ebtables", "-t", "nat", "-L")


def test_one_that_takes_its_neighbours_address_is_not_heard_on_a_linux_bridge(bridges):
    assert bridges.heard("br100", bridges.address("owner")) == answers("owner", on=bridges)
    assert bridges.heard("br100", bridges.address("thief")) == NOBODY
    assert get(bridges.address("owner"))["mac"] == bridges.mac("owner")


def test_it_is_the_filter_that_keeps_it_quiet_and_that_for_dhcp_does_too(bridges):
    set_filter(bridges, "thief", None)
    assert bridges.heard("br100", bridges.address("owner")) == answers("owner", "thief", on=bridges)

    set_filter(bridges, "thief", etree.fromstring(
        "<filterref filter='aiwm-dhcp'><parameter name='CTRL_IP_LEARNING' value='dhcp'/></filterref>"
    ))  # fmt: skip
    assert bridges.heard("br100", bridges.address("owner")) == answers("owner", on=bridges)


def set_filter(place: Place, name: str, filterref: "etree._Element | None") -> None:
    """Of the domain as it runs."""
    interface = etree.fromstring(place.xml(name)).find("devices/interface")
    old = interface.find("filterref")
    if old is not None:
        interface.remove(old)
    if filterref is not None:
        interface.append(filterref)
    path = place.node.folder / "interface.xml"
    path.write_bytes(etree.tostring(interface))
    place.node.virsh("update-device", place.vms[name].domain_name, str(path), "--live")


# Open vSwitch


@pytest.fixture(scope="module")
def switch(lab_nodes, tiny_linux):
    """Its guests are asked by ARP and ping alone: in the userspace datapath nobody fills in the checksums that a guest
    leaves to its network card, and so there is no TCP between guest and node."""
    node = lab_nodes[1]
    openvswitch.start(node)
    hook = node.hooks / "qemu.d/aiwm"
    hook.parent.mkdir()
    shutil.copy(HOOK, hook)
    restart(node)
    settings = NodeSettings(
        bridge=openvswitch.BRIDGE, untagged_bridge=openvswitch.BRIDGE, openvswitch=True, domain_type="qemu",
        cpu_mode="qemu64",
    )  # fmt: skip
    place = Place(node, replace(node_ref(node), settings=settings))
    place.backend.push_image(place.ref, IMAGE, tiny_linux, lambda sent: None)
    try:
        place.begin_two()
        place.let_boot()
        yield place
    finally:
        place.remove()
        shutil.rmtree(hook.parent)
        node.reboot()


def restart(node: Node) -> None:
    node.kill_daemon()
    node.start_daemon()


def flows_of(place: Place, name: str) -> int:
    return place.node.run("ovs-ofctl", "dump-flows", openvswitch.BRIDGE).count(f"cookie=0x{place.vms[name].id[-16:]}")


def run_hook(place: Place, name: str, operation: str, xml: str | None = None) -> None:
    """As libvirt does, on a domain that it knows as `xml`."""
    path = place.node.folder / "hook.xml"
    path.write_text(xml or place.xml(name))
    place.node.run("sh", "-c", f'"$0" name {operation} begin - <{path}', HOOK)


def test_two_vlans_on_open_vswitch_do_not_see_each_other(switch):
    assert switch.heard("gw100", switch.address("owner")) == answers("owner", on=switch)
    assert switch.heard("gw200", switch.address("owner")) == NOBODY

    switch.node.run("ovs-vsctl", "set", "port", "gw200", "tag=100")
    assert switch.heard("gw200", switch.address("owner")) == answers("owner", on=switch)


def test_one_that_takes_its_neighbours_address_is_not_heard_on_open_vswitch(switch):
    assert switch.heard("gw100", switch.address("owner")) == answers("owner", on=switch)
    assert switch.heard("gw100", switch.address("thief")) == NOBODY


def test_it_is_the_hook_that_keeps_it_quiet_and_one_with_dhcp_too(switch):
    run_hook(switch, "thief", "stopped")
    assert switch.heard("gw100", switch.address("owner")) == answers("owner", "thief", on=switch)

    with_dhcp = etree.fromstring(switch.xml("thief"))
    for address in with_dhcp.iter(f"{{{names.METADATA_NS}}}address"):
        address.getparent().remove(address)
    run_hook(switch, "thief", "started", etree.tostring(with_dhcp, encoding="unicode"))
    assert switch.heard("gw100", switch.address("owner")) == answers("owner", on=switch)


def test_flows_that_the_switch_forgot_come_back_with_libvirtd(switch):
    switch.node.run("ovs-ofctl", "del-flows", openvswitch.BRIDGE)
    switch.node.run("ovs-ofctl", "add-flow", openvswitch.BRIDGE, "priority=0,actions=NORMAL")
    assert flows_of(switch, "thief") == 0

    restart(switch.node)

    wait_for(lambda: flows_of(switch, "thief") == 7, "the hook")
    assert switch.heard("gw100", switch.address("owner")) == answers("owner", on=switch)


def test_flows_go_with_the_guest(switch):
    assert flows_of(switch, "thief") == 7

    switch.backend.power_off(switch.ref, switch.vms["thief"])

    wait_for(lambda: flows_of(switch, "thief") == 0, "the hook")
    assert flows_of(switch, "owner") == 7
