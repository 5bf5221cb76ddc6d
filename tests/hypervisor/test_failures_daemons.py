"""libvirtd of one of two nodes is killed, frozen or cannot be reached: the other node's tasks go on meanwhile, no VM
changes its status for it, and all is done when it is back. And a worker hears at once of a guest that dies.
"""

import json
import subprocess
import sys

import pytest

from tests.hypervisor import estate
from tests.processes.sites import wait_for

pytestmark = pytest.mark.processes

# The tasks of a node that hangs hold two workers, for as long as the silence lasts that is taken for its death; looks
# at it hold one more.
WORKERS = 4
# New workers start within it, on a machine that does other things; a task that a trouble holds up takes much longer.
SLACK_S = 8.0


@pytest.fixture
def site(lab_site):
    site = lab_site(SWEEP_SECONDS=1)
    site.hire(WORKERS)
    yield site
    site.dismiss()


def kill(lab, site):
    lab.kill_daemon()
    return lab.start_daemon


def freeze(lab, site):
    lab.stop_daemon_signal()
    return lab.continue_daemon


def take_the_socket_away(lab, site):
    """New workers find none; the connections of the old ones would live on."""
    site.dismiss()
    (lab.run_folder / "libvirt-sock").unlink()

    def put_back():
        lab.kill_daemon()
        lab.start_daemon()

    return put_back


def test_the_other_node_works_on_and_all_is_done_when_it_is_back(site, labs):
    near, far = labs
    idle, *troubled = [site.inside(estate.create, near.name) for _ in range(3)]
    others = [site.inside(estate.create, far.name) for _ in range(2)]
    site.deploy(idle, *troubled, *others)
    site.inside(estate.ask, "restart", *troubled, *others, force=True)
    site.inside.until(estate.statuses, [*troubled, *others], gives=["running"] * 4)
    usual = site.inside(estate.seconds_taken, others)

    for trouble in (kill, freeze, take_the_socket_away):
        mend = trouble(near, site)
        try:
            site.inside(estate.ask_unawares, "restart", *troubled, *others, force=True)
            site.hire(WORKERS - len(site.workers))
            site.inside.until(estate.statuses, others, gives=["running"] * 2)
            took = site.inside(estate.seconds_taken, others)
            assert took < 2 * usual + SLACK_S, f"{took} s, and {usual} s without {trouble.__name__}"
            site.inside.until(estate.online, near.name, gives=False)
            assert site.inside(estate.open_tasks, troubled) == 2, f"{trouble.__name__} is no trouble"
            assert site.inside(estate.statuses, [idle, *troubled]) == ["running", "deploying", "deploying"]
            assert site.inside(estate.health, idle) == "unknown"
        finally:
            mend()
        site.inside.until(estate.online, near.name, gives=True)
        site.inside.until(estate.hurried, troubled, gives=["running"] * 2)
        assert site.inside(estate.status, idle) == "running"
        assert site.inside(estate.health, idle) == "healthy"
    assert {task["status"] for task in site.inside(estate.newest_tasks, [*troubled, *others])} == {"succeeded"}
    site.assert_balanced()


def test_a_guest_that_dies_is_told_of_by_its_node(lab_site, labs):
    site = lab_site()
    site.hire(1)
    vms = [site.inside(estate.create, lab.name) for lab in labs]
    site.deploy(*vms)
    for lab, vm in zip(labs, vms, strict=True):
        lab.kill_guest(f"vm-{vm}")
        site.inside.until(estate.status, vm, gives="error", within_s=20)
    assert "its QEMU was killed" in site.inside(estate.error, vms[0])

    # And once more on a connection that was opened anew.
    lab, vm = labs[0], vms[0]
    lab.kill_daemon()
    lab.start_daemon()
    site.inside(estate.ask, "restart", vm)
    site.inside.until(estate.status, vm, gives="running")
    lab.kill_guest(f"vm-{vm}")
    site.inside.until(estate.status, vm, gives="error", within_s=20)
    wait_for(lambda: not site.inside(estate.open_tasks), 10, "the end of all tasks")
    site.assert_balanced()
    site.dismiss()


CALLS_AT_ONCE = """
import json, sys, threading
from vmbackends.base import NodeRef
from vmbackends.errors import NodeUnreachable
from vmbackends.libvirt import LibvirtBackend

backend, node = LibvirtBackend(**json.loads(sys.argv[2])), NodeRef("1", "lab", sys.argv[1])

def look_on_and_on():
    while True:
        try:
            backend.observe(node, ())
        except NodeUnreachable:
            return

backend.observe(node, ())
threads = [threading.Thread(target=look_on_and_on) for _ in range(3)]
for thread in threads:
    thread.start()
print("looking", flush=True)
for thread in threads:
    thread.join()
"""


def test_a_process_lives_on_whose_threads_call_a_node_that_falls_silent(labs):
    """In two threads on one connection libvirt's client crashes, and the process with it."""
    child = subprocess.Popen(
        [sys.executable, "-c", CALLS_AT_ONCE, labs[0].uri, json.dumps(estate.QUICK)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with child:
        try:
            assert child.stdout.readline() == "looking\n"
            labs[0].stop_daemon_signal()
            _, stderr = child.communicate(timeout=20)
        finally:
            labs[0].continue_daemon()
            child.kill()
    assert (child.returncode, stderr) == (0, "")
