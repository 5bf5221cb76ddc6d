"""A VM of Debian 12 itself, with its own cloud-init and guest agent: the tiny guest only says what these would."""

import base64
import json
import socket

import pytest
from passlib.hash import sha512_crypt

from lab.debian import debian
from nodes.models import NodeImage
from resources.models import LogEntry, VirtualMachine, VmSecret
from tests.factories import ImageFactory, NodeFactory, UserFactory, create_body, vm_config
from tests.hypervisor.guests import node_ref
from tests.hypervisor.labguests import wait
from tests.hypervisor.work import work
from vmbackends.base import ImageSpec
from vmbackends.libvirt import LibvirtBackend

pytestmark = pytest.mark.django_db(transaction=True)

IMAGE = ImageSpec(volume="image-debian-12-itself.qcow2", ready="cloud-init")
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIE3Jw1m0mZ1mM9uVb0mYHdd7Tn0Q0m8rG0nGq0Y3m7Jd someone@example.com"
PASSWORD = "Pass'word: 1"
BOOT_S = 900  # under emulation, on a machine that does other things meanwhile


@pytest.fixture
def node(settings, labs):
    settings.VM_BACKEND = {"BACKEND": "vmbackends.libvirt.LibvirtBackend", "OPTIONS": {}}
    settings.BOOT_SECONDS = BOOT_S
    lab = labs[0]
    LibvirtBackend().push_image(node_ref(lab), IMAGE, debian(), lambda sent: None)
    made = NodeFactory(name=lab.name, uri=lab.uri, domain_type="qemu", cpu_mode="qemu64", boot_id=lab.boot_id)
    ImageFactory(os_image="debian-12", volume=IMAGE.volume, ready=IMAGE.ready, size_bytes=debian().stat().st_size)
    NodeImage.objects.get_or_create(node=made, os_image="debian-12")
    return made


def ask_agent(lab, vm_id, command, **arguments):
    """https://qemu.readthedocs.io/en/v7.2/interop/qemu-ga-ref.html"""
    asked = json.dumps({"execute": command, **({"arguments": arguments} if arguments else {})})
    return json.loads(lab.virsh("qemu-agent-command", f"vm-{vm_id}", asked))["return"]


def run_inside(lab, vm_id, *argv):
    """What a command of the guest's prints."""
    pid = ask_agent(lab, vm_id, "guest-exec", path=argv[0], arg=list(argv[1:]), **{"capture-output": True})["pid"]
    ended = {}

    def has_ended():
        ended.update(ask_agent(lab, vm_id, "guest-exec-status", pid=pid))
        return ended["exited"]

    wait(has_ended, 60)
    assert ended["exitcode"] == 0, ended
    return base64.b64decode(ended["out-data"]).decode()


def test_debian_takes_what_its_owner_wrote_and_stops_when_asked(client_of, node, lab_nodes):
    lab, client = lab_nodes[0], client_of(UserFactory())
    lan = lab.lan(100)
    address = str(lan.network[20])
    network = {"mode": "bridge-vlan", "vlanId": 100, "ipMode": "static", "ipAddress": address}
    network |= {"netmask": str(lan.network.netmask), "gateway": str(lan.gateway)}
    config = vm_config(osImage="debian-12", vcpus=2, ramMB=1024, diskGB=10, networkConfig=network)
    config["cloudInit"] = {"hostname": "db-1", "username": "deploy", "sshPublicKey": KEY, "password": PASSWORD}
    made = client.post("/resources", create_body(node, config=config), format="json")
    assert made.status_code == 201, made.data
    vm_id = made.data["_id"]
    path = f"/resources/{vm_id}"
    assert client.post(f"{path}/start").status_code == 202
    work(within_s=BOOT_S)

    vm = VirtualMachine.objects.get(pk=vm_id)
    assert vm.status == "running", (vm.error_message, list(LogEntry.objects.values_list("message", flat=True))[-20:])
    assert not VmSecret.objects.exists()
    assert "seed" not in lab.virsh("vol-list", "aiwm")
    console = [line["message"] for line in client.get(f"{path}/logs?limit=1000").json()["logs"]]
    assert any("Cloud-init v." in line and "finished at" in line for line in console)

    wait(lambda: "connected" in lab.virsh("dumpxml", f"vm-{vm_id}"), 120)  # its agent may start after cloud-init
    assert ask_agent(lab, vm_id, "guest-get-host-name") == {"host-name": "db-1"}
    assert run_inside(lab, vm_id, "/usr/bin/cloud-init", "status").strip() == "status: done"
    assert f"inet {address}/24 " in run_inside(lab, vm_id, "/usr/sbin/ip", "-4", "address")
    assert f"default via {lan.gateway} " in run_inside(lab, vm_id, "/usr/sbin/ip", "route")
    assert run_inside(lab, vm_id, "/usr/bin/cat", "/home/deploy/.ssh/authorized_keys").strip() == KEY
    shadow = run_inside(lab, vm_id, "/usr/bin/getent", "shadow", "deploy")
    assert sha512_crypt.verify(PASSWORD, shadow.split(":")[1])
    # Its file system has grown to the disk that was asked for.
    [size] = run_inside(lab, vm_id, "/usr/bin/df", "--output=size", "--block-size=1M", "/").split()[1:]
    assert int(size) > 9000
    with socket.create_connection((address, 22), timeout=60) as ssh:
        assert ssh.recv(100).startswith(b"SSH-2.0-OpenSSH")

    assert client.post(f"{path}/stop").status_code == 202
    work(within_s=BOOT_S)
    assert client.get(f"{path}/status").json()["status"] == "stopped"
    assert lab.virsh("domstate", f"vm-{vm_id}", "--reason").strip() == "shut off (shutdown)"
    assert client.delete(path).status_code == 202
    work()
    assert vm_id not in lab.virsh("vol-list", "aiwm")
