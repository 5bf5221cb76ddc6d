"""`manage.py nodes`"""

from io import StringIO

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError
from django.utils import timezone

from accounts.models import AuditEntry
from nodes.images import volume_of
from nodes.models import Node
from nodes.queries import node_ref
from tasks.models import Task, Worker
from tasks.worker import drain
from tests.factories import ImageFactory, NodeFactory, OperatorFactory, UserFactory
from tests.nodes.keeping import keeping
from vmbackends.base import ImageReport, Lack, NodeSettings
from vmbackends.errors import NodeUnreachable, Refused

pytestmark = pytest.mark.django_db

URI = "qemu+tls://worker-01.example.com/system"


@pytest.fixture(autouse=True)
def operator(monkeypatch):
    monkeypatch.delenv("COLUMNS", raising=False)
    monkeypatch.setenv("AIWM_USER", "root")
    return OperatorFactory(username="root")


@pytest.fixture
def worker(monkeypatch):
    """A worker that lives, and does what is due whenever the command waits."""
    Worker.objects.create(host="here", pid=1, seen_at=timezone.now())
    monkeypatch.setattr("tasks.cli.sleep", lambda seconds: drain(ignore_waits=True))


@pytest.fixture
def backend():
    with keeping() as backend:
        yield backend


def nodes(*arguments):
    out = StringIO()
    call_command("nodes", *map(str, arguments), stdout=out)
    return out.getvalue()


def refusal(*arguments):
    """What it said in the end, after what it printed."""
    out = StringIO()
    with pytest.raises(CommandError) as caught:
        call_command("nodes", *map(str, arguments), stdout=out)
    return f"{out.getvalue()}{caught.value}"


# add


def test_it_adds_a_node(operator):
    printed = nodes("add", "worker-01", URI)
    node = Node.objects.get()
    assert (node.name, node.hostname, node.uri) == ("worker-01", "worker-01.example.com", URI)
    assert (node.cap_vcpus, node.enabled, node_ref(node).settings) == (0, True, NodeSettings())
    assert printed == f"Added worker-01 ({node.id}).\nNext: manage.py nodes check worker-01\n"
    entry = AuditEntry.objects.get(action="node.create")
    assert (entry.actor_id, entry.via, entry.object_id) == (operator.id, "command", node.id)


def test_it_adds_a_node_with_all_that_can_be_said():
    nodes(
        "add", "worker-01", URI, "--hostname", "elsewhere", "--segment", "hall-2", "--pool", "fast", "--bridge", "ovs0",
        "--untagged-bridge", "ovs1", "--openvswitch", "--domain-type", "kvm", "--cpu-mode", "host-model",
        "--vcpu-overcommit", "2.5", "--vcpus", "8", "--ram-mb", "1024", "--disk-gb", "50", "--maintenance",
    )  # fmt: skip
    node = Node.objects.get()
    assert node_ref(node).settings == NodeSettings("fast", "ovs0", "ovs1", True, "kvm", "host-model")
    assert (node.hostname, node.segment, node.vcpu_overcommit, node.enabled) == ("elsewhere", "hall-2", 2.5, False)
    assert (node.cap_vcpus, node.cap_ram_mb, node.cap_disk_gb) == (8, 1024, 50)


def test_it_adds_a_node_that_has_no_uri():
    nodes("add", "worker-01")
    assert Node.objects.values_list("hostname", "uri").get() == ("worker-01", "")


def test_it_says_what_is_wrong_by_its_options():
    message = refusal("add", "worker-01", "xen:///", "--bridge", "br0", "--cpu-mode", "a b", "--vcpus", "-1")
    for words in ("uri (URI): ", "bridge (--bridge): Must have {vlan}", "cpuMode (--cpu-mode)", "(--vcpus)"):
        assert words in message
    assert "uri (URI): " in refusal("add", "worker-01", "qemu+tls://[")
    assert AuditEntry.objects.filter(action="node.create", outcome="refused", code="validation").exists()


def test_it_says_nothing_of_a_password_that_it_refuses():
    assert "hunter2" not in refusal("add", "worker-01", "qemu+ssh://me:hunter2@w/system")


def test_it_refuses_a_name_that_is_taken():
    NodeFactory(name="worker-01")
    assert refusal("add", "worker-01", URI) == "There is a node named worker-01 already."


# check


def test_it_finds_nothing_that_a_node_lacks(backend, worker):
    image = ImageFactory()
    NodeFactory(
        name="worker-01", images=["ubuntu-22.04"], cap_vcpus=8, probed_domain_type="kvm", probed_cpu_mode="host-model"
    )
    backend.volumes["worker-01", image.volume] = image.size_bytes
    backend.report = {
        "vcpus": 8, "domain_type": "kvm", "cpu_mode": "host-model", "versions": {"qemu": "7.2.9", "libvirt": "9.0.0"}
    }  # fmt: skip
    assert nodes("check", "worker-01") == (
        "worker-01 answers.\n"
        "  versions: libvirt 9.0.0, qemu 7.2.9\n"
        "  guests: kvm host-model\n"
        "  vCPUs: 8\n"
        f"  images: {image.volume}\n"
        "worker-01 lacks nothing.\n"
    )


def test_it_tells_what_no_vm_accounts_for_and_what_can_be_done(backend, worker):
    node = NodeFactory(name="worker-01", uri=URI, images=())
    orphan = "692cdc80aabbccddee000001"
    Node.objects.filter(pk=node.pk).update(
        strays={"foreign": ["somebodys"], "orphans": {orphan: [f"vm-{orphan}", f"vm-{orphan}.qcow2"]},
                "images": ["image-debian-12-0123456789ab.qcow2"]}
    )  # fmt: skip
    said = nodes("check", "worker-01")
    assert "Note: The domain somebodys is not of AIWM" in said
    assert f"vm-{orphan}, vm-{orphan}.qcow2: named as of a VM" in said
    assert "virsh undefine" in said
    assert "Note: image-debian-12-0123456789ab.qcow2: of images that were imported anew or removed since." in said
    assert "manage.py images prune worker-01 removes those that no disk needs." in said


def test_it_tells_of_many_foreign_domains_in_one_sentence(backend, worker):
    NodeFactory(name="worker-01", uri=URI, images=(), strays={"foreign": ["one", "other"]})
    assert "Note: The domains one, other are not of AIWM." in nodes("check", "worker-01")


def test_it_says_in_order_what_a_node_lacks_and_how_it_is_mended(backend):
    NodeFactory(name="worker-01", images=(), enabled=False)
    backend.report = {
        "vcpus": 8, "ram_mb": 16_000, "disk_gb": 100, "gpus": (),
        "images": (ImageReport("image-of-another.qcow2", 5),),
        "lacks": (Lack("It has no bridge br0.", "ip link add br0 type bridge"), Lack("No pool.", "virsh pool-start")),
    }  # fmt: skip
    message = refusal("check", "worker-01")
    for line in (
        "  RAM: 15.62 GB\n  disk: 100 GB\n  GPUs: 0\n",
        "1. It has no bridge br0.\n   ip link add br0 type bridge\n2. No pool.\n   virsh pool-start\n",
        "3. None of its images is one that is kept here.\n   manage.py images push NAME worker-01\n",
        "4. No worker lives, so that nothing is done on any node.\n   manage.py worker\n",
        "5. What it has is not written down: vCPUs 8 (written: 128); MB of RAM 16000 (written: 1048576); GB of disk "
        "100 (written: 20480).\n   manage.py nodes refresh worker-01\n",
        "6. It is in maintenance: it takes no new VMs.\n",
    ):
        assert line in message
    assert message.endswith("worker-01 lacks 6 things. Mend the first and check again.")
    assert Node.objects.get().cap_vcpus == 128  # nothing is written down


@pytest.mark.parametrize(
    "report",
    [
        {"vcpus": 7},
        {"ram_mb": 1},
        {"disk_gb": 1},
        {"domain_type": "kvm"},
        {"cpu_mode": "maximum"},
        {"capabilities": ()},
    ],
)
def test_it_says_that_what_a_node_has_is_not_written_down(backend, worker, report):
    NodeFactory(name="worker-01", images=())
    backend.report = report
    assert "lacks one thing." in refusal("check", "worker-01")
    nodes("refresh", "worker-01")
    assert "lacks nothing." in nodes("check", "worker-01")


def test_it_says_what_the_guests_of_its_images_want_and_it_does_not_have(backend, worker):
    NodeFactory(name="worker-01", images=["debian-12", "windows-11"], capabilities=["uefi", "tpm"])
    for os_image, wants in (("debian-12", {}), ("windows-11", {"firmware": "uefi", "tpm": True})):
        image = ImageFactory(os_image=os_image, **wants)
        backend.volumes["worker-01", image.volume] = image.size_bytes
    backend.report = {"capabilities": ("uefi", "tpm")}
    assert "  capabilities: uefi, tpm\n" in nodes("check", "worker-01")
    backend.report = {"capabilities": ()}
    message = refusal("check", "worker-01")
    assert "1. It has no UEFI for guests of windows-11.\n   apt-get install ovmf\n" in message
    assert "2. It has no TPM for guests of windows-11.\n   apt-get install swtpm-tools\n" in message


def test_it_says_that_an_image_is_not_written_down(backend, worker):
    image = ImageFactory()
    NodeFactory(name="worker-01", images=())
    backend.volumes["worker-01", image.volume] = image.size_bytes
    said = "1. What it has is not written down: images ubuntu-22.04 (written: none).\n"
    assert said in refusal("check", "worker-01")


def test_it_says_of_which_image_it_has_another_file_than_the_one_that_is_kept(backend, worker):
    NodeFactory(name="worker-01", images=["ubuntu-22.04"])
    names = ("ubuntu-22.04", "debian-12", "debian-11", "centos-8")
    sent, half, _, newer = (ImageFactory(os_image=name) for name in names)
    older = volume_of("centos-8", "f" * 64)
    for volume, length in ((sent.volume, sent.size_bytes), (half.volume, 5), (older, newer.size_bytes)):
        backend.volumes["worker-01", volume] = length
    message = refusal("check", "worker-01")
    for number, name in enumerate(("centos-8", "debian-12"), 1):
        assert (
            f"{number}. Its file of {name} is not the one that is kept: an older one, or one that is half sent.\n"
            f"   manage.py images push {name} worker-01\n"
        ) in message
    assert "lacks 2 things" in message


def test_it_says_that_disks_are_gone(backend, worker):
    NodeFactory(name="worker-01", images=(), strays={"diskless": ["692cdc80aabbccddee000001"]})
    said = refusal("check", "worker-01")
    assert "Note: The disk of the VM 692cdc80aabbccddee000001 is gone from the pool aiwm." in said
    assert "1. Disks of VMs are gone from its pool: see the notes.\n" in said


def test_it_says_that_another_node_is_the_same_machine(backend, worker):
    NodeFactory(name="worker-01", images=(), boot_id="boot")
    NodeFactory(name="worker-02", boot_id=backend.probe(node_ref(Node.objects.get())).boot_id)
    said = "1. It runs on the same machine as worker-02, which counts what that has as well.\n"
    assert said in refusal("check", "worker-01")


def test_it_says_that_a_node_that_was_lost_was_not_looked_at_since(backend, worker):
    NodeFactory(name="worker-01", images=(), enabled=False, to_compare=True)
    said = refusal("check", "worker-01")
    assert "1. What domains are on it has not been looked at yet: it takes no new VMs.\n   A worker does that" in said
    assert "2. It is in maintenance: it takes no new VMs.\n" in said
    assert "Note: What domains are on it has not been looked at yet; it takes no new VM before." in said


def test_it_checks_a_mock(worker):
    NodeFactory(name="worker-01")
    assert "worker-01 lacks nothing." in nodes("check", "worker-01")


@pytest.mark.parametrize(
    ("fault", "code"),
    [(NodeUnreachable("worker-01 does not answer."), "node_unavailable"), (Refused("It will not."), "unsupported")],
)
def test_it_says_why_a_node_tells_nothing(backend, fault, code):
    NodeFactory(name="worker-01")
    backend.refusals["worker-01"] = fault
    assert refusal("check", "worker-01") == fault.message
    assert AuditEntry.objects.get(action="node.check").code == code


def test_it_leaves_a_lost_node_alone(backend):
    NodeFactory(name="worker-01", lost=True, enabled=False)
    assert refusal("check", "worker-01") == "worker-01 is marked lost and is left alone."
    assert "is marked lost" in refusal("refresh", "worker-01")
    assert backend.probed == []


# refresh


def test_it_has_a_worker_ask_nodes(backend, worker):
    for name in ("worker-01", "worker-02"):
        NodeFactory(name=name, cap_vcpus=1)
    backend.report = {"vcpus": 8}
    nodes("refresh", "worker-01", "worker-02", "worker-01")
    assert list(Node.objects.values_list("cap_vcpus", flat=True)) == [8, 8]
    assert AuditEntry.objects.filter(action="node.refresh", outcome="done").count() == 2


def test_it_says_which_node_could_not_be_asked(worker):
    for name in ("worker-01", "worker-03"):  # the mock takes the second for down
        NodeFactory(name=name)
    message = refusal("refresh", "worker-01", "worker-03")
    assert message.endswith("worker-03: node-refresh failed: worker-03 cannot be reached.")


def test_it_does_not_wait_where_nobody_works():
    NodeFactory(name="worker-01")
    assert "No worker lives" in refusal("refresh", "worker-01")
    assert nodes("refresh", "worker-01", "--no-wait") == f"worker-01: {Task.objects.get().public_id}\n"


# list


def test_it_lists_nodes():
    assert "No nodes." in nodes("list")
    NodeFactory(
        name="worker-01", probed_domain_type="kvm", cpu_mode="host-model", images=["debian-12", "debian-11"],
        cap_ram_mb=4096, vcpu_overcommit=2.0, cap_vcpus=4, last_seen=None,
    )  # fmt: skip
    NodeFactory(name="worker-02", images=(), lost=True)
    first, second = nodes("list").splitlines()[1:]
    for words in ("worker-01", "online", "0 of 8", "0 GB of 4 GB", "kvm host-model", "debian-11, debian-12"):
        assert words in first
    assert "lost" in second


def test_it_asks_as_many_queries_for_many_nodes_as_for_one(django_assert_num_queries):
    NodeFactory()
    with django_assert_num_queries(3):  # with the acting user
        nodes("list")
    NodeFactory()
    with django_assert_num_queries(3):
        nodes("list")


# Who may


@pytest.mark.parametrize(
    "arguments", [("list",), ("add", "worker-02", "nonsense"), ("check", "worker-01"), ("refresh", "worker-01")]
)
def test_it_is_for_operators_alone(arguments):
    UserFactory(username="alice")
    NodeFactory(name="worker-01")
    assert refusal(*arguments, "--as", "alice").endswith("Only an operator may do this.")
    entry = AuditEntry.objects.get()
    assert (entry.outcome, entry.code, entry.actor_name) == ("refused", "forbidden", "alice")


def test_it_knows_the_nodes_that_there_are():
    NodeFactory(name="worker-01")
    assert refusal("check", "worker-09") == "There is no node 'worker-09'. There are: worker-01."
