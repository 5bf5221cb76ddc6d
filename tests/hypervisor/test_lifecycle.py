"""A VM's life over the API, on a real node: what stands in the database is what libvirt shows."""

import pytest

from nodes.models import Node, NodeImage
from resources import guest_console, reconcile
from resources.models import VirtualMachine, VmSecret
from resources.specs import vm_spec
from tests.factories import ImageFactory, NodeFactory, UserFactory, create_body, vm_config
from tests.hypervisor.guests import IMAGE, node_ref
from tests.hypervisor.work import work
from vmbackends import get_backend
from vmbackends.libvirt import LibvirtBackend

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def node(settings, labs, boot_sector):
    """A node with the image; what a test leaves there is taken away afterwards."""
    settings.VM_BACKEND = {"BACKEND": "vmbackends.libvirt.LibvirtBackend", "OPTIONS": {}}
    lab = labs[0]
    LibvirtBackend().push_image(node_ref(lab), IMAGE, boot_sector, lambda sent: None)
    made = NodeFactory(name=lab.name, uri=lab.uri, domain_type="qemu", cpu_mode="qemu64", boot_id=lab.boot_id)
    ImageFactory(os_image="debian-12", volume=IMAGE.volume, ready=IMAGE.ready, size_bytes=boot_sector.stat().st_size)
    NodeImage.objects.get_or_create(node=made, os_image="debian-12")
    return made


def test_a_vm_lives_and_leaves_nothing(client_of, node, lab_nodes):
    lab, client = lab_nodes[0], client_of(UserFactory())
    config = vm_config(osImage="debian-12", vcpus=1, ramMB=512, diskGB=10)
    config["cloudInit"] = {"hostname": "guest", "password": "correct horse"}
    before = set(lab.virsh("vol-list", "aiwm").split())
    made = client.post("/resources", create_body(node, config=config), format="json")
    assert made.status_code == 201, made.data
    path = f"/resources/{made.data['_id']}"

    assert client.post(f"{path}/start").status_code == 202
    work()
    vm = VirtualMachine.objects.get(pk=made.data["_id"])
    assert vm.status == "running", vm.task or vm.error_message
    assert lab.virsh("domstate", f"vm-{vm.id}").strip() == "running"
    assert not VmSecret.objects.exists()
    assert "seed" not in lab.virsh("vol-list", "aiwm")

    assert client.patch(path, {"config": {"diskGB": 12}}, format="json").status_code == 409
    assert client.post(f"{path}/stop").status_code == 202
    work()
    assert client.get(f"{path}/status").json()["status"] == "stopped"
    assert lab.virsh("domstate", f"vm-{vm.id}").strip() == "shut off"

    assert client.patch(path, {"config": {"diskGB": 12, "vcpus": 2, "ramMB": 1024}}, format="json").status_code == 200
    assert client.post(f"{path}/start").status_code == 202
    work()
    assert client.get(f"{path}/status").json()["status"] == "running"
    info = lab.virsh("dominfo", f"vm-{vm.id}")
    assert "CPU(s):         2" in info
    assert "12884901888" in lab.virsh("vol-dumpxml", f"vm-{vm.id}.qcow2", "aiwm")

    assert client.post(f"{path}/stop", {"force": True}, format="json").status_code == 202
    work()
    assert client.delete(path).status_code == 202
    work()
    assert f"vm-{vm.id}" not in lab.virsh("list", "--all", "--name")
    assert set(lab.virsh("vol-list", "aiwm").split()) == before
    assert not VirtualMachine.objects.get(pk=vm.id).deployed


def test_one_that_is_stopped_by_hand_is_seen_stopped(client_of, node, lab_nodes):
    lab, client = lab_nodes[0], client_of(UserFactory())
    config = vm_config(osImage="debian-12", vcpus=1, ramMB=512, diskGB=10)
    made = client.post("/resources", create_body(node, config=config), format="json")
    client.post(f"/resources/{made.data['_id']}/start")
    work()
    lab.virsh("destroy", f"vm-{made.data['_id']}")
    reconcile.sweep_node(Node.objects.get(pk=node.pk))
    assert client.get(f"/resources/{made.data['_id']}").json()["status"] == "stopped"


def test_what_a_guest_wrote_is_kept_however_much_it_writes_and_its_vm_is_seen_without_the_pool(
    client_of, node, lab_nodes
):
    lab, client = lab_nodes[0], client_of(UserFactory())
    config = vm_config(osImage="debian-12", vcpus=1, ramMB=512, diskGB=10)
    vm = client.post("/resources", create_body(node, config=config), format="json").data["_id"]
    client.post(f"/resources/{vm}/start")
    work()

    def logs():
        guest_console.read_all()
        return [line["message"] for line in client.get(f"/resources/{vm}/logs?limit=1000").json()["logs"]]

    def booted():
        (row,) = VirtualMachine.objects.select_related("node", "organization")
        return get_backend().domain(node_ref(lab), vm_spec(row)).booted

    before = logs()
    assert any("finished at" in line for line in before)
    file = lab.pool / f"vm-{vm}-console.log"
    with file.open("a") as console:
        console.write("x" * 300_000 + "\nmuch more\n")
    assert set(before) < set(logs()), "what was read last does not reach back to the start"
    assert booted()
    file.rename(f"{file}.0")  # as virtlogd does
    file.write_text("and more\n")
    assert {*before, "much more", "and more"} <= set(logs())

    Node.objects.update(pool="elsewhere")
    reconcile.sweep_all()
    assert client.get(f"/resources/{vm}/status").json()["health"] == "healthy"
    lab.virsh("destroy", f"vm-{vm}")
    reconcile.sweep_all()
    assert client.get(f"/resources/{vm}/status").json()["status"] == "stopped"
    (unseen,) = Node.objects.get(name=lab.name).strays["unseen"]
    assert unseen.startswith("The node has no storage pool elsewhere.")
