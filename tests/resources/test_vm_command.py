"""`manage.py vm`"""

import io
import json
import logging
from io import StringIO

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError
from django.utils import timezone

from accounts.models import AuditEntry, Role
from nodes.models import GpuUse, Node
from resources import logs
from resources.models import LogEntry, VirtualMachine, VmSecret
from resources.states import Status
from tasks.models import Task, TaskStatus, Worker
from tasks.worker import drain
from tests.factories import (
    GpuFactory,
    NodeFactory,
    OperatorFactory,
    OrganizationFactory,
    SnapshotFactory,
    UserFactory,
    VirtualMachineFactory,
    create_body,
)

pytestmark = pytest.mark.django_db

HARDWARE = ("--image", "ubuntu-22.04", "--vcpus", "2", "--ram-gb", "4", "--disk-gb", "20")


@pytest.fixture(autouse=True)
def _nobody_named(monkeypatch):
    monkeypatch.delenv("AIWM_USER", raising=False)
    monkeypatch.delenv("COLUMNS", raising=False)


@pytest.fixture
def user():
    return UserFactory(username="alice")


@pytest.fixture
def worker(monkeypatch):
    """A worker that lives, and does what is due whenever the command waits."""
    Worker.objects.create(host="here", pid=1, seen_at=timezone.now())
    monkeypatch.setattr("tasks.cli.sleep", lambda seconds: drain(ignore_waits=True))


def own_vm(user, **fields):
    return VirtualMachineFactory(organization=user.organization, owner=user, **fields)


def vm(*arguments, user="alice"):
    out = StringIO()
    call_command("vm", *arguments, *(["--as", user] if user else []), stdout=out)
    return out.getvalue()


def refusal(*arguments, **kwargs):
    with pytest.raises(CommandError) as caught:
        vm(*arguments, **kwargs)
    assert caught.value.returncode == 1
    return str(caught.value)


# Who acts


def test_it_refuses_nobody():
    assert refusal("list", user=None) == "Say who acts: --as USERNAME, or set AIWM_USER in the environment."


def test_it_refuses_who_is_not_there():
    assert refusal("list", user="mallory") == "There is no active user 'mallory' to act as."


def test_it_acts_as_the_user_of_the_environment(user, monkeypatch):
    own_vm(user, name="web")
    monkeypatch.setenv("AIWM_USER", "alice")

    assert "web" in vm("list", user=None)


def test_it_takes_the_user_on_either_side_of_the_verb(user):
    own_vm(user, name="web")

    assert "web" in vm("--as", "alice", "list", user=None)


def test_it_refuses_what_the_role_does_not_allow():
    viewer = UserFactory(username="alice", role=Role.VIEWER)
    own_vm(viewer, name="web", status=Status.STOPPED)

    assert "Your role is viewer" in refusal("start", "web")
    assert not Task.objects.exists()


# list


def test_it_lists_the_vms_that_the_user_sees(user):
    mine = own_vm(user, name="mine", ip_address="10.0.0.9")
    VirtualMachineFactory(name="theirs")

    printed = vm("list")

    for words in (mine.id, "mine", "queued", mine.node.name, "ubuntu-22.04", "2 GB", "20 GB", "10.0.0.9"):
        assert words in printed
    assert "theirs" not in printed


def test_it_cuts_nothing_in_a_pipe(user):
    own_vm(user, name="n" * 100)

    assert "n" * 100 in vm("list")


def test_it_takes_no_name_for_markup(user):
    own_vm(user, name="[red]web[/red] :smile:")

    assert "[red]web[/red] :smile:" in vm("list")


def test_it_says_that_there_are_none(user):
    assert vm("list") == "No VMs.\n"


@pytest.mark.parametrize(
    ("options", "names"),
    [
        (["--status", "stopped"], {"old"}),
        (["--status", "stopped,queued"], {"old", "new"}),
        (["--node", "worker-01"], {"new"}),
        (["--org", "Acme"], {"old"}),
        (["--org", "nobody"], set()),
        (["--search", "10.9"], {"new"}),
        (["--limit", "1"], {"new"}),
    ],
)
def test_it_filters(options, names):
    OperatorFactory(username="alice")
    VirtualMachineFactory(name="old", status=Status.STOPPED, organization=OrganizationFactory(name="Acme"))
    VirtualMachineFactory(name="new", node=NodeFactory(name="worker-01"), ip_address="10.9.0.1")

    assert {row["name"] for row in json.loads(vm("list", "--json", *options))} == names


def test_it_refuses_filters_that_are_none(user):
    NodeFactory(name="worker-01")

    assert "'on' is no status. There are: queued, " in refusal("list", "--status", "on")
    assert refusal("list", "--node", "worker-9") == "There is no node 'worker-9'. There are: worker-01."


# show


def test_it_shows_a_vm(user):
    row = own_vm(user, name="web", status=Status.ERROR, error_message="The disk is gone", description="the shop")
    SnapshotFactory(vm=row, name="before upgrade")
    task = Task.objects.create(type="vm-stop", subject_id=row.id, error="no answer")

    printed = vm("show", "web")

    for words in (row.id, "error", "The disk is gone", "the shop", '"osImage": "ubuntu-22.04"', "before upgrade",
                  task.public_id, "no answer", f"vm-{row.id}"):  # fmt: skip
        assert words in printed


def test_it_shows_a_vm_that_never_ran(user):
    own_vm(user, name="web")

    assert "never deployed" in vm("show", "web")


def test_it_shows_the_apis_document(user):
    row = own_vm(user)

    document = json.loads(vm("show", row.id, "--json"))

    assert (document["_id"], document["allowedActions"]) == (row.id, ["start", "edit", "delete"])


def test_it_lets_no_name_move_the_cursor(user):
    own_vm(user, name="web", description="two\nlines\tand \x1b[2J", error_message="\x1b]0;title\x07")

    assert "\x1b" not in vm("show", "web")


# Which one is meant


def test_it_takes_an_id_or_a_domains_name(user):
    row = own_vm(user)

    assert row.name in vm("show", row.id)
    assert row.name in vm("show", f"vm-{row.id}")


def test_it_refuses_a_name_that_several_have(user):
    rows = [own_vm(user, name="web") for _ in range(2)]

    words = refusal("start", "web")

    assert words.startswith("Several VMs are named 'web'. Name one by its id:")
    assert all(row.id in words for row in rows)


def test_it_knows_no_vm_of_others_and_no_deleted_one(user):
    theirs = VirtualMachineFactory(name="theirs")
    own_vm(user, name="gone", deleted_at=timezone.now())

    for reference in ("theirs", theirs.id, "gone", "nonsense"):
        assert refusal("show", reference) == f"There is no VM {reference!r}."


# create


def test_it_creates_a_vm(user):
    node = NodeFactory(name="worker-01")

    printed = vm("create", "--name", "web", "--node", "worker-01", *HARDWARE, "--hostname", "web", "--vlan", "100")

    row = VirtualMachine.objects.get()
    assert printed == f"Created web ({row.id}) on worker-01.\n"
    assert (row.node, row.organization, row.owner, row.status) == (node, user.organization, user, Status.QUEUED)
    assert (row.vcpus, row.ram_mb, row.disk_gb) == (2, 4096, 20)
    config = json.loads(row.config_json)
    assert config["networkConfig"] == {"mode": "bridge-vlan", "ipMode": "dhcp", "vlanId": 100}
    assert config["cloudInit"] == {"hostname": "web"}
    assert AuditEntry.objects.get().via == "command"


def test_it_creates_a_vm_with_a_static_address_and_a_gpu(user):
    gpu = GpuFactory(device_id="GPU-0", use=GpuUse.PASSTHROUGH)

    vm("create", "--name", "web", "--node", gpu.node_id, *HARDWARE, "--gpu", "GPU-0", "--ip", "10.0.0.9",
       "--netmask", "255.255.255.0", "--gateway", "10.0.0.1")  # fmt: skip

    row = VirtualMachine.objects.get()
    assert (row.ip_address, row.allocated_gpu) == ("10.0.0.9", ["GPU-0"])


def test_it_creates_a_vm_with_a_mig_instance(user):
    gpu = GpuFactory(device_id="GPU-0", use=GpuUse.MIG)

    vm("create", "--name", "web", "--node", gpu.node_id, *HARDWARE, "--mig", "1g.5gb")

    assert VirtualMachine.objects.get().mig_count == 1


def test_it_creates_a_vm_of_a_file(user, tmp_path):
    body = tmp_path / "body.json"
    body.write_text(json.dumps(create_body(NodeFactory(), name="of-a-file")))

    vm("create", "--file", str(body))

    assert VirtualMachine.objects.get().name == "of-a-file"


def test_it_refuses_a_file_beside_options_and_one_that_is_none(user, tmp_path):
    broken = tmp_path / "body.json"
    broken.write_text("{")

    assert refusal("create", "--file", str(broken), "--disk-gb", "20") == "--file says it all: leave out --disk-gb."
    assert "is no JSON" in refusal("create", "--file", str(broken))
    assert "cannot be read: No such file" in refusal("create", "--file", str(tmp_path / "nothing"))
    broken.write_bytes(b"\xff")
    assert "is no text in UTF-8" in refusal("create", "--file", str(broken))


def test_it_lists_every_fault(user):
    words = refusal("create", "--name", "web", "--vcpus", "0", "--ip", "10.0.0.9")

    assert words.startswith("Some fields are wrong:\n")
    for fault in ("nodeId (--node): ", "config.osImage (--image): ", "config.vcpus (--vcpus): ",
                  "config.ramMB (--ram-gb or --ram-mb): ", "config.diskGB (--disk-gb): ",
                  "config.networkConfig.netmask (--netmask): "):  # fmt: skip
        assert fault in words
    assert not VirtualMachine.objects.exists()


def test_it_says_what_the_quota_lacks(user):
    user.organization.quota_vcpus = 1
    user.organization.save(update_fields=["quota_vcpus"])

    words = refusal("create", "--name", "web", "--node", NodeFactory().id, *HARDWARE)

    assert "vcpus: 2 more on 0 of 1" in words


def test_it_takes_a_password_from_stdin_and_shows_it_nowhere(user, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO("horse battery\n"))

    printed = vm("create", "--name", "web", "--node", NodeFactory().id, *HARDWARE, "--password-stdin")

    row = VirtualMachine.objects.get()
    assert VmSecret.objects.get().vm == row
    assert "horse" not in printed + row.config_json + vm("show", "web")


def test_it_refuses_an_empty_password(user, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO(""))

    assert "stdin is empty" in refusal("create", "--name", "web", "--password-stdin")


def test_it_reads_a_key_from_a_file_and_refuses_a_private_one(user, tmp_path):
    key = tmp_path / "id"
    key.write_text("-----BEGIN OPENSSH PRIVATE KEY-----\n")

    words = refusal("create", "--name", "web", "--node", NodeFactory().id, *HARDWARE, "--ssh-key-file", str(key))

    assert "config.cloudInit.sshPublicKey (--ssh-key-file): " in words


def test_it_creates_for_another_organization_as_an_operator_alone(user):
    other = OrganizationFactory(name="Acme")
    OperatorFactory(username="root")
    of_acme = ("create", "--name", "web", "--node", NodeFactory().id, *HARDWARE, "--org", "Acme")

    assert "There is no such organization" in refusal(*of_acme)
    vm(*of_acme, user="root")

    assert VirtualMachine.objects.get().organization == other


def test_it_creates_and_starts(user, worker):
    vm("create", "--name", "web", "--node", NodeFactory().id, *HARDWARE, "--start")

    assert VirtualMachine.objects.get().status == Status.RUNNING


# start, stop, restart, delete


@pytest.mark.parametrize(
    ("arguments", "before", "after"),
    [
        (["start"], Status.QUEUED, Status.RUNNING),
        (["start"], Status.STOPPED, Status.RUNNING),
        (["stop"], Status.RUNNING, Status.STOPPED),
        (["stop", "--force"], Status.RUNNING, Status.STOPPED),
        (["restart"], Status.RUNNING, Status.RUNNING),
    ],
)
def test_it_changes_a_vm_and_waits(user, worker, arguments, before, after):
    row = own_vm(user, name="web", status=before)

    printed = vm(*arguments, "web")

    row.refresh_from_db()
    assert row.status == after
    assert printed.splitlines()[-1] == "web: 100 % succeeded"
    assert Task.objects.get().payload.get("force", False) == ("--force" in arguments)


def test_it_changes_several_and_hides_no_fault_behind_another(user, worker):
    good, bad = own_vm(user, name="good", status=Status.STOPPED), own_vm(user, name="bad", status=Status.RUNNING)
    away = own_vm(user, name="away", status=Status.STOPPED, node=NodeFactory(name="worker-09", online=False))

    words = refusal("start", "bad", "good", "away", "good")

    good.refresh_from_db()
    assert good.status == Status.RUNNING
    assert "bad: Cannot start a VM that is running" in words
    assert "away: worker-09 cannot be reached" in words
    assert Task.objects.filter(subject_id__in=[bad.id, away.id]).count() == 0


def test_it_names_the_task_that_a_vm_waits_for(user):
    own_vm(user, name="web")
    vm("start", "web", "--no-wait")

    words = refusal("start", "web")

    assert words == f"web: A task runs on this VM. Wait for it to end. ({Task.objects.get().public_id})"


def test_it_says_at_once_that_no_worker_lives(user, monkeypatch):
    own_vm(user, name="web")
    monkeypatch.setattr("tasks.cli.sleep", lambda seconds: pytest.fail("it waited"))

    words = refusal("start", "web")

    task = Task.objects.get()
    assert words == f"No worker lives, so {task.public_id} waits for one. Start it: `manage.py worker`."


def test_it_waits_no_longer_than_it_is_told(user, monkeypatch):
    own_vm(user, name="web")
    Worker.objects.create(host="here", pid=1, seen_at=timezone.now())
    moments = iter([0.0, 5.0, 11.0])
    monkeypatch.setattr("tasks.cli.monotonic", lambda: next(moments))
    monkeypatch.setattr("tasks.cli.sleep", lambda seconds: None)

    words = refusal("start", "web", "--timeout", "10")

    assert words == f"Not done after 10 s, and still going on: {Task.objects.get().public_id}"


def test_it_does_not_wait_if_told_so(user):
    own_vm(user, name="web")

    printed = vm("start", "web", "--no-wait")

    assert printed == f"web: {Task.objects.get().public_id} vm-deploy\n"


def test_what_it_logs_is_no_more_than_warnings(user, monkeypatch):
    """On a terminal the lines of a log would stand between its own."""
    own_vm(user)
    root, levels = logging.getLogger(), []
    monkeypatch.setattr(root, "level", logging.INFO)
    monkeypatch.setattr("resources.management.commands.vm.vm_table", lambda *_: levels.append(root.level) or "")
    vm("list")
    assert (levels, root.level) == ([logging.WARNING], logging.INFO)


def test_it_leaves_on_ctrl_c_and_says_what_goes_on(user, monkeypatch):
    own_vm(user, name="web")
    Worker.objects.create(host="here", pid=1, seen_at=timezone.now())

    def interrupt(seconds):
        raise KeyboardInterrupt

    monkeypatch.setattr("tasks.cli.sleep", interrupt)

    with pytest.raises(CommandError) as caught:
        vm("start", "web")

    assert caught.value.returncode == 130
    assert str(caught.value) == f"No longer waiting; this goes on: {Task.objects.get().public_id}"


def test_it_fails_where_the_task_fails(user, monkeypatch):
    own_vm(user, name="web")
    Worker.objects.create(host="here", pid=1, seen_at=timezone.now())
    failed = {"status": TaskStatus.FAILED, "error": "The image is broken"}
    monkeypatch.setattr("tasks.cli.sleep", lambda seconds: Task.objects.update(**failed))

    assert refusal("start", "web") == "web: vm-deploy failed: The image is broken"


def test_it_shows_a_bar_on_a_terminal(user, worker, monkeypatch):
    own_vm(user, name="[b]web[/b]")
    monkeypatch.setenv("TERM", "xterm")

    class Terminal(StringIO):
        def isatty(self):
            return True

    out = Terminal()
    call_command("vm", "start", "[b]web[/b]", "--as", "alice", stdout=out)

    assert "100%" in out.getvalue()
    assert "[b]web[/b]" in out.getvalue()


def test_it_deletes_with_yes(user, worker):
    row = own_vm(user, name="web", status=Status.STOPPED)

    vm("delete", "web", "--yes")

    row.refresh_from_db()
    assert row.deleted_at is not None
    assert not row.deployed


def test_it_deletes_what_was_never_deployed_without_a_worker(user):
    row = own_vm(user, name="web")

    assert vm("delete", "web", "--yes") == "web: done\n"

    row.refresh_from_db()
    assert row.deleted_at is not None


def test_an_operator_forgets_vms_of_a_lost_node(user):
    row, deleted = own_vm(user, name="web", status=Status.ERROR), own_vm(user, name="old", status=Status.STOPPED)
    vm("delete", "old", "--yes", "--no-wait")
    OperatorFactory(username="root")
    assert "is not marked lost" in refusal("forget", "web", "--yes", user="root")
    Node.objects.update(lost=True)
    assert "This is to forget web (error, on " in refusal("forget", "web", user="root")
    assert vm("forget", "web", deleted.id, "--yes", user="root") == "web: done\nold: done\n"
    for each in (row, deleted):
        each.refresh_from_db()
        assert (each.deployed, each.forgotten) == (False, True)
    assert AuditEntry.objects.filter(action="vm.forget", outcome="done").count() == 2


def test_others_forget_nothing(user):
    own_vm(user, name="web", status=Status.ERROR)
    Node.objects.update(lost=True)
    assert refusal("forget", "web", "--yes") == "web: Only an operator may do this."
    assert VirtualMachine.objects.get().deployed


def test_it_deletes_nothing_unasked(user, monkeypatch):
    row = own_vm(user, name="web")
    monkeypatch.setattr("sys.stdin", io.StringIO(""))

    assert "Say --yes" in refusal("delete", "web")
    row.refresh_from_db()
    assert row.deleted_at is None


@pytest.mark.parametrize(("said", "deleted"), [("y", True), ("no", False), ("", False)])
def test_it_asks_on_a_terminal(user, monkeypatch, said, deleted):
    row = own_vm(user, name="web")

    class Terminal(io.StringIO):
        def isatty(self):
            return True

    monkeypatch.setattr("sys.stdin", Terminal())
    monkeypatch.setattr("builtins.input", lambda question: said)

    if deleted:
        vm("delete", "web")
    else:
        assert refusal("delete", "web") == "Nothing was deleted."

    row.refresh_from_db()
    assert (row.deleted_at is not None) == deleted


# logs


def test_it_prints_the_newest_lines(user):
    row = own_vm(user, name="web")
    for number in range(3):
        logs.record(row.id, "warning", f"line {number}")

    printed = vm("logs", "web", "-n", "2").splitlines()

    assert [line.split("WARNING ")[1] for line in printed] == ["line 1", "line 2"]


def test_it_follows_the_log_and_prints_each_line_once(user, monkeypatch):
    row = own_vm(user, name="web")
    logs.record(row.id, "info", "before")
    turns = iter(["first", "second", None])

    def wait(seconds):
        message = next(turns)
        if message is None:
            raise KeyboardInterrupt
        logs.record(row.id, "info", message, at=LogEntry.objects.latest("at").at)

    monkeypatch.setattr("resources.management.commands.vm.sleep", wait)

    printed = vm("logs", "web", "--follow").splitlines()

    assert [line.split()[-1] for line in printed] == ["before", "first", "second"]


def test_it_ends_where_the_vm_that_it_follows_is_deleted(user, monkeypatch):
    row = own_vm(user, name="web")

    def wait(seconds):
        VirtualMachine.objects.filter(pk=row.id).update(deleted_at=timezone.now())

    monkeypatch.setattr("resources.management.commands.vm.sleep", wait)

    assert refusal("logs", "web", "--follow") == f"There is no VM '{row.id}'."
