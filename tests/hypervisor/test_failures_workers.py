"""Workers that are killed in the middle of calls to libvirt, or sleep through their leases: the next one ends the
task, as if nothing had been."""

import time

import pytest

from tasks.worker import EXIT_HUNG
from tests.hypervisor import estate
from tests.hypervisor.troubled import Point, come_to_pass, write
from tests.processes.sites import wait_for

pytestmark = pytest.mark.processes

SECONDS = 120.0
TROUBLED = "tests.hypervisor.troubled.TroubledBackend"

# In each, the points at which one worker after the other dies that has the task of one VM.
DEPLOYS = (
    (("create_disk", "virStorageVolCreateXML", "during"), ("write_seed", "virStorageVolCreateXML", "after")),
    (("create_disk", "virStorageVolCreateXML", "after"), ("write_seed", "virStreamSend", "after")),
    (("write_seed", "virStreamFinish", "after"), ("define", "virDomainDefineXMLFlags", "after")),
    (("start", "virStorageVolCreateXML", "after"), ("start", "virStreamFinish", "after")),
    (("start", "virDomainCreate", "during"), ("domain", "virDomainGetState", "after")),
    (("start", "virDomainCreate", "after"), ("remove_seed", "virDomainUpdateDeviceFlags", "after"),
     ("remove_seed", "virStorageVolDelete", "after")),
)  # fmt: skip
STOPS = (
    (("power", "virDomainGetState", "after"), ("shutdown", "virDomainShutdownFlags", "after")),
    (("shutdown", "virDomainShutdownFlags", "during"),),
)
FORCED_STOPS = (
    (("power_off", "virDomainDestroy", "during"),),
    (("power_off", "virDomainDestroy", "after"),),
)
STARTS = (
    (("grow_disk", "virStorageVolLookupByName", "after"), ("define", "virDomainDefineXMLFlags", "after")),
    (("define", "virDomainDefineXMLFlags", "during"), ("start", "virDomainCreate", "after")),
    (("start", "virDomainCreate", "during"),),
    (("start", "virStreamFinish", "after"), ("domain", "virDomainGetState", "after")),
)
RESTARTS = (
    (("shutdown", "virDomainShutdownFlags", "after"), ("define", "virDomainDefineXMLFlags", "after")),
    (("shutdown", "virDomainShutdownFlags", "during"), ("start", "virDomainCreate", "during")),
)
DELETES = (
    (("undefine", "virDomainUndefineFlags", "during"),),
    (("undefine", "virDomainUndefineFlags", "after"),),
    (("delete_disks", "virStoragePoolRefresh", "after"), ("delete_disks", "virStorageVolDelete", "during")),
    (("delete_disks", "virStorageVolDelete", "after"),),
)
TAKEN = (
    (("create_snapshot", "virDomainSnapshotCreateXML", "during"),),
    (("create_snapshot", "virDomainSnapshotCreateXML", "after"),),
    (),
    (("create_snapshot", "virDomainSnapshotCreateXML", "after"),),
)
RESTORED = (
    (("restore_snapshot", "virDomainRevertToSnapshot", "during"),),
    (("restore_snapshot", "virDomainRevertToSnapshot", "after"),),
    (("restore_snapshot", "virDomainSnapshotCreateXML", "after"),
     ("restore_snapshot", "virDomainRevertToSnapshot", "during")),
    (("restore_snapshot", "virDomainRevertToSnapshot", "after"),),
)  # fmt: skip
REMOVED = (
    (("delete_snapshot", "virDomainSnapshotDelete", "during"),),
    (("delete_snapshot", "virDomainSnapshotDelete", "after"),),
    (),
    (("delete_snapshot", "virDomainSnapshotDelete", "during"),),
)
# Of a deploy that is refused as it starts, and taken back.
UNDONE = (
    (("undefine", "virDomainUndefineFlags", "after"), ("remove_seed", "virStorageVolDelete", "after")),
    (("undefine", "virDomainUndefineFlags", "during"), ("delete_disks", "virStorageVolDelete", "after")),
)


class Doom:
    """A site of workers that die as it is written."""

    def __init__(self, lab_site, folder):
        self._file = folder / "points"
        self.site = lab_site(TROUBLED, {"points": str(self._file)})
        self._dead = 0

    def befalls(self, verb, plans, vms, ends="succeeded", ask=estate.ask, **how):
        """Ask for this of VMs, each with a plan of the points at which its workers die, and see its task done."""
        for done in self._file.parent.glob("*.done"):
            done.unlink()
        points = [Point(vm, *where) for vm, plan in zip(vms, plans, strict=True) for where in plan]
        write(self._file, points)
        self.site.inside(ask, verb, *vms, **how)
        try:
            wait_for(lambda: self._goes_on(vms), SECONDS, verb)
        except AssertionError as e:
            tasks = self.site.inside(estate.newest_tasks, vms)
            raise AssertionError(f"{e}: {tasks}\n{self.site.output()[-6000:]}") from e
        assert come_to_pass(self._file) == len(points)
        tasks = self.site.inside(estate.newest_tasks, vms)
        assert [task["status"] for task in tasks] == [ends] * len(vms), tasks
        assert [task["deaths"] for task in tasks] == [len(plan) for plan in plans]

    def _goes_on(self, vms):
        self.site.replace_the_dead()
        time.sleep(0.1)
        return not self.site.inside(estate.open_tasks, vms)


def test_a_task_whose_workers_are_killed_in_the_middle_of_calls_ends_as_if_nothing_had_been(lab_site, tmp_path, labs):
    doom = Doom(lab_site, tmp_path)
    site = doom.site
    site.hire(4)
    vms = [site.inside(estate.create, labs[number % 2].name) for number in range(len(DEPLOYS))]

    doom.befalls("start", DEPLOYS, vms)
    assert site.inside(estate.statuses, vms) == ["running"] * 6
    for number, vm in enumerate(vms):
        lab = labs[number % 2]
        assert lab.virsh("domstate", f"vm-{vm}").strip() == "running"
        assert f"vm-{vm}-seed" not in lab.virsh("vol-list", "aiwm")
        assert "start 0x0001" in lab.run("cat", lab.pool / f"vm-{vm}-console.log")

    doom.befalls("stop", STOPS, vms[:2])
    doom.befalls("stop", FORCED_STOPS, vms[2:4], force=True)
    assert site.inside(estate.statuses, vms) == ["stopped"] * 4 + ["running"] * 2
    site.assert_balanced()

    doom.befalls("start", STARTS, vms[:4])
    doom.befalls("restart", RESTARTS, vms[4:])
    assert site.inside(estate.statuses, vms) == ["running"] * 6
    doom.befalls("stop", FORCED_STOPS * 2, vms[:4], force=True)
    site.assert_balanced()

    doom.befalls("delete", DELETES, vms[:4])
    site.assert_balanced()

    for lab in labs:
        site.inside(estate.change_node, lab.name, untagged_bridge=estate.NO_BRIDGE)
    vms = [site.inside(estate.create, lab.name) for lab in labs]
    doom.befalls("start", UNDONE, vms, ends="failed")
    assert site.inside(estate.statuses, vms) == ["failed"] * 2
    assert "could not start it" in site.inside(estate.error, vms[0])
    site.assert_balanced()
    site.dismiss()


def test_a_snapshot_is_taken_gone_back_to_and_removed_once_though_workers_are_killed(lab_site, tmp_path, labs):
    doom = Doom(lab_site, tmp_path)
    site = doom.site
    site.hire(3)
    vms = [site.inside(estate.create, labs[number % 2].name) for number in range(4)]
    site.deploy(*vms)
    off = vms[3]  # the others' have memory
    site.inside(estate.ask, "stop", off)
    site.inside.until(estate.status, off, gives="stopped")
    power = ["running"] * 3 + ["stopped"]

    doom.befalls("take", TAKEN, vms, ask=estate.ask_for_snapshot)
    assert site.inside(estate.snapshots, vms) == ["completed"] * 4
    doom.befalls("restore", RESTORED, vms, ask=estate.ask_for_snapshot)
    assert site.inside(estate.statuses, vms) == power
    for number, vm in enumerate(vms):
        lab = labs[number % 2]
        assert lab.virsh("domstate", f"vm-{vm}").strip() == ("shut off" if vm == off else "running")
        loads = (lab.logs / f"qemu/vm-{vm}.log").read_text().count("-loadvm")
        assert loads == (0 if vm == off else 1), "a guest that has run on is not brought back again"
    doom.befalls("remove", REMOVED, vms, ask=estate.ask_for_snapshot)
    assert site.inside(estate.snapshots, vms) == []
    for number, vm in enumerate(vms):
        assert labs[number % 2].virsh("snapshot-list", "--name", f"vm-{vm}").strip() == ""
    assert site.inside(estate.statuses, vms) == power
    site.assert_balanced()
    site.dismiss()


SLEEPERS = (
    ("write_seed", "virStorageVolCreateXML"),
    ("write_seed", "virStorageVolUpload"),
    ("define", "virDomainDefineXMLFlags"),
    ("remove_seed", "virDomainUpdateDeviceFlags"),
)
LEASE_SECONDS = 8.0


def test_a_worker_that_sleeps_through_its_lease_touches_nothing_when_it_wakes(lab_site, tmp_path, labs):
    site = lab_site(TROUBLED, {"points": str(tmp_path / "points")})
    vms = [site.inside(estate.create, labs[number % 2].name) for number in range(len(SLEEPERS))]
    write(tmp_path / "points", [Point(vm, *where, "before", "STOP") for vm, where in zip(vms, SLEEPERS, strict=True)])
    site.inside(estate.ask, "start", *vms)
    sleepers = site.hire(len(SLEEPERS), LEASE_SECONDS)
    site.wait_until_asleep(sleepers)
    site.workers = []

    asleep_since = time.monotonic()
    site.hire(2)
    site.inside.until(estate.statuses, vms, gives=["running"] * len(vms))
    site.inside(estate.ask, "stop", *vms)
    site.inside.until(estate.statuses, vms, gives=["stopped"] * len(vms))
    site.inside(estate.ask, "delete", vms[0])
    site.inside.until(estate.open_tasks, gives=0)
    site.dismiss()
    wait_for(lambda: time.monotonic() - asleep_since > LEASE_SECONDS, 10, "the leases to be over")

    before = [_all_of(lab) for lab in labs], site.inside(estate.books)
    site.wake(sleepers)
    assert site.codes_of(sleepers) == [EXIT_HUNG] * len(sleepers), "each sees that it is late, and leaves"
    assert ([_all_of(lab) for lab in labs], site.inside(estate.books)) == before
    site.assert_balanced()


def _all_of(lab):
    domains = lab.virsh("list", "--all", "--name").split()
    lab.virsh("pool-refresh", "aiwm")
    return (
        {name: lab.virsh("dumpxml", name, "--inactive") for name in domains},
        lab.virsh("list", "--all"),
        lab.virsh("vol-list", "aiwm", "--details"),
    )
