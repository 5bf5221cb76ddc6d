"""Domains as libvirt is told of them. `AIWM_WRITE_GOLDEN=1` writes the golden files anew: read their diff."""

import os
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lxml import etree

from tests.vmbackends.libvirt.xml_schemas import faults_of
from tests.vmbackends.specs import A100, DHCP, MIG, STATIC, vm_spec
from vmbackends.base import ImageSpec, NetworkSpec, NodeSettings
from vmbackends.errors import NotSupported, Refused
from vmbackends.libvirt.names import METADATA_NS
from vmbackends.libvirt.xml.domain import Placement, domain_xml
from vmbackends.libvirt.xml.text import legal, one_line

reproducible = settings(max_examples=200, deadline=None, derandomize=True, database=None)

GOLDEN = Path(__file__).parent / "golden"

BIOS = ImageSpec("image-debian-12.qcow2")
UEFI = replace(BIOS, firmware="uefi")
WINDOWS = ImageSpec(
    "image-windows-server-2022.qcow2", firmware="uefi", device_model="sata", tpm=True, windows=True, ready="power"
)
SATA = replace(BIOS, device_model="sata")
OVS = NodeSettings(bridge="ovsbr0", untagged_bridge="ovsbr1", openvswitch=True)
PLACE = Placement(
    domain_type="kvm",
    cpu_mode="host-model",
    disk_path="/var/lib/aiwm/vm-692cdc80aabbccddeeff0001.qcow2",
    console_path="/var/lib/aiwm/vm-692cdc80aabbccddeeff0001-console.log",
    seed_path=None,
    settings=NodeSettings(),
)
SEEDED = replace(PLACE, seed_path="/var/lib/aiwm/vm-692cdc80aabbccddeeff0001-seed.iso")
UNTAGGED = replace(DHCP, vlan_id=None)
HOSTILE = "<&>\"' ]]><!--&amp; ünï ☃ 🚀 \u202e \u2028"


def vm(**changes):
    return vm_spec(**{"id": "692cdc80aabbccddeeff0001", "name": "dev-vm-01", **changes})


KINDS = {
    "bios-static-vlan": (vm(), BIOS, replace(PLACE, filter_name="aiwm-static")),
    "openvswitch": (vm(), BIOS, replace(PLACE, settings=OVS)),
    "openvswitch-untagged": (vm(network=UNTAGGED), BIOS, replace(PLACE, settings=OVS)),
    "dhcp-untagged": (vm(network=UNTAGGED), BIOS, replace(PLACE, filter_name="aiwm-dhcp")),
    "seed": (vm(), BIOS, SEEDED),
    "sata-seed": (vm(), SATA, SEEDED),
    "uefi": (vm(), UEFI, PLACE),
    "windows": (vm(), WINDOWS, SEEDED),
    "two-gpus": (vm(gpus=(A100, replace(A100, device_id="GPU-1", pci_address="00000001:AF:1f.7"))), BIOS, PLACE),
    "kvm-host-passthrough": (vm(), BIOS, replace(PLACE, cpu_mode="host-passthrough")),
    "qemu-qemu64": (vm(), BIOS, replace(PLACE, domain_type="qemu", cpu_mode="qemu64")),
    "largest": (vm(vcpus=128, ram_mb=1_048_576), BIOS, replace(PLACE, cpu_mode="")),
    "hostile-names": (vm(name=HOSTILE, organization=HOSTILE), BIOS, replace(SEEDED, disk_path="/srv/a & <b>/é.qcow2")),
}


def built(spec=None, image=BIOS, place=PLACE):
    return etree.fromstring(domain_xml(spec or vm(), image, place))


@pytest.mark.parametrize("kind", KINDS)
def test_it_builds_what_its_golden_file_says(kind):
    golden = GOLDEN / f"{kind}.xml"
    xml = domain_xml(*KINDS[kind])
    if os.environ.get("AIWM_WRITE_GOLDEN"):
        golden.write_text(xml, encoding="utf-8")

    assert xml == golden.read_text(encoding="utf-8")


def test_every_golden_file_is_of_some_kind():
    assert {path.stem for path in GOLDEN.glob("*.xml")} == set(KINDS)


@pytest.mark.parametrize("kind", KINDS)
def test_it_fits_the_schema_of_libvirt(kind):
    assert faults_of(domain_xml(*KINDS[kind]), "domain") == []


def test_the_schema_of_libvirt_refuses_what_does_not_fit():
    assert faults_of("<domain type='qemu'><name>a</name><nonsense/></domain>", "domain")


# Names


@given(name=st.text(st.characters()), organization=st.text(st.characters()))
@reproducible
def test_any_name_comes_back_as_far_as_xml_can_write_it(name, organization):
    root = built(vm(name=name, organization=organization))

    ours = root.find(f"metadata/{{{METADATA_NS}}}vm")
    assert ours.findtext(f"{{{METADATA_NS}}}name") == legal(name)
    assert ours.findtext(f"{{{METADATA_NS}}}organization") == legal(organization)
    assert root.findtext("title", "") == one_line(name)
    assert root.findtext("name") == "vm-692cdc80aabbccddeeff0001"
    assert faults_of(domain_xml(vm(name=name, organization=organization), BIOS, PLACE), "domain") == []


@given(text=st.text(st.characters(exclude_categories=["Cc", "Cs"], exclude_characters="\ufffe\uffff")))
@reproducible
def test_text_without_control_characters_is_left_as_it_is(text):
    assert legal(text) == text


@pytest.mark.parametrize("text", ["\x00", "\x1b", "\ud800", "\ufffe", "\uffff"])
def test_what_xml_cannot_write_is_replaced(text):
    assert legal(f"a{text}b") == "a\ufffdb"


@pytest.mark.parametrize("end", ["\n", "\r", "\t", "\x0b", "\x0c", "\x85", "\u2028", "\u2029"])
def test_a_title_is_one_line(end):
    assert one_line(f"a{end}b") == "a b"


def test_a_domain_without_a_name_has_no_title():
    assert built(vm(name="")).find("title") is None


# Network


@pytest.mark.parametrize(
    ("network", "node", "bridge", "tag"),
    [
        (STATIC, NodeSettings(), "br100", None),
        (STATIC, NodeSettings(bridge="vlan{vlan}-br"), "vlan100-br", None),
        (UNTAGGED, NodeSettings(untagged_bridge="lan0"), "lan0", None),
        (STATIC, OVS, "ovsbr0", "100"),
        (UNTAGGED, OVS, "ovsbr1", "0"),
    ],
)
def test_the_interface_is_on_the_bridge_of_its_vlan(network, node, bridge, tag):
    interface = built(vm(network=network), place=replace(PLACE, settings=node)).find("devices/interface")

    assert interface.find("source").get("bridge") == bridge
    assert interface.find("mac").get("address") == network.mac
    assert [element.get("id") for element in interface.iterfind("vlan/tag")] == ([] if tag is None else [tag])
    assert (interface.find("virtualport") is not None) == node.openvswitch


def test_two_vlans_never_meet_on_one_linux_bridge():
    with pytest.raises(Refused, match="cannot keep VLAN 100 apart"):
        built(place=replace(PLACE, settings=NodeSettings(bridge="br0")))


def test_a_pattern_names_nothing_but_the_vlan():
    place = replace(PLACE, settings=NodeSettings(bridge="br{vlan}{vlan.__class__}{0}"))

    assert built(place=place).find("devices/interface/source").get("bridge") == "br100{vlan.__class__}{0}"


@pytest.mark.parametrize(
    ("network", "parameters"), [(STATIC, {"IP": "192.168.100.10"}), (DHCP, {"CTRL_IP_LEARNING": "dhcp"})]
)
def test_the_filter_knows_the_address_or_learns_it_from_dhcp_alone(network: NetworkSpec, parameters):
    filterref = built(vm(network=network), place=replace(PLACE, filter_name="guard")).find(
        "devices/interface/filterref"
    )

    assert filterref.get("filter") == "guard"
    assert {parameter.get("name"): parameter.get("value") for parameter in filterref} == parameters


@pytest.mark.parametrize(("network", "address"), [(STATIC, "192.168.100.10"), (DHCP, None)])
def test_the_metadata_say_the_static_address(network: NetworkSpec, address):
    ours = built(vm(network=network)).find(f"metadata/{{{METADATA_NS}}}vm")

    assert ours.findtext(f"{{{METADATA_NS}}}address") == address


def test_nothing_boots_from_the_network():
    assert [disk.get("order") for disk in built(place=SEEDED).iterfind("devices//boot")] == ["1"]
    assert built().find("devices/interface/rom").get("enabled") == "no"


# Disks


@pytest.mark.parametrize(("image", "disk", "drive"), [(BIOS, "virtio vda", "scsi sda"), (SATA, "sata sda", "sata sdb")])
def test_disk_and_seed_are_on_buses_that_the_image_has_drivers_for(image, disk, drive):
    targets = [target.get("bus") + " " + target.get("dev") for target in built(image=image, place=SEEDED).iter("target")
               if target.get("dev")]  # fmt: skip
    assert targets == [disk, drive]


def test_without_a_seed_there_is_no_drive():
    assert [disk.get("device") for disk in built().iterfind("devices/disk")] == ["disk"]


# GPUs


@pytest.mark.parametrize(
    ("written", "address"),
    [
        ("0000:3b:00.0", ("0x0000", "0x3b", "0x00", "0x0")),
        ("00000000:3B:00.0", ("0x0000", "0x3b", "0x00", "0x0")),
        ("3b:1f.7", ("0x0000", "0x3b", "0x1f", "0x7")),
        ("10de:af:00.1", ("0x10de", "0xaf", "0x00", "0x1")),
    ],
)
def test_a_gpu_is_found_by_its_whole_address(written, address):
    source = built(vm(gpus=(replace(A100, pci_address=written),))).find("devices/hostdev/source/address")

    assert tuple(source.get(part) for part in ("domain", "bus", "slot", "function")) == address


@pytest.mark.parametrize("written", ["", "GPU-0", "0000:3b:00", "0000:3b:20.0", "0000:3b:00.8", "0000:3b:00.0\n"])
def test_a_gpu_without_an_address_is_refused(written):
    with pytest.raises(Refused, match="GPU-0 of dev-vm-01 has the PCI address"):
        built(vm(gpus=(replace(A100, pci_address=written),)))


def test_the_whole_gpu_is_never_given_for_a_mig_instance():
    with pytest.raises(NotSupported, match="MIG instance of GPU-1"):
        built(vm(gpus=(MIG,)))


# Firmware


@pytest.mark.parametrize(
    ("image", "secure_boot"), [(BIOS, None), (UEFI, "no"), (WINDOWS, "yes"), (replace(WINDOWS, firmware="bios"), None)]
)
def test_only_windows_on_uefi_boots_securely(image, secure_boot):
    root = built(image=image)

    features = {feature.get("name"): feature.get("enabled") for feature in root.iterfind("os/firmware/feature")}
    assert features.get("secure-boot") == secure_boot
    assert root.find("os").get("firmware") == (None if secure_boot is None else "efi")
    assert (root.find("features/smm") is not None) == (secure_boot == "yes")
