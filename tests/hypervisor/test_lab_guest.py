"""The tiny guest takes from a seed what real cloud-init takes, so that tests with it mean something."""

import json
import os
import pty
import re
import shutil
import subprocess
import sys
import time
import urllib.request
from contextlib import contextmanager
from datetime import UTC, datetime

import pytest
from passlib.hash import sha512_crypt

from tests.hypervisor.labguests import Guest, wait
from vmbackends.base import CloudInitSpec, ImageSpec, NetworkSpec, PowerIntent, Secret, VmSpec
from vmbackends.libvirt import seed

KEY = 'ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIE someone\'s "own": key # as it were'
PASSWORD = "Pass'word: 1"
GIB = 1024**3


def boot(node, tiny_linux, name, mac, network, cloud_init=None, secret=None):
    """A guest whose boot has begun, with 1 GiB of disk and the product's seed."""
    vm = VmSpec(
        id=name, name=name, organization="org", os_image="tiny", vcpus=1, ram_mb=512, disk_gb=1, network=network,
        power=PowerIntent(True, datetime.now(UTC)), cloud_init=cloud_init, image=ImageSpec("tiny"),
    )  # fmt: skip
    iso = node.pool / f"{name}.iso"
    iso.write_bytes(seed.iso(seed.documents(vm, vm.image, secret)))
    guest = Guest(node, name, vlan_id=network.vlan_id, seed=iso, mac=mac)
    shutil.copy(tiny_linux, guest.disk)
    resize(guest, GIB)
    guest.start()
    return guest


def resize(guest, size_bytes):
    subprocess.run(["qemu-img", "resize", "-q", "-f", "qcow2", guest.disk, str(size_bytes)], check=True)


def static(node, vlan_id, mac):
    lan = node.lan(vlan_id)
    return NetworkSpec(mac, vlan_id, "static", str(lan.network[10]), str(lan.network.netmask), str(lan.gateway))


def get(address, path="/"):
    with urllib.request.urlopen(f"http://{address}{path}", timeout=10) as answer:
        return json.load(answer)


@pytest.fixture(scope="module")
def guests(lab_nodes, tiny_linux):
    """Three that have booted: on VLAN 100, on VLAN 200, and without a VLAN, where they have DHCP."""
    node = lab_nodes[0]
    person = CloudInitSpec("web-1", KEY, "deploy")
    secret = Secret(sha512_crypt.using(rounds=5000).hash(PASSWORD), hashed=True)
    made = []
    try:
        for name, mac, network, *rest in [
            ("on-100", "52:54:00:00:01:00", static(node, 100, "52:54:00:00:01:00"), person, secret),
            ("on-200", "52:54:00:00:02:00", static(node, 200, "52:54:00:00:02:00")),
            ("on-none", "52:54:00:00:00:0a", NetworkSpec("52:54:00:00:00:0a", None, "dhcp"), CloudInitSpec("db-1")),
        ]:
            made.append(boot(node, tiny_linux, name, mac, network, *rest))
        for guest in made:
            guest.wait_for_boot()
        yield made
    finally:
        for guest in made:
            guest.remove()


def test_it_is_who_its_seed_says(guests):
    lan = guests[0].node.lan(100)
    assert get(lan.network[10]) == {
        "hostname": "web-1", "instance_id": "on-100", "user": "deploy", "ssh_key": KEY, "password_set": True,
        "mac": "52:54:00:00:01:00", "address": f"{lan.network[10]}/24", "gateway": str(lan.gateway), "dhcp": False,
        "disk_bytes": GIB, "vcpus": 1, "ram_kib": pytest.approx(480_000, rel=0.05), "boots": 1,
    }  # fmt: skip


def test_it_ends_its_boot_with_cloud_init_s_words(guests):
    assert re.search(
        r"^Cloud-init v\. .* finished at .*\. Datasource /dev/sr0\. Up [\d.]+ seconds\r?$", guests[0].log(), re.M
    )


def test_without_static_addresses_it_asks_for_one(guests):
    lan = guests[2].node.lan(None)
    [said] = re.findall(r"has the address ([\d.]+)/24", guests[2].log())
    shown = get(said)
    assert {
        "hostname": "db-1",
        "dhcp": True,
        "gateway": str(lan.gateway),
        "password_set": False,
    }.items() <= shown.items()
    assert said in [str(address) for address in lan.network][100:200]


def test_it_reaches_its_own_vlan_alone(guests):
    node = guests[0].node
    own, other = node.lan(100), node.lan(200)
    assert get(own.network[10], f"/cgi-bin/reach?{own.gateway}") == {"reached": True}
    assert get(own.network[10], f"/cgi-bin/reach?{other.network[10]}") == {"reached": False}
    # From the node itself, for the machine has no way in.
    code = f"import urllib.request as u; print(u.urlopen('http://{other.network[10]}', timeout=10).read().decode())"
    assert json.loads(node.run(sys.executable, "-c", code))["instance_id"] == "on-200"


@contextmanager
def console(guest):
    """A function that types a line at the guest's serial console and waits for what it says then."""
    ours, theirs = pty.openpty()
    virsh = ["virsh", "--connect", guest.node.uri, "console", guest.name]
    with subprocess.Popen(virsh, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True) as process:
        try:
            assert b"Connected" in os.read(ours, 4096)

            def enter(line, then):
                before = len(guest.log())
                pressed = [0.0]

                def came():
                    # virsh says that it is connected a moment before it is: what is typed then is lost.
                    if not pressed[0] or (not line and time.monotonic() - pressed[0] > 2):
                        os.write(ours, f"{line}\r".encode())
                        pressed[0] = time.monotonic()
                    return re.search(then, guest.log()[before:])

                wait(came, 60)

            yield enter
        finally:
            process.kill()
            os.close(ours)
            os.close(theirs)


def test_it_lets_its_user_in_by_password_at_the_console(guests):
    with console(guests[0]) as enter:
        enter("", then="web-1 login: ")
        enter("deploy", then="Password: ")
        enter(PASSWORD, then=r"\$ ")
        enter("id -un; hostname", then=r"deploy\s+web-1\s")


def test_it_keeps_its_seed_when_that_is_gone_and_sees_a_disk_that_grew(guests):
    guest = guests[0]
    guest.node.virsh("shutdown", guest.name, "--mode", "acpi")
    wait(lambda: guest.state() == "shut off", 20)
    assert "The power button was pressed." in guest.log()
    resize(guest, 2 * GIB)
    guest.node.virsh("undefine", guest.name)
    again = Guest(guest.node, guest.name, vlan_id=100, mac="52:54:00:00:01:00")
    again.start()
    again.wait_for_boot(times=2)
    shown = get(guest.node.lan(100).network[10])
    assert {"hostname": "web-1", "user": "deploy", "boots": 2, "disk_bytes": 2 * GIB}.items() <= shown.items()


def test_it_keeps_its_seed_when_its_qemu_is_killed_right_after_its_boot(lab_nodes, tiny_linux):
    """As a disk does that was told to write down what it has."""
    node, mac = lab_nodes[1], "52:54:00:00:01:01"
    guest = boot(node, tiny_linux, "killed", mac, static(node, 100, mac), CloudInitSpec("web-2", KEY, "deploy"))
    try:
        guest.wait_for_boot()
        node.run("pkill", "-KILL", "-f", f"guest={guest.name},")
        wait(lambda: guest.state() == "shut off", 20)
        node.virsh("undefine", guest.name)
        guest = Guest(node, guest.name, vlan_id=100, mac=mac)
        guest.start()
        guest.wait_for_boot(times=2)
        assert {"hostname": "web-2", "boots": 2}.items() <= get(node.lan(100).network[10]).items()
    finally:
        guest.remove()
