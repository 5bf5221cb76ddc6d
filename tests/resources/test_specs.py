"""What a backend is told of the image of a VM."""

import pytest

from nodes.models import Firmware, Image
from resources.models import VirtualMachine
from resources.specs import vm_spec, vm_specs
from resources.states import Status
from tests.backends import scripted
from tests.factories import ImageFactory, NodeFactory, UserFactory, VirtualMachineFactory, create_body, vm_config
from vmbackends.base import Fault

pytestmark = pytest.mark.django_db


def body(node, disk_gb):
    return create_body(node, config=vm_config(diskGB=disk_gb))


def test_it_is_none_where_nobody_keeps_any():
    assert vm_spec(VirtualMachineFactory()).image is None


def test_it_is_the_kept_one_of_its_name():
    ImageFactory(os_image="debian-12", volume="other.qcow2")
    ImageFactory(os_image="ubuntu-22.04", volume="mine.qcow2", firmware=Firmware.UEFI)
    image = vm_spec(VirtualMachineFactory()).image
    assert image is not None
    assert (image.volume, image.firmware) == ("mine.qcow2", "uefi")


def test_it_reads_the_images_of_many_vms_once(django_assert_num_queries):
    ImageFactory(os_image="ubuntu-22.04")
    node = NodeFactory()
    for _ in range(3):
        VirtualMachineFactory(node=node)
    VirtualMachineFactory(node=node, config={"osImage": "debian-12"})
    vms = list(VirtualMachine.objects.select_related("organization").order_by("id"))
    with django_assert_num_queries(1):
        specs = vm_specs(vms)
    assert [spec.image is not None for spec in specs] == [True, True, True, False]
    with django_assert_num_queries(0):
        assert vm_specs([]) == []


# A disk that the image does not fit in


def test_it_refuses_a_disk_smaller_than_the_image(client_of):
    ImageFactory(virtual_bytes=30 * 1024**3 + 1)
    client, node = client_of(UserFactory()), NodeFactory()
    answer = client.post("/resources", body(node, 30), format="json")
    assert (answer.status_code, answer.json()["errors"]) == (
        400,
        [
            {
                "field": "config.diskGB",
                "code": "min",
                "message": "Must be at least 31, as the disk of the image ubuntu-22.04 is",
            }
        ],
    )
    assert client.post("/resources", body(node, 31), format="json").status_code == 201


def test_it_refuses_to_edit_one_to_be_too_small(client_of):
    ImageFactory(virtual_bytes=15 * 1024**3)
    vm = VirtualMachineFactory()
    answer = client_of(vm.owner).patch(f"/resources/{vm.id}", {"config": {"diskGB": 12}}, format="json")
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (400, "config.diskGB")


def test_a_vm_that_has_its_disk_does_not_mind_a_larger_image(client_of):
    ImageFactory(virtual_bytes=1000 * 1024**3)
    vm = VirtualMachineFactory(status=Status.STOPPED)
    assert client_of(vm.owner).patch(f"/resources/{vm.id}", {"config": {"vcpus": 4}}, format="json").status_code == 200


def test_the_backend_checks_a_new_vm_with_its_image(client_of, monkeypatch):
    kept = ImageFactory(tpm=True)
    seen = []

    def check(spec):
        seen.append(spec.image)
        return [Fault("osImage", "Not this one")]

    with scripted() as backend:
        monkeypatch.setattr(backend, "check", check)
        answer = client_of(UserFactory()).post("/resources", body(NodeFactory(), 20), format="json")
        Image.objects.all().delete()
        client_of(UserFactory()).post("/resources", body(NodeFactory(), 20), format="json")
    assert answer.json()["errors"][0]["field"] == "config.osImage"
    assert seen[0] is not None
    assert (seen[0].volume, seen[0].tpm is True) == (kept.volume, True)
    assert seen[1] is None
