"""What a node says that it is, has and lacks."""

import shutil
import time
from dataclasses import replace

import libvirt
import pytest
from lxml import etree
from lxml.builder import E

from lab.node import Node
from tests.hypervisor.guests import IMAGE, guest_spec, node_ref
from vmbackends.base import Devices, GpuSpec, NodeRef, NodeSettings, Power
from vmbackends.errors import Busy, Refused
from vmbackends.libvirt import LibvirtBackend, trial, volumes
from vmbackends.libvirt.names import domain_uuid
from vmbackends.libvirt.xml.hostdevs import hostdevs
from vmbackends.libvirt.xml.trial import trial_xml
from vmbackends.pci import PciAddress


def refs(node, **settings):
    return NodeRef("5" * 24, node.name, node.uri, NodeSettings(**settings))


@pytest.fixture
def node(lab_nodes, boot_sector):
    LibvirtBackend().push_image(node_ref(lab_nodes[0]), IMAGE, boot_sector, lambda sent: None)
    return lab_nodes[0]


def domains(node):
    return node.virsh("list", "--all", "--name").split()


def test_it_tells_what_works_and_leaves_nothing(node):
    before = set(node.virsh("vol-list", "aiwm").split())

    report = LibvirtBackend().probe(refs(node))

    assert report.boot_id == node.boot_id
    assert (report.domain_type, report.cpu_mode) == ("qemu", "maximum")  # the lab hides /dev/kvm
    assert report.vcpus
    assert report.ram_mb
    assert report.disk_gb
    assert report.versions["libvirt"].startswith("9.")
    assert report.capabilities == ("uefi", "tpm")
    assert IMAGE.volume in {image.volume for image in report.images}
    assert [lack.what for lack in report.lacks] == ["No guest comes up with KVM; emulated ones do, many times slower."]
    assert domains(node) == []
    assert set(node.virsh("vol-list", "aiwm").split()) == before


def test_it_tries_what_the_operator_says(node):
    report = LibvirtBackend().probe(refs(node, domain_type="kvm"))
    assert report.domain_type is None
    assert [lack.what for lack in report.lacks] == ["No guest comes up as kvm."]

    report = LibvirtBackend().probe(refs(node, domain_type="qemu", cpu_mode="qemu64"))
    assert (report.domain_type, report.cpu_mode, report.lacks) == ("qemu", "qemu64", ())


# In real mode: `out 0x64, 0xfe` pulses the CPU's reset line; 0x2000 to q35's PM1a_CNT at 0x604 turns it off.
ENDS = {"reboots": b"\xb0\xfe\xe6\x64", "turns itself off": b"\xba\x04\x06\xb8\x00\x20\xef"}


@pytest.mark.parametrize("code", ENDS.values(), ids=ENDS)
def test_an_image_that_ends_by_itself_comes_up(node, code, monkeypatch, tmp_path):
    sector = tmp_path / "sector"
    sector.write_bytes((code + b"\xeb\xfe").ljust(510, b"\0") + b"\x55\xaa")
    node.run("qemu-img", "convert", "-f", "raw", "-O", "qcow2", sector, node.pool / "ends.qcow2")
    node.virsh("pool-refresh", "aiwm")
    monkeypatch.setitem(trial.WATCHED_S, "qemu", 4.0)
    connection = libvirt.open(node.uri)
    try:
        pool = connection.storagePoolLookupByName("aiwm")
        base = pool.storageVolLookupByName("ends.qcow2")
        assert trial.first_that_works(connection, pool, base, [("qemu", "qemu64")]) == trial.Works("qemu", "qemu64")
    finally:
        connection.close()
        node.virsh("vol-delete", "ends.qcow2", "aiwm")


@pytest.fixture
def without_extras(node):
    """As one where neither ovmf nor swtpm is installed."""
    node.run("mount", "-t", "tmpfs", "none", "/usr/share/qemu/firmware")
    node.run("mount", "--bind", "/dev/null", "/usr/bin/swtpm")
    yield node
    for place in ("/usr/share/qemu/firmware", "/usr/bin/swtpm"):
        node.run("umount", place)


def test_a_node_tells_what_its_guests_can_have(without_extras):
    assert LibvirtBackend().probe(refs(without_extras, domain_type="qemu")).capabilities == ()


@pytest.fixture
def without_qemu(node):
    programs = [f"/usr/bin/qemu-system-{arch}" for arch in ("x86_64", "i386")]
    for program in programs:
        node.run("mount", "--bind", "/dev/null", program)
    node.kill_daemon()
    node.start_daemon()
    yield node
    for program in programs:
        node.run("umount", program)
    node.kill_daemon()
    node.start_daemon()


def test_a_node_without_qemu_says_how_to_have_one(without_qemu):
    report = LibvirtBackend().probe(refs(without_qemu))
    assert (report.versions["qemu"], report.domain_type, report.capabilities) == ("none", None, ())
    assert [(lack.what, lack.mend) for lack in report.lacks] == [("It has no QEMU.", "apt-get install qemu-system-x86")]


def test_a_node_without_its_pool_says_how_to_make_it(node):
    report = LibvirtBackend().probe(refs(node, pool="elsewhere"))
    assert report.lacks[0].what == "It has no storage pool elsewhere."
    assert "virsh pool-define-as elsewhere dir" in report.lacks[0].mend
    assert report.disk_gb is None


def test_a_node_whose_pool_does_not_start_says_so_and_what_else_it_lacks(node):
    folder = node.folder / "unmounted"
    node.virsh("pool-define-as", "unmounted", "dir", "--target", str(folder))
    try:
        report = LibvirtBackend().probe(refs(node, pool="unmounted", bridge="none", untagged_bridge="none"))
    finally:
        node.virsh("pool-undefine", "unmounted")
    first, *others = report.lacks
    assert first.what.startswith(
        f"Node {node.name} could not start its storage pool: cannot open directory 'unmounted'"
    )
    assert "virsh pool-start unmounted" in first.mend
    assert [lack.what for lack in others] == ["It has no bridge none."]
    assert (report.disk_gb, report.images) == (None, None), "what is in it is not known"


def test_the_mend_of_a_missing_pool_works_as_written(node: Node):
    report = LibvirtBackend().probe(refs(node, pool="mended", domain_type="qemu"))
    mend = report.lacks[0].mend.replace("/var/lib/libvirt/", f"{node.folder}/")
    node.run("sh", "-c", mend)
    try:
        report = LibvirtBackend().probe(refs(node, pool="mended", domain_type="qemu"))
        assert [lack.what for lack in report.lacks] == ["It has no OS image."]
    finally:
        node.virsh("pool-destroy", "mended")
        node.virsh("pool-undefine", "mended")


def test_what_an_earlier_trial_left_is_no_hindrance(node):
    node.virsh("vol-create-as", "aiwm", "aiwm-trial-1700000000.qcow2", "1G", "--format", "qcow2")
    assert LibvirtBackend().probe(refs(node)).domain_type == "qemu"
    assert "aiwm-trial" not in node.virsh("vol-list", "aiwm")


def test_two_checks_at_once_do_not_spoil_each_other(node):
    name = f"aiwm-trial-{int(time.time())}"
    xml = node.folder / "trial.xml"
    xml.write_text(trial_xml(name, "qemu", "qemu64", None))
    node.virsh("create", str(xml))
    try:
        with pytest.raises(Refused, match="Another check of this node is under way"):
            LibvirtBackend().probe(refs(node))
    finally:
        node.virsh("destroy", name)
    assert LibvirtBackend().probe(refs(node)).domain_type == "qemu"


def test_half_an_image_is_none_and_is_sent_again(node, tmp_path):
    file = tmp_path / "whole.qcow2"
    file.write_bytes(node.pool.joinpath(IMAGE.volume).read_bytes())
    image = replace(IMAGE, volume="image-debian-12-broken.qcow2")

    def break_off(sent):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        LibvirtBackend().push_image(refs(node), image, file, break_off)
    assert image.volume not in node.virsh("vol-list", "aiwm")

    node.virsh("vol-create-as", "aiwm", image.volume, "0", "--format", "raw")  # as of a worker that was killed
    lengths = {report.volume: report.size_bytes for report in LibvirtBackend().probe(refs(node)).images}
    assert lengths[image.volume] != file.stat().st_size
    LibvirtBackend().push_image(refs(node), image, file, lambda sent: None)
    assert node.pool.joinpath(image.volume).read_bytes() == file.read_bytes()
    LibvirtBackend().remove_image(refs(node), image.volume)


@pytest.fixture
def long_image(tmp_path, boot_sector):
    """One that takes a while to be sent, and its file."""
    file = tmp_path / "long.qcow2"
    file.write_bytes(boot_sector.read_bytes().ljust(2 * 1024**2, b"\0"))
    return replace(IMAGE, volume="image-debian-12-long.qcow2", size_bytes=file.stat().st_size), file


def test_no_disk_is_made_of_half_an_image(node, long_image):
    image, file = long_image
    vm = guest_spec(image=image)

    def break_off(sent):
        with pytest.raises(Refused, match="If it is being sent there, try again when it is; else push it again"):
            LibvirtBackend().create_disk(refs(node), vm)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        LibvirtBackend().push_image(refs(node), image, file, break_off)
    assert not {image.volume, f"vm-{vm.id}.qcow2"} & set(node.virsh("vol-list", "aiwm").split())


@pytest.fixture
def unrefreshed(monkeypatch):
    """As while a volume is made in the pool: libvirt refuses to look at its files, for so many times."""
    refresh, refusals = libvirt.virStoragePool.refresh, [0]

    def refuses(pool, flags):
        if refusals[0]:
            refusals[0] -= 1
            pool.storageVolLookupByName("none")
        return refresh(pool, flags)

    monkeypatch.setattr(libvirt.virStoragePool, "refresh", refuses)
    monkeypatch.setattr(volumes, "_LOOK_AGAIN_S", 0)
    return refusals


def test_a_vm_that_is_deleted_while_a_volume_is_made_leaves_nothing(node, unrefreshed):
    """What virtlogd has put aside of its console, libvirt knows only when it has looked."""
    backend, ref, vms = LibvirtBackend(), refs(node), [guest_spec() for _ in range(3)]
    at_last, later, plain = vms
    for vm in vms:
        backend.create_disk(ref, vm)

    def put_aside(vm):
        for number in (0, 1):
            node.run("touch", node.pool / f"vm-{vm.id}-console.log.{number}")

    put_aside(at_last)
    unrefreshed[0] = volumes._LOOKS - 1
    backend.delete_disks(ref, at_last)
    put_aside(later)
    unrefreshed[0] = 1000
    backend.delete_disks(ref, plain)
    for _ in range(2):
        with pytest.raises(Busy, match=r"^Older parts of the console of "):
            backend.delete_disks(ref, later)
    assert sorted(file.name for file in node.pool.glob("vm-*")) == [
        f"vm-{later.id}-console.log.{number}" for number in (0, 1)
    ]
    unrefreshed[0] = 0
    backend.delete_disks(ref, later)
    assert list(node.pool.glob("vm-*")) == []


def test_half_an_image_that_a_disk_is_a_clone_of_all_the_same_is_kept(node, long_image):
    image, file = long_image
    clone = ("theirs.qcow2", "1G", "--format", "qcow2", "--backing-vol", image.volume, "--backing-vol-format", "qcow2")

    def break_off(sent):
        if sent > 1024**2:
            node.virsh("vol-create-as", "aiwm", *clone)
            raise KeyboardInterrupt

    try:
        with pytest.raises(KeyboardInterrupt):
            LibvirtBackend().push_image(refs(node), image, file, break_off)
        with pytest.raises(Refused, match=f"1 disks are clones of {image.volume}, the first is theirs.qcow2"):
            LibvirtBackend().push_image(refs(node), image, file, lambda sent: None)
        assert (node.pool / image.volume).is_file()
    finally:
        node.virsh("vol-delete", "theirs.qcow2", "aiwm")
    LibvirtBackend().push_image(refs(node), image, file, lambda sent: None)
    assert (node.pool / image.volume).read_bytes() == file.read_bytes()
    LibvirtBackend().remove_image(refs(node), image.volume)


# An image that is kept no more, and what must keep it on a node


@pytest.fixture
def old_image(node, boot_sector):
    image = replace(IMAGE, volume="image-debian-12-0123456789ab.qcow2")
    LibvirtBackend().push_image(refs(node), image, boot_sector, lambda sent: None)
    yield image.volume
    node.pool.joinpath(image.volume).unlink(missing_ok=True)
    node.virsh("pool-refresh", "aiwm")


def removal(node, volume):
    """Why it is refused."""
    with pytest.raises(Refused) as caught:
        LibvirtBackend().remove_image(refs(node), volume)
    assert node.pool.joinpath(volume).is_file()
    return caught.value.message


def test_a_look_at_a_node_sees_images_by_the_names_that_imports_give(node, old_image):
    assert LibvirtBackend().observe(refs(node), []).images == (old_image,)


def test_a_look_at_a_node_sees_its_domains_without_its_pool_or_its_boot_id(node):
    backend, vm, boot_id = LibvirtBackend(), guest_spec(), node.boot_id
    xml = node.folder / "somebodys.xml"
    xml.write_text(trial_xml("somebodys", "qemu", "qemu64", None))
    node.virsh("define", str(xml))
    (node.folder / "boot_id").write_text("none\n")
    try:
        seen = backend.observe(refs(node, pool="elsewhere"), [vm])
    finally:
        (node.folder / "boot_id").write_text(f"{boot_id}\n")
        node.virsh("undefine", "somebodys")
    assert (seen.boot_id, seen.volumes_seen, seen.foreign) == ("", False, ("somebodys",))
    assert seen.domains[vm.id].power is Power.MISSING
    boot_fault, pool_fault = seen.faults
    assert boot_fault.startswith("The node's boot id cannot be read")
    assert pool_fault.startswith("The node has no storage pool elsewhere.")
    assert backend.observe(refs(node), []).boot_id == boot_id


def test_an_image_that_nothing_needs_is_removed(node, old_image):
    LibvirtBackend().remove_image(refs(node), old_image)
    assert not node.pool.joinpath(old_image).exists()
    LibvirtBackend().remove_image(refs(node), old_image)


@pytest.mark.parametrize("written", ["{pool}/{name}", "{name}", "../{pool.name}/./{name}"])
def test_an_image_that_a_disk_made_by_hand_is_a_clone_of_is_kept(node, old_image, written):
    disk = node.pool / "by-hand.qcow2"
    base = written.format(pool=node.pool, name=old_image)
    node.run("qemu-img", "create", "-f", "qcow2", "-b", base, "-F", "qcow2", str(disk))
    try:
        assert removal(node, old_image).startswith(f"1 disks are clones of {old_image}, the first is by-hand.qcow2.")
    finally:
        disk.unlink()


def test_an_image_that_a_disk_of_another_pool_is_a_clone_of_is_kept(node, old_image):
    folder = node.folder / "other-pool"
    folder.mkdir()
    base = str(node.pool / old_image)
    node.run("qemu-img", "create", "-f", "qcow2", "-b", base, "-F", "qcow2", str(folder / "theirs.qcow2"))
    node.virsh("pool-create-as", "other", "dir", "--target", str(folder))
    try:
        assert "the first is theirs.qcow2" in removal(node, old_image)
    finally:
        node.virsh("pool-destroy", "other")
        shutil.rmtree(folder)


def test_an_image_that_a_domain_runs_on_from_outside_of_all_pools_is_kept(node, old_image):
    disk = node.folder / "outside.qcow2"
    base = str(node.pool / old_image)
    node.run("qemu-img", "create", "-f", "qcow2", "-b", base, "-F", "qcow2", str(disk))
    disk.chmod(0o666)
    xml = node.folder / "outside.xml"
    xml.write_text(trial_xml("outside", "qemu", "qemu64", str(disk)))
    node.virsh("create", str(xml))
    try:
        assert removal(node, old_image) == f"{old_image} is in use by a domain that runs. Power it off first."
    finally:
        node.virsh("destroy", "outside")
        disk.unlink()


def test_an_image_is_kept_while_it_cannot_be_told_who_needs_it(node, old_image, monkeypatch):
    def busy(self, flags):
        raise libvirt.libvirtError("pool 'aiwm' has asynchronous jobs running.")

    monkeypatch.setattr(libvirt.virStoragePool, "refresh", busy)
    assert "Whether disks need it cannot be told" in removal(node, old_image)


# GPUs of domains that are not ours


def test_it_tells_the_devices_that_domains_were_given_also_those_that_are_off(node):
    gpus = tuple(
        GpuSpec(f"GPU-{n}", "NVIDIA L40S", 46_068, address) for n, address in enumerate(("3b:00.0", "10de:af:1f.7"))
    )
    xml = node.folder / "theirs.xml"
    vm = guest_spec(gpus=gpus)
    theirs = etree.fromstring(trial_xml("theirs", "qemu", "qemu64", None))
    theirs.append(E.uuid(domain_uuid(vm.id)))
    theirs.find("devices").extend(hostdevs(vm))
    xml.write_bytes(etree.tostring(theirs))
    node.virsh("define", str(xml))
    try:
        found = LibvirtBackend().devices_of_others(refs(node), [guest_spec().id])
        assert LibvirtBackend().devices_of_others(refs(node), [vm.id]) == Devices()  # were it that VM's
    finally:
        node.virsh("undefine", "theirs")
    assert found.pci == {
        PciAddress("0000", "3b", "00", "0"): "theirs", PciAddress("10de", "af", "1f", "7"): "theirs"
    }  # fmt: skip
