"""The hook that holds VMs on Open vSwitch to their address, as libvirt runs it. On a real switch: tests/hypervisor."""

import os
import subprocess
from pathlib import Path

import pytest
from lxml import etree

HOOK = Path(__file__).parents[3] / "hooks/qemu.d/aiwm.py"
GOLDEN = Path(__file__).parent / "golden"
COOKIE = "0xaabbccddeeff0001"  # the end of the VM's id


@pytest.fixture
def run(tmp_path):
    """Run it on the domain of a golden file with a tap; what it told the switch: arguments and flows."""

    def run(kind, operation="start", *, status=0, change=lambda domain: None):
        domain = etree.parse(GOLDEN / f"{kind}.xml").getroot()
        for interface in domain.iterfind("devices/interface"):
            etree.SubElement(interface, "target", dev="vnet7")
        change(domain)
        told = tmp_path / "told"
        told.write_text("")
        switch = tmp_path / "ovs-ofctl"
        switch.write_text(f'#!/bin/sh\necho "$@" >>{told}\ncat >>{told}\nexit {status}\n')
        switch.chmod(0o755)
        done = subprocess.run(
            [HOOK, domain.findtext("name"), operation, "begin", "-"], input=etree.tostring(domain), check=False,
            capture_output=True, env={**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"},
        )  # fmt: skip
        assert done.stdout == b""
        return done.returncode, done.stderr.decode(), told.read_text().splitlines()

    return run


@pytest.mark.parametrize("operation", ["start", "started", "reconnect"])
def test_a_static_guest_may_use_its_address_alone(run, operation):
    status, _, told = run("openvswitch", operation)

    own = "in_port=vnet7,dl_src=52:54:00:00:00:01"
    arp = f"{own},arp,arp_sha=52:54:00:00:00:01"
    assert status == 0
    assert told == [
        "--timeout=10 add-flows ovsbr0 -",
        f"cookie={COOKIE},priority=100,in_port=vnet7,actions=drop",
        f"cookie={COOKIE},priority=300,in_port=vnet7,udp,tp_dst=68,actions=drop",
        f"cookie={COOKIE},table=66,priority=100,reg0=100,arp,arp_spa=192.168.100.10,actions=drop",
        f"cookie={COOKIE},table=66,priority=100,reg0=100,ip,nw_src=192.168.100.10,actions=drop",
        f"cookie={COOKIE},priority=200,{arp},arp_op=1,arp_spa=0.0.0.0,arp_tpa=192.168.100.10,actions=NORMAL",
        f"cookie={COOKIE},priority=200,{arp},arp_spa=192.168.100.10,actions=NORMAL",
        f"cookie={COOKIE},priority=200,{own},ip,nw_src=192.168.100.10,actions=NORMAL",
    ]


def test_one_with_dhcp_may_use_any_address_that_is_not_anothers(run):
    status, _, told = run("openvswitch-untagged")

    own = "in_port=vnet7,dl_src=52:54:00:00:00:02"
    assert status == 0
    assert told == [
        "--timeout=10 add-flows ovsbr1 -",
        f"cookie={COOKIE},priority=100,in_port=vnet7,actions=drop",
        f"cookie={COOKIE},priority=300,in_port=vnet7,udp,tp_dst=68,actions=drop",
        "cookie=0xa1f3,table=66,priority=0,actions=NORMAL",
        f"cookie={COOKIE},priority=200,{own},arp,arp_sha=52:54:00:00:00:02,actions=load:0->NXM_NX_REG0[],resubmit(,66)",
        f"cookie={COOKIE},priority=200,{own},ip,actions=load:0->NXM_NX_REG0[],resubmit(,66)",
    ]


@pytest.mark.parametrize("operation", ["stopped", "release"])
def test_the_flows_of_a_guest_go_with_it_and_no_others(run, operation):
    assert run("openvswitch", operation) == (0, "", [f"--timeout=10 del-flows ovsbr0 cookie={COOKIE}/-1"])


@pytest.mark.parametrize("operation", ["prepare", "migrate", "restore", "attach"])
def test_other_operations_are_not_its_own(run, operation):
    assert run("openvswitch", operation) == (0, "", [])


def test_domains_on_linux_bridges_and_of_others_are_left_alone(run):
    def belong_to_nobody(domain):
        domain.remove(domain.find("metadata"))

    assert run("bios-static-vlan") == (0, "", [])
    assert run("openvswitch", change=belong_to_nobody) == (0, "", [])


def test_a_guest_without_a_tap_yet_is_waited_for(run):
    def have_no_tap(domain):
        [target] = domain.iterfind("devices/interface/target")
        target.getparent().remove(target)

    assert run("openvswitch", change=have_no_tap) == (0, "", [])


def test_no_guest_starts_that_cannot_be_filtered(run):
    status, said, _ = run("openvswitch", status=1)

    assert status == 1
    assert said.startswith("AIWM's hook cannot filter what the VM sends: Command '['ovs-ofctl',")


@pytest.mark.parametrize(
    ("path", "attribute"),
    [
        ("devices/interface/mac", "address"),
        ("devices/interface/source", "bridge"),
        ("devices/interface/target", "dev"),
        ("devices/interface/vlan/tag", "id"),
        ("metadata/{*}vm/{*}address", None),
        ("metadata/{*}vm/{*}id", None),
    ],
)
def test_no_flow_is_made_of_anything_else(run, path, attribute):
    def spoil(domain):
        element = domain.find(path)
        if attribute:
            element.set(attribute, " \n,actions=NORMAL")
        else:
            element.text = " \n,actions=NORMAL"

    status, said, told = run("openvswitch", change=spoil)

    assert (status, told) == (1, [])
    assert said.startswith("AIWM's hook cannot filter what the VM sends: ")
