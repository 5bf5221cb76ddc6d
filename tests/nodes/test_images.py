"""OS images that operators keep, as backends take them."""

import pytest

from nodes.images import image_spec, image_specs
from nodes.models import DeviceModel, Firmware, Ready
from nodes.queries import node_ref
from tests.factories import ImageFactory, NodeFactory
from vmbackends.base import ImageSpec, NodeSettings

pytestmark = pytest.mark.django_db


def test_it_is_a_spec():
    image = ImageFactory(
        os_image="windows-server-2022", firmware=Firmware.UEFI, device_model=DeviceModel.SATA, tpm=True,
        ready=Ready.POWER, volume="image-windows.qcow2", size_bytes=300,
    )  # fmt: skip
    assert image_spec(image) == ImageSpec(
        volume="image-windows.qcow2", firmware="uefi", device_model="sata", tpm=True, windows=True, ready="power",
        size_bytes=300,
    )  # fmt: skip


def test_it_reads_many_at_once(django_assert_num_queries):
    ImageFactory(os_image="debian-12")
    ImageFactory(os_image="debian-11")
    with django_assert_num_queries(1):
        found = image_specs(["debian-12", "centos-8", "debian-12"])
    assert set(found) == {"debian-12"}


@pytest.mark.parametrize(("size", "gb"), [(1, 1), (1024**3, 1), (1024**3 + 1, 2), (2_361_393_152, 3)])
def test_it_needs_a_disk_in_whole_gibibytes(size, gb):
    assert ImageFactory(virtual_bytes=size).least_disk_gb == gb


# A node's settings


def test_a_node_has_settings_of_its_own():
    assert node_ref(NodeFactory()).settings == NodeSettings()
    node = NodeFactory(pool="fast", bridge="ovs0", untagged_bridge="ovs0", openvswitch=True)
    assert node_ref(node).settings == NodeSettings("fast", "ovs0", "ovs0", openvswitch=True)


def test_an_operators_word_counts_before_a_probes():
    node = NodeFactory(probed_domain_type="kvm", probed_cpu_mode="host-model", cpu_mode="qemu64")
    settings = node_ref(node).settings
    assert (settings.domain_type, settings.cpu_mode) == ("kvm", "qemu64")
