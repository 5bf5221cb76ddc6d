import pytest
from django.contrib.auth.models import Permission
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from accounts.models import AuditEntry
from nodes import claims, room
from nodes.models import Gpu, Network, Node
from nodes.room import Room
from tasks.models import Task
from tests.factories import (
    GpuFactory,
    ImageFactory,
    NetworkFactory,
    NodeFactory,
    OperatorFactory,
    OrganizationFactory,
)

pytestmark = pytest.mark.django_db

NOBODY = "692cdc80aabbccddee000001"
STRAYS = {
    "foreign": ["somebodys"],
    "orphans": {NOBODY: [f"vm-{NOBODY}", f"vm-{NOBODY}.qcow2"]},
    "images": ["image-old.qcow2"],
}


@pytest.fixture
def operator():
    return OperatorFactory()


@pytest.fixture
def browser(operator):
    browser = Client()
    browser.force_login(operator)
    return browser


def form_of(node: Node | None, **changes):
    """What the node's page posts."""
    data = {
        "name": "worker-01", "hostname": "worker-01.example.com", "segment": "default", "uri": "", "enabled": "on",
        "pool": "aiwm", "bridge": "br{vlan}", "untagged_bridge": "br0", "domain_type": "", "cpu_mode": "",
        "cap_vcpus": "8", "cap_ram_mb": "4096", "cap_disk_gb": "100", "vcpu_overcommit": "1.0",
        "seen_version": str(node.version) if node else "1",
    }  # fmt: skip
    gpus = list(node.gpus.all()) if node else []
    images = list(node.images.all()) if node else []
    for prefix, rows in (("gpus", gpus), ("images", images)):
        data |= {f"{prefix}-TOTAL_FORMS": str(len(rows)), f"{prefix}-INITIAL_FORMS": str(len(rows))}
        for n, row in enumerate(rows):
            data |= {f"{prefix}-{n}-id": row.id, f"{prefix}-{n}-node": node.id}
    for n, gpu in enumerate(gpus):
        for name in ("device_id", "model", "memory_mb", "pci_address", "use"):
            data[f"gpus-{n}-{name}"] = str(getattr(gpu, name))
    for n, image in enumerate(images):
        data[f"images-{n}-os_image"] = image.os_image
    data |= changes
    return {name: value for name, value in data.items() if value is not None}


def messages_of(answer) -> list[str]:
    return [str(message) for message in answer.context["messages"]]


@pytest.mark.parametrize("model", ["node", "gpu", "network", "image", "claim"])
def test_it_shows_its_lists(browser, model):
    node = NodeFactory(name="worker-01")
    GpuFactory(node=node, device_id="GPU-0")
    ImageFactory()
    NetworkFactory(organizations=[OrganizationFactory()])
    claims.take_gpus("c" * 24, "", node.id, ["GPU-0"])
    path = reverse(f"admin:nodes_{model}_changelist")
    assert browser.get(path).status_code == 200
    assert browser.get(path, {"q": "worker"}).status_code == 200


def test_its_list_says_what_is_promised_of_what_a_node_has(browser):
    NodeFactory(
        name="worker-77", hostname="worker-77.example.com", segment="rack-9", cap_vcpus=64, used_vcpus=10,
        cap_ram_mb=524_288, used_ram_mb=28_672, cap_disk_gb=10_240, used_disk_gb=320,
    )  # fmt: skip

    page = browser.get(reverse("admin:nodes_node_changelist")).content.decode()

    for text in ("worker-77.example.com", "segment rack-9", "Promised vCPUs", "10 of 64", "28 of 512 GB",
                 "320 of 10,240 GB"):  # fmt: skip
        assert text in page


def test_its_list_marks_nodes_with_what_no_vm_accounts_for(browser, django_assert_num_queries):
    path = reverse("admin:nodes_node_changelist")
    NodeFactory(strays=STRAYS)
    browser.get(path)
    with CaptureQueriesContext(connection) as one:
        page = browser.get(path).content.decode()
    assert "1 foreign" in page
    assert "2 orphaned" in page
    assert "1 old image" in page
    NodeFactory.create_batch(3, strays=STRAYS)
    with django_assert_num_queries(len(one)):
        browser.get(path)


def test_its_list_says_nothing_of_a_node_in_order(browser):
    NodeFactory()
    page = browser.get(reverse("admin:nodes_node_changelist")).content.decode()
    assert "foreign" not in page
    assert "orphaned" not in page
    assert "old image" not in page


@pytest.mark.parametrize("status", ["online", "offline", "maintenance", "lost"])
def test_it_filters_by_status(browser, status):
    NodeFactory(name="worker-online")
    NodeFactory(name="worker-offline", online=False)
    NodeFactory(name="worker-maintenance", enabled=False)
    NodeFactory(name="worker-lost", enabled=False, lost=True)
    answer = browser.get(reverse("admin:nodes_node_changelist"), {"status": status})
    assert [node.name for node in answer.context["cl"].result_list] == [f"worker-{status}"]


@pytest.mark.parametrize("model", ["gpu", "claim", "image"])
def test_it_only_shows_gpus_claims_and_images(browser, model):
    node = NodeFactory()
    gpu = GpuFactory(node=node, device_id="GPU-0")
    claims.take_gpus("c" * 24, "", node.id, ["GPU-0"])
    pk = {"gpu": gpu.pk, "claim": f"gpu:{gpu.pk}:0", "image": ImageFactory().pk}[model]
    assert browser.get(reverse(f"admin:nodes_{model}_change", args=[pk])).status_code == 200
    assert browser.post(reverse(f"admin:nodes_{model}_change", args=[pk]), {}).status_code == 403
    assert browser.get(reverse(f"admin:nodes_{model}_add")).status_code == 403
    assert browser.post(reverse(f"admin:nodes_{model}_delete", args=[pk]), {"post": "yes"}).status_code == 403


def test_it_shows_a_nodes_page(browser):
    node = NodeFactory(name="worker-01")
    GpuFactory(node=node)
    answer = browser.get(reverse("admin:nodes_node_change", args=[node.pk]))
    assert answer.status_code == 200
    assert "worker-01" in answer.content.decode()


def test_a_nodes_page_says_in_words_what_the_node_said_of_itself(browser):
    def page_of(**columns):
        return browser.get(reverse("admin:nodes_node_change", args=[NodeFactory(**columns).pk])).content.decode()

    page = page_of(
        probed_domain_type="kvm", probed_cpu_mode="host-model", capabilities=["uefi", "tpm"],
        hypervisor={"qemu": "7.2.22", "libvirt": "9.0.0"},
    )  # fmt: skip
    for words in ("kvm host-model", "UEFI, TPM", "libvirt 9.0.0, qemu 7.2.22"):
        assert words in page
    assert "neither UEFI nor TPM" in page_of(capabilities=[])
    assert page_of().count("not asked yet") == 3


def test_a_nodes_page_says_what_no_vm_accounts_for_and_what_can_be_done(browser):
    node = NodeFactory(strays={**STRAYS, "foreign": ["<b>theirs</b>"]})
    GpuFactory(node=node, device_id="GPU-7", stray_domain="theirs")
    GpuFactory(node=node, device_id="GPU-8")
    page = browser.get(reverse("admin:nodes_node_change", args=[node.pk])).content.decode()
    assert "GPU-8 is a device" not in page
    assert "What the last look at it tells" in page
    assert "<li>The domain &lt;b&gt;theirs&lt;/b&gt; is not of AIWM." in page
    assert f"<li>vm-{NOBODY}, vm-{NOBODY}.qcow2: named as of a VM ({NOBODY}) that is not there." in page
    assert "GPU-7 is a device of the domain theirs, and is given to no VM while it is." in page
    assert f"manage.py images prune {node.name} removes" in page


def test_a_nodes_page_says_nothing_where_a_vm_accounts_for_all(browser):
    for path in (reverse("admin:nodes_node_change", args=[NodeFactory().pk]), reverse("admin:nodes_node_add")):
        assert "What the last look at it tells" not in browser.get(path).content.decode()


def test_what_no_vm_accounts_for_is_no_input(browser):
    node = NodeFactory(name="worker-01", images=(), strays=STRAYS)
    path = reverse("admin:nodes_node_change", args=[node.pk])
    assert browser.post(path, form_of(node, hostname="elsewhere", strays="{}", unaccounted="")).status_code == 302
    node.refresh_from_db()
    assert (node.hostname, node.strays) == ("elsewhere", STRAYS)


def test_it_changes_how_vms_are_put_on_a_node(browser):
    node = NodeFactory(name="worker-01", cpu_mode="qemu64", probed_cpu_mode="host-model")
    path = reverse("admin:nodes_node_change", args=[node.pk])
    assert "host-model" in browser.get(path).content.decode()
    answer = browser.post(path, form_of(node, bridge="ovs0", openvswitch="on", domain_type="qemu"))
    assert answer.status_code == 302, answer.context["adminform"].errors
    after = Node.objects.get(pk=node.pk)
    assert (after.bridge, after.openvswitch, after.domain_type, after.cpu_mode) == ("ovs0", True, "qemu", "")
    refused = browser.post(path, form_of(after, bridge="ovs0"))
    assert list(refused.context["adminform"].errors) == ["bridge"]


def test_it_adds_a_node_by_the_action(browser, operator):
    data = form_of(
        None, **{"gpus-TOTAL_FORMS": "1", "gpus-INITIAL_FORMS": "0", "gpus-0-device_id": "GPU-0",
                 "gpus-0-model": "NVIDIA A30", "gpus-0-memory_mb": "24576", "gpus-0-pci_address": "0000:3b:00.0",
                 "gpus-0-use": "mig", "images-TOTAL_FORMS": "1", "images-INITIAL_FORMS": "0",
                 "images-0-os_image": "debian-12"},
    )  # fmt: skip
    answer = browser.post(reverse("admin:nodes_node_add"), data)
    assert answer.status_code == 302, answer.context["adminform"].errors
    node = Node.objects.get()
    assert (node.name, node.cap_ram_mb) == ("worker-01", 4096)
    assert node.gpus.get().use == "mig"
    assert node.images.get().os_image == "debian-12"
    entry = AuditEntry.objects.get(action="node.create")
    assert (entry.via, entry.actor_id, entry.object_id) == ("admin", operator.id, node.id)


def test_it_changes_a_node_by_the_action(browser):
    node = NodeFactory(name="worker-01")
    gone, kept = (GpuFactory(node=node, device_id=f"GPU-{n}") for n in range(2))
    data = form_of(node, hostname="elsewhere", enabled=None, **{"gpus-0-DELETE": "on", "gpus-1-use": "mig"})
    answer = browser.post(reverse("admin:nodes_node_change", args=[node.pk]), data)
    assert answer.status_code == 302
    node.refresh_from_db()
    kept.refresh_from_db()
    assert (node.hostname, node.enabled, node.version) == ("elsewhere", False, 2)
    assert kept.use == "mig"
    assert not Gpu.objects.filter(pk=gone.pk).exists()
    assert node.images.count() == 8
    assert AuditEntry.objects.filter(action="node.update", via="admin").count() == 1


@pytest.mark.parametrize(
    ("changes", "field"),
    [({"uri": "qemu+ssh://w/system?command=x"}, "uri"), ({"segment": "a:b"}, "segment"),
     ({"vcpu_overcommit": "1000"}, "vcpu_overcommit"), ({"name": ""}, "name")],
)  # fmt: skip
def test_it_shows_faults_beside_their_fields(browser, changes, field):
    node = NodeFactory(name="worker-01")
    answer = browser.post(reverse("admin:nodes_node_change", args=[node.pk]), form_of(node, **changes))
    assert answer.status_code == 200
    assert list(answer.context["adminform"].errors) == [field]
    assert Node.objects.get().version == 1


def test_it_shows_faults_of_a_gpu(browser):
    node = NodeFactory(name="worker-01")
    GpuFactory(node=node)
    data = form_of(node, **{"gpus-0-pci_address": "3b:00"})
    answer = browser.post(reverse("admin:nodes_node_change", args=[node.pk]), data)
    assert answer.status_code == 200
    assert "pci_address" in answer.context["inline_admin_formsets"][0].formset.errors[0]


def test_it_shows_what_the_action_refuses_and_changes_nothing(browser):
    node = NodeFactory(name="worker-01")
    GpuFactory(node=node, device_id="GPU-0")
    claims.take_gpus("c" * 24, "", node.id, ["GPU-0"])
    data = form_of(node, hostname="elsewhere", **{"gpus-0-DELETE": "on"})
    answer = browser.post(reverse("admin:nodes_node_change", args=[node.pk]), data, follow=True)
    assert messages_of(answer) == ["GPU-0 is held by a VM and cannot be changed or removed."]
    node.refresh_from_db()
    assert node.hostname == "worker-01.example.com"
    assert node.gpus.count() == 1


def test_it_does_not_write_over_a_change_from_elsewhere(browser):
    node = NodeFactory(name="worker-01")
    data = form_of(node, hostname="elsewhere")
    Node.objects.filter(pk=node.pk).update(version=2)
    answer = browser.post(reverse("admin:nodes_node_change", args=[node.pk]), data, follow=True)
    assert messages_of(answer) == ["worker-01 was changed since you read it. Read it again."]
    assert Node.objects.get().hostname == "worker-01.example.com"


def act(browser, action, *nodes, confirmed=True):
    data = {"action": action, "_selected_action": [node.pk for node in nodes]}
    if confirmed:
        data["confirmed"] = "yes"
    return browser.post(reverse("admin:nodes_node_changelist"), data, follow=True)


ACTIONS = ["refresh", "maintenance_on", "maintenance_off", "mark_lost", "mark_found", "retire"]


@pytest.mark.parametrize("action", ACTIONS)
def test_it_asks_before_it_acts(browser, action):
    node = NodeFactory(name="worker-01")
    answer = act(browser, action, node, confirmed=False)
    assert answer.status_code == 200
    assert answer.templates[0].name == "admin/confirm_action.html"
    assert "worker-01" in answer.content.decode()
    assert "csrfmiddlewaretoken" in answer.content.decode()
    assert not AuditEntry.objects.filter(object_type="node").exists()
    assert Node.objects.get(pk=node.pk).version == 1


@pytest.mark.parametrize("action", ACTIONS)
def test_it_does_nothing_by_get(browser, action):
    node = NodeFactory()
    browser.get(
        reverse("admin:nodes_node_changelist"), {"action": action, "_selected_action": node.pk, "confirmed": "yes"}
    )
    assert not AuditEntry.objects.filter(object_type="node").exists()


def test_it_acts_on_what_was_chosen(browser):
    first, second, other = NodeFactory(name="a"), NodeFactory(name="b"), NodeFactory(name="c")
    assert messages_of(act(browser, "maintenance_on", first, second)) == ["Put in maintenance: a, b"]
    assert list(Node.objects.values_list("name", "enabled")) == [("a", False), ("b", False), ("c", True)]
    act(browser, "maintenance_off", first)
    act(browser, "mark_lost", second)
    act(browser, "refresh", other)
    assert [node.status for node in Node.objects.all()] == ["online", "lost", "online"]
    assert Task.objects.get().subject_id == other.id
    act(browser, "mark_found", second)
    assert Node.objects.get(name="b").status == "maintenance"
    assert messages_of(act(browser, "retire", first)) == ["Delete: a"]
    assert list(Node.objects.values_list("name", flat=True)) == ["b", "c"]


def test_it_refuses_to_delete_a_node_with_vms(browser):
    full, empty = NodeFactory(name="a"), NodeFactory(name="b")
    room.reserve(full.id, Room(1, 512, 10))
    answer = act(browser, "retire", full, empty)
    assert messages_of(answer) == [
        "a: VMs are on a, or are still being removed from it. Delete them first.", "Delete: b",
    ]  # fmt: skip
    assert list(Node.objects.values_list("name", flat=True)) == ["a"]


def test_it_deletes_nodes_by_no_other_way(browser):
    node = NodeFactory()
    assert act(browser, "delete_selected", node).status_code == 403
    assert browser.post(reverse("admin:nodes_node_delete", args=[node.pk]), {"post": "yes"}).status_code == 403
    assert Node.objects.exists()


def test_it_is_bound_by_permissions():
    staff = OperatorFactory(is_superuser=False)
    staff.user_permissions.add(Permission.objects.get(codename="view_node"))
    browser = Client()
    browser.force_login(staff)
    node = NodeFactory(name="worker-01")
    assert browser.get(reverse("admin:nodes_node_changelist")).status_code == 200
    for action in ACTIONS:
        act(browser, action, node)
    assert browser.post(reverse("admin:nodes_node_change", args=[node.pk]), form_of(node)).status_code == 403
    assert Node.objects.get().version == 1
    assert not Task.objects.exists()


# Networks


def network_form(**changes):
    form = {"segment": "default", "vlan_id": "100", "name": "lab", "subnet": "10.0.0.0/24", "gateway": "10.0.0.1"}
    return {**form, **changes}


def test_it_says_how_a_node_may_be_called(browser):
    page = browser.post(reverse("admin:nodes_node_add"), form_of(None, name="Worker 1")).content.decode()
    assert "Must be letters, digits, dots, dashes and underscores, as worker-01" in page


def test_it_says_that_no_node_is_of_a_networks_segment(browser):
    NodeFactory(segment="hall-1")
    add = reverse("admin:nodes_network_add")
    page = browser.post(add, network_form(segment="hall-9"), follow=True).content.decode()
    assert "No node is of the segment hall-9, so that no VM can be on this network." in page
    assert "Segments of nodes: hall-1." in page
    page = browser.post(add, network_form(segment="hall-1"), follow=True).content.decode()
    assert "No node is of the segment" not in page


def test_it_keeps_networks_with_an_audit_trail(browser):
    org = OrganizationFactory(name="acme")
    assert browser.post(reverse("admin:nodes_network_add"), network_form(organizations=[org.id])).status_code == 302
    network = Network.objects.get()
    path = reverse("admin:nodes_network_change", args=[network.pk])
    assert browser.get(path).status_code == 200
    assert browser.post(path, network_form(name="office")).status_code == 302
    path = reverse("admin:nodes_network_delete", args=[network.pk])
    assert browser.post(path, {"post": "yes"}).status_code == 302
    assert not Network.objects.exists()
    made, changed, removed = AuditEntry.objects.filter(object_type="network").order_by("at", "id")
    assert (made.action, made.after["organizations"]) == ("network.create", ["acme"])
    assert (changed.action, changed.before["name"], changed.after["name"]) == ("network.update", "lab", "office")
    assert changed.before["organizations"] == ["acme"]
    assert changed.after["organizations"] == []
    assert (removed.action, removed.before["name"]) == ("network.delete", "office")


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"vlan_id": "4095"}, "vlan_id"),
        ({"subnet": "10.0.0.1/24"}, "subnet"),
        ({"subnet": "10.0.0.0/31"}, "subnet"),
        ({"gateway": "10.0.1.1"}, "gateway"),
        ({"gateway": "10.0.0.255"}, "gateway"),
        ({"segment": "a:b"}, "segment"),
    ],
)
def test_it_refuses_networks_that_cannot_be(browser, changes, field):
    answer = browser.post(reverse("admin:nodes_network_add"), network_form(**changes))
    assert answer.status_code == 200
    assert list(answer.context["adminform"].errors) == [field]
