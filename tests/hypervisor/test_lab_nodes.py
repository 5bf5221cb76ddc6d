"""The lab's nodes do to their guests and libvirtd what the tests of the product rely on."""

import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from lab.node import Node
from lab.shell import CommandFailed
from tests.hypervisor.labguests import Guest, wait


@pytest.fixture
def node(lab_nodes):
    yield lab_nodes[0]
    lab_nodes[0].start()


@pytest.fixture
def guest(node, boot_sector):
    """One that runs the boot sector, and has not been started."""
    guest = Guest(node, "sector", ram_mb=64)
    shutil.copy(boot_sector, guest.disk)
    yield guest
    node.start()
    guest.remove()


def pool_of(node):
    return node.virsh("pool-list", "--autostart", "--name").strip()


def test_nodes_are_separate(lab_nodes):
    one, other = lab_nodes
    assert one.uri != other.uri
    assert one.boot_id != other.boot_id
    assert {lan.network for lan in one.lans}.isdisjoint(lan.network for lan in other.lans)
    assert one.run("hostname").strip() == one.name
    assert other.virsh("hostname").strip() == other.name


@pytest.fixture
def half_made(lab_packages, tmp_path):
    """A node that is not there yet, and starts to be, in a process that is killed before it calls this function."""

    def make(function):
        code = (
            "import os, sys\nfrom pathlib import Path\nfrom lab import lans, node\n"
            f"node.{function} = lambda *_: os.kill(os.getpid(), 9)\n"
            "node.Node('half', Path(sys.argv[1])).start()"
        )
        done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], timeout=60, check=False)
        assert done.returncode == -signal.SIGKILL
        return made

    made = Node("half", tmp_path)
    yield make
    made.remove()


def test_one_that_runs_without_its_cables_keeps_its_number(half_made, tmp_path):
    node = half_made("plug_in")
    other = Node("other", tmp_path / "other", mortal=True)
    try:
        other.start()
        assert other.lans != node.lans
        node.start()
        node.stop()
        assert other.virsh("list") == ""
        assert Path(f"/sys/class/net/{other.lan(100).cable}").exists()
    finally:
        other.remove()


@pytest.mark.parametrize("function", ["config.write", "plug_in"])
def test_one_whose_start_was_killed_starts_with_its_networks(half_made, function):
    node = half_made(function).start()
    assert not any(Path(f"/sys/class/net/{lan.inner}").exists() for lan in node.lans), "an end outside of the node"
    for lan in (node.lan(None), node.lan(100)):
        assert "state UP" in node.run("ip", "link", "show", lan.bridge), "which has the cable and its other end"


def test_a_node_has_a_pool_and_its_bridges_and_no_kvm(node):
    assert pool_of(node) == "aiwm"
    assert str(node.pool) in node.virsh("pool-dumpxml", "aiwm")
    links = node.run("ip", "-brief", "link", "show", "type", "bridge")
    assert {line.split()[0] for line in links.splitlines()} == {"br0", "br100", "br200"}
    assert "kvm" not in node.run("ls", "/dev").split()


def test_the_machine_reaches_the_bridges_of_vlan_100_and_of_none_but_not_of_vlan_200(node):
    for vlan_id, reached in {None: True, 100: True, 200: False}.items():
        lan = node.lan(vlan_id)
        routes = subprocess.run(["ip", "route", "show", str(lan.network)], capture_output=True, text=True, check=True)
        assert bool(routes.stdout) is reached
    assert node.run("ip", "-oneline", "address", "show", "br200").split()[3] == f"{node.lan(200).gateway}/24"


def test_a_guest_boots_counts_and_answers_its_power_button(guest):
    guest.start()
    guest.wait_for_boot()
    assert guest.log().splitlines()[-1] == "Cloud-init v. 0 (boot sector) finished at start 0x0001."
    guest.node.virsh("shutdown", guest.name, "--mode", "acpi")
    wait(lambda: guest.state() == "shut off")
    guest.start()
    guest.wait_for_boot(times=2)
    assert guest.log().splitlines()[-1] == "Cloud-init v. 0 (boot sector) finished at start 0x0002."


def test_guests_outlive_libvirtd(guest):
    guest.start()
    guest.wait_for_boot()
    guest.node.kill_daemon()
    assert guest.node.daemon_pid is None
    with pytest.raises(CommandFailed):
        guest.node.virsh("list")
    guest.node.start_daemon()
    assert guest.state() == "running"


def test_a_frozen_libvirtd_takes_connections_and_does_not_answer(node):
    node.stop_daemon_signal()
    try:
        with pytest.raises(CommandFailed, match="took longer"):
            node.virsh("list", timeout_s=0.5)
    finally:
        node.continue_daemon()
    assert pool_of(node) == "aiwm"


def test_a_reboot_ends_guests_and_changes_the_boot_id_and_keeps_the_rest(guest):
    node = guest.node
    guest.start()
    guest.wait_for_boot()
    before = (node.boot_id, node.uri, node.lans, node.virsh("capabilities").partition("</uuid>")[0])
    node.reboot()
    assert guest.state() == "shut off"
    assert node.run("cat", "/proc/sys/kernel/random/boot_id").strip() == node.boot_id != before[0]
    assert (node.uri, node.lans, node.virsh("capabilities").partition("</uuid>")[0]) == before[1:]


def test_a_guest_whose_qemu_is_killed_is_off(guest):
    guest.start()
    guest.wait_for_boot()
    guest.node.kill_guest(guest.name)
    wait(lambda: guest.state() == "shut off")


def test_a_node_is_found_again_and_removed_by_another_process(tmp_path):
    node = Node("found", tmp_path / "found").start()
    try:
        pid = node.pid
        code = f"from pathlib import Path; from lab.node import Node; n = Node('found', Path({str(node.folder)!r}));"
        done = subprocess.run([sys.executable, "-c", f"{code} print(n.start().pid); n.remove()"], capture_output=True)
        assert int(done.stdout) == pid, done.stderr
        assert not node.running
        assert not node.folder.exists()
        assert not node.run_folder.exists()
    finally:
        node.remove()


def test_a_mortal_node_ends_with_its_process_even_a_killed_one(tmp_path):
    node = Node("mortal", tmp_path / "mortal")
    code = (
        f"import os; from pathlib import Path; from lab.node import Node;"
        f"Node('mortal', Path({str(node.folder)!r}), mortal=True).start(); os.kill(os.getpid(), 9)"
    )
    subprocess.run([sys.executable, "-c", code], check=False)
    try:
        wait(lambda: not node.running)
    finally:
        node.remove()


def test_a_number_in_use_is_not_taken_twice(node, tmp_path):
    number = int((node.folder / "number").read_text())
    other = Node("other", tmp_path / "other", number)
    with pytest.raises(CommandFailed, match="have been taken by another lab's while it was off"):
        other.start()
    assert not other.run_folder.exists()
    assert node.run("ip", "-brief", "link", "show", "br100")
    assert subprocess.run(["ip", "link", "show", node.lan(100).cable], capture_output=True, check=False).returncode == 0
