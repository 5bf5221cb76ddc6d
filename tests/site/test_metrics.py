"""GET /metrics"""

from datetime import timedelta

import pytest
from django import db
from django.utils import timezone
from prometheus_client.parser import text_string_to_metric_families

from accounts.models import AuditEntry
from aiwm_site import env
from resources.states import Status
from tasks.models import Task, TaskStatus, Worker
from tests.factories import NodeFactory, OrganizationFactory, UserFactory, VirtualMachineFactory

pytestmark = pytest.mark.django_db

TOKEN = "a token of some length"


def read(client, token=TOKEN, **extra):
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    return client.get("/metrics", headers=headers, **extra)


def samples(response) -> dict[tuple, float]:
    assert response.status_code == 200
    found = {}
    for family in text_string_to_metric_families(response.content.decode()):
        for sample in family.samples:
            key = (sample.name, *sorted(sample.labels.items()))
            assert key not in found
            found[key] = sample.value
    return found


@pytest.fixture
def scrape(client, settings):
    settings.METRICS_TOKEN = TOKEN
    return lambda: samples(read(client))


# Who may


def test_it_is_closed_unless_it_is_opened(client, settings):
    assert read(client, "").status_code == read(client).status_code == 404
    assert not AuditEntry.objects.exists()


def test_a_token_opens_it(client, settings):
    settings.METRICS_TOKEN = TOKEN
    answer = read(client)
    assert answer.status_code == 200
    assert answer["Content-Type"].startswith("text/plain; version=")
    assert answer["Cache-Control"] == "no-store"


@pytest.mark.parametrize("token", ["", "wrong", TOKEN + "x", TOKEN[:-1], "tökén"])
def test_another_token_does_not_and_that_is_kept(client, settings, token):
    settings.METRICS_TOKEN = TOKEN
    answer = read(client, token)
    assert (answer.status_code, answer["Content-Type"]) == (404, "application/problem+json")
    entry = AuditEntry.objects.get()
    assert (entry.action, entry.outcome, entry.actor_name) == ("metrics.read", "refused", "anonymous")


def test_a_members_token_does_not(client_of, settings):
    settings.METRICS_TOKEN = TOKEN
    assert client_of(UserFactory()).get("/metrics").status_code == 404


@pytest.mark.parametrize(
    ("address", "status"), [("10.1.2.3", 200), ("10.2.0.1", 404), ("2001:db8::5", 200), ("2001:db8::6", 404), ("", 404)]
)
def test_a_network_opens_it(client, settings, monkeypatch, address, status):
    monkeypatch.setenv("METRICS_ALLOW", "10.1.0.0/16, 2001:db8::5")
    settings.METRICS_ALLOW = env.networks("METRICS_ALLOW")
    assert read(client, "", REMOTE_ADDR=address).status_code == status


def test_no_header_makes_one_of_that_network(client, settings, monkeypatch):
    monkeypatch.setenv("METRICS_ALLOW", "10.1.0.0/16")
    settings.METRICS_ALLOW = env.networks("METRICS_ALLOW")
    assert read(client, "", REMOTE_ADDR="203.0.113.9", HTTP_X_FORWARDED_FOR="10.1.2.3").status_code == 404
    settings.TRUSTED_PROXIES = 1
    assert read(client, "", REMOTE_ADDR="10.1.0.1", HTTP_X_FORWARDED_FOR="10.1.2.3, 203.0.113.9").status_code == 404


@pytest.mark.parametrize("value", ["10.0.0.0/99", "everybody", "10.0.0.1/8"])
def test_it_refuses_networks_that_are_none(monkeypatch, value):
    monkeypatch.setenv("METRICS_ALLOW", value)
    with pytest.raises(env.ImproperlyConfigured):
        env.networks("METRICS_ALLOW")


def test_it_takes_no_post(client, settings):
    settings.METRICS_TOKEN = TOKEN
    assert client.post("/metrics", headers={"Authorization": f"Bearer {TOKEN}"}).status_code == 405


# What it says


def test_it_counts_vms_by_status(scrape):
    node = NodeFactory()
    VirtualMachineFactory.create_batch(2, node=node, status=Status.RUNNING)
    VirtualMachineFactory(node=node, status=Status.STOPPED, deleted_at=timezone.now())
    found = scrape()
    assert found["aiwm_vms", ("status", "running")] == 2
    assert {found["aiwm_vms", ("status", status)] for status in Status if status != "running"} == {0}
    assert found["aiwm_vms_cleaning",] == 1


def test_it_counts_open_tasks_and_the_age_of_the_oldest(scrape, time_machine):
    time_machine.move_to("2026-01-01T00:00:00Z", tick=False)
    assert scrape()["aiwm_oldest_pending_task_seconds",] == 0
    for status in (TaskStatus.PENDING, TaskStatus.PENDING, TaskStatus.RUNNING, TaskStatus.FAILED):
        Task.objects.create(type="vm-start", subject_id="a" * 24, status=status)
        time_machine.shift(timedelta(seconds=30))
    found = scrape()
    assert (found["aiwm_tasks", ("status", "pending")], found["aiwm_tasks", ("status", "running")]) == (2, 1)
    assert found["aiwm_oldest_pending_task_seconds",] == 120


def test_it_shows_nodes_and_their_room(scrape):
    node = NodeFactory(name="worker-01", cap_vcpus=10, vcpu_overcommit=2.0, used_vcpus=3)
    NodeFactory(enabled=False)
    found = scrape()
    assert found["aiwm_node_capacity", ("node", node.name), ("resource", "vcpus")] == 20
    assert found["aiwm_node_used", ("node", node.name), ("resource", "vcpus")] == 3
    statuses = {status: found["aiwm_nodes", ("status", status)] for status in ("online", "maintenance", "lost")}
    assert statuses == {"online": 1, "maintenance": 1, "lost": 0}


def test_it_counts_what_is_on_nodes_and_no_vm_accounts_for(scrape):
    orphan, other, vm = (f"692cdc80aabbccddee00000{n}" for n in (1, 2, 3))
    orphans = {orphan: [f"vm-{orphan}", f"vm-{orphan}.qcow2"], other: [f"vm-{other}.qcow2"]}
    NodeFactory(
        name="worker-01",
        strays={
            "foreign": ["somebodys"],
            "orphans": orphans,
            "images": ["a", "b"],
            "elsewhere": {"worker-02": {vm: [f"vm-{vm}", f"vm-{vm}.qcow2"]}},
        },
    )
    NodeFactory(name="worker-02")
    found = scrape()
    for gauge, numbers in (("foreign_domains", (1, 0)), ("orphans", (5, 0)), ("old_images", (2, 0))):
        gauge = f"aiwm_node_{gauge}"
        assert tuple(found[gauge, ("node", node)] for node in ("worker-01", "worker-02")) == numbers


def test_it_shows_what_organizations_use_and_names_none(client, settings):
    settings.METRICS_TOKEN = TOKEN
    org = OrganizationFactory(name="secret project", used_vms=2, quota_vms=5)
    user = UserFactory(organization=org)
    VirtualMachineFactory(organization=org, owner=user, name="hidden-vm")
    answer = read(client)
    found = samples(answer)
    assert found["aiwm_organization_quota", ("organization", org.id), ("resource", "vms")] == 5
    assert found["aiwm_organization_used", ("organization", org.id), ("resource", "vms")] == 3
    for name in ("secret project", "hidden-vm", user.username):
        assert name not in answer.content.decode()


def test_it_counts_the_workers_that_live(scrape):
    Worker.objects.create(host="a", pid=1, seen_at=timezone.now())
    Worker.objects.create(host="a", pid=2, seen_at=timezone.now() - timedelta(hours=1))
    assert scrape()["aiwm_workers",] == 1


def test_it_says_that_the_database_is_gone(scrape, monkeypatch):
    assert scrape()["aiwm_database_up",] == 1

    def gone(*args, **kwargs):
        raise db.OperationalError("no such host")

    monkeypatch.setattr("aiwm_site.gauges._nodes", gone)
    found = scrape()
    assert found["aiwm_database_up",] == 0
    assert ("aiwm_workers",) not in found


def test_it_counts_requests_by_route_and_never_by_path(scrape, client, client_of):
    before = scrape()
    user = UserFactory()
    vm = VirtualMachineFactory(organization=user.organization, owner=user)
    client_of(user).get(f"/resources/{vm.id}")
    client_of(user).get(f"/resources/{'f' * 24}")
    client.get("/nowhere/at/all")
    client.generic("BREW", "/healthz")
    client.get("/admin/login/")
    after = scrape()
    more = {key: value - before.get(key, 0) for key, value in after.items() if key[0] == "aiwm_http_requests_total"}
    more = {tuple(value for _, value in key[1:]): number for key, number in more.items() if number}
    assert more.pop(("GET", "metrics", "200")) == 1
    assert more == {
        ("GET", "vm", "200"): 1,
        ("GET", "vm", "404"): 1,
        ("GET", "none", "404"): 1,
        ("other", "healthz", "405"): 1,
        ("GET", "admin", "200"): 1,
    }
    key = ("aiwm_http_request_seconds_count", ("method", "GET"), ("route", "vm"))
    assert after[key] - before.get(key, 0) == 2
    assert vm.id not in str(after)


def test_it_speaks_openmetrics_where_that_is_asked_for(client, settings):
    settings.METRICS_TOKEN = TOKEN
    headers = {"Authorization": f"Bearer {TOKEN}", "Accept": "application/openmetrics-text; version=1.0.0"}
    answer = client.get("/metrics", headers=headers)
    assert answer["Content-Type"].startswith("application/openmetrics-text")
    text = answer.content.decode()
    assert text.endswith("# EOF\n")
    assert text.count("# EOF") == 1
