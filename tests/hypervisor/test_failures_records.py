"""The database is older than the nodes, as after yesterday's backup was restored: nothing is lost, nothing touched."""

import pytest
from lxml import etree

from common.errors import Conflict
from nodes import claims
from nodes.models import Claim, Node
from resources import reconcile
from resources.models import VirtualMachine, VmSecret
from resources.recount import recount
from tasks.models import Task
from tests.factories import GpuFactory
from tests.hypervisor import estate
from tests.hypervisor.guests import guest_spec
from tests.hypervisor.work import work
from vmbackends.base import GpuSpec
from vmbackends.libvirt.xml.hostdevs import hostdevs
from vmbackends.libvirt.xml.trial import trial_xml


@pytest.fixture
def lab(here):
    return here[0]


def running(lab):
    vm = estate.create(lab.name)
    estate.ask("start", vm)
    work()
    assert estate.status(vm) == "running", estate.error(vm)
    return vm


def backup(vm):
    """The rows of a VM as they are now; gives what puts them back."""
    row = VirtualMachine.objects.values().get(pk=vm)
    others = [*Task.objects.filter(subject_id=vm), *Claim.objects.filter(vm_id=vm), *VmSecret.objects.filter(vm_id=vm)]

    def restore():
        VirtualMachine.objects.filter(pk=vm).update(task=None)
        for rows in (Task.objects.filter(subject_id=vm), Claim.objects.filter(vm_id=vm)):
            rows.delete()
        for other in others:
            other.save(force_insert=True)
        VirtualMachine.objects.filter(pk=vm).update(**row)
        recount(fix=True)

    return restore


def qemu_of(lab, vm):
    """Which start of the domain runs, by its process."""
    return (lab.run_folder / f"qemu/vm-{vm}.pid").read_text()


def test_a_domain_without_a_row_is_reported_and_never_touched(lab):
    known, lost = running(lab), running(lab)
    before = (qemu_of(lab, lost), lab.virsh("vol-list", "aiwm"))
    Claim.objects.filter(vm_id=lost).delete()
    for relation in VirtualMachine._meta.related_objects:
        relation.related_model.objects.filter(**{relation.field.attname: lost}).delete()
    Task.objects.filter(subject_id=lost).delete()
    VirtualMachine.objects.filter(pk=lost)._raw_delete("default")  # its model knows no delete without a clean-up
    recount(fix=True)

    reconcile.sweep_all()
    work()
    strays = Node.objects.get(name=lab.name).strays
    assert strays == {"orphans": {lost: [f"vm-{lost}", f"vm-{lost}-console.log", f"vm-{lost}.qcow2"]}}
    assert (qemu_of(lab, lost), lab.virsh("vol-list", "aiwm")) == before
    assert estate.status(known) == "running"


def test_rows_that_say_stopped_of_what_runs_are_put_right(lab):
    vm = running(lab)
    estate.ask("stop", vm)
    work()
    restore = backup(vm)
    estate.ask("start", vm)
    work()
    process = qemu_of(lab, vm)

    restore()
    assert estate.status(vm) == "stopped"
    reconcile.sweep_all()
    assert estate.status(vm) == "running"
    assert estate.open_tasks() == 0
    assert qemu_of(lab, vm) == process
    estate.assert_balanced([lab], estate.books())


def test_rows_that_say_running_of_what_was_stopped_or_deleted_are_put_right(lab):
    vms = [running(lab), running(lab)]
    deleted = vms[1]
    restores = [backup(vm) for vm in vms]
    estate.ask("stop", *vms)
    work()
    estate.ask("delete", deleted)
    work()

    for restore in restores:
        restore()
    reconcile.sweep_all()
    assert estate.statuses(vms) == ["stopped", "error"]
    assert "Its domain is gone from the node." in estate.error(deleted)
    estate.ask("restart", deleted)
    work()
    assert estate.status(deleted) == "error"
    assert "The disk of" in estate.error(deleted), "no new and empty disk is made in the place of one that is gone"
    estate.ask("delete", deleted)
    work()
    estate.assert_balanced([lab], estate.books())


def test_rows_of_before_the_first_deploy_are_put_right_by_a_start(lab):
    vm = estate.create(lab.name)
    restore = backup(vm)
    estate.ask("start", vm)
    work()
    process = qemu_of(lab, vm)

    restore()
    reconcile.sweep_all()
    assert estate.status(vm) == "queued"
    estate.ask("start", vm)
    work()
    assert estate.status(vm) == "running"
    assert qemu_of(lab, vm) == process, "the guest goes on as it was"
    estate.assert_balanced([lab], estate.books())


def test_a_task_that_was_under_way_is_done_again(lab):
    vm = running(lab)
    estate.ask("stop", vm)
    restore = backup(vm)
    work()
    estate.ask("start", vm)
    work()

    restore()
    assert estate.status(vm) == "stopping"
    work()
    reconcile.sweep_all()
    assert estate.status(vm) == "stopped"
    estate.assert_balanced([lab], estate.books())


def test_a_gpu_of_a_foreign_domain_is_given_to_no_vm_until_that_is_gone(lab):
    gpu = GpuFactory(node=Node.objects.get(name=lab.name), device_id="GPU-0", pci_address="00000000:3B:00.0")
    theirs = etree.fromstring(trial_xml("theirs", "qemu", "qemu64", None))
    spec = GpuSpec("GPU-0", gpu.model, gpu.memory_mb, "0000:3b:00.0")
    theirs.find("devices").extend(hostdevs(guest_spec(gpus=(spec,))))
    xml = lab.folder / "theirs.xml"
    xml.write_bytes(etree.tostring(theirs))

    def taken_by():
        reconcile.sweep_all()
        work()
        gpu.refresh_from_db()
        return gpu.stray_domain

    lab.virsh("define", str(xml))
    try:
        assert taken_by() == "theirs"
        with pytest.raises(Conflict, match=f"GPU-0 of {lab.name} is taken"):
            claims.take_gpus("c" * 24, "", gpu.node_id, ["GPU-0"])
    finally:
        lab.virsh("undefine", "theirs")
    assert taken_by() == ""
