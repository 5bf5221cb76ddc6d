"""How PostgreSQL finds what is shown: by an index, where there are many rows."""

import json

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from accounts.models import AuditEntry
from resources.models import LogEntry, VirtualMachine
from resources.queries import SORT_FIELDS
from resources.states import Status
from snapshots.models import Snapshot
from tasks.models import Task
from tests.factories import NodeFactory, OperatorFactory, UserFactory, vm_config

pytestmark = [
    pytest.mark.django_db,
    pytest.mark.skipif(connection.vendor != "postgresql", reason="the plans are PostgreSQL's"),
]

ORGANIZATIONS = 100
VMS = 20_000
DELETED = 1_000
BIG = (VirtualMachine, Task, LogEntry, Snapshot, AuditEntry)
PAGE = "/resources?limit=100"
SORTED = [f"{PAGE}&sortBy={field}&sortOrder={order}" for field in SORT_FIELDS for order in ("asc", "desc")]


@pytest.fixture
def vm() -> VirtualMachine:
    """One of 200 VMs of an organization, among 20,000. Every fifth has a task, a log line, a snapshot and an event.

    Its organization has deleted five times as many as it has: who takes them for alive thinks it a large one, in which
    the newest hundred are found soon whichever way one goes.
    """
    users = UserFactory.create_batch(ORGANIZATIONS)
    nodes = NodeFactory.create_batch(50)
    statuses = list(Status)
    now = timezone.now()
    config_json = json.dumps(vm_config())
    vms = [
        VirtualMachine(
            name=f"vm-{n}", organization_id=user.organization_id, owner_id=user.id, created_by_id=user.id,
            node_id=nodes[n % len(nodes)].id, status=statuses[n % len(statuses)], config_json=config_json,
            os_image="ubuntu-22.04", vcpus=2, ram_mb=2048, disk_gb=20, created_at=now, updated_at=now,
            deleted_at=now if n >= VMS else None,
        )
        for n in range(VMS + DELETED)
        for user in [users[n % len(users) if n < VMS else 0]]
    ]  # fmt: skip
    VirtualMachine.objects.bulk_create(vms)
    some = vms[:VMS:5]
    Task.objects.bulk_create(
        Task(type="vm-start", subject_id=vm.id, org_id=vm.organization_id, status="succeeded") for vm in some
    )
    LogEntry.objects.bulk_create(LogEntry(vm_id=vm.id, at=now, level="info", message="VM created") for vm in some)
    Snapshot.objects.bulk_create(
        Snapshot(vm_id=vm.id, name="first", config_json=config_json, created_at=now) for vm in some
    )
    AuditEntry.objects.bulk_create(
        AuditEntry(
            actor_name="system", via="command", action="vm.create", object_type="vm", object_id=vm.id, root_id=vm.id,
            org_id=vm.organization_id,
        )
        for vm in some
    )  # fmt: skip
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")
    return vms[0]


def plans_of(client, path: str, only: str = "") -> list[str]:
    """How what a request asks is found. `only` is in the statement."""
    with CaptureQueriesContext(connection) as queries:
        assert client.get(path).status_code == 200
    plans = []
    for query in queries.captured_queries:
        if only in query["sql"]:
            with connection.cursor() as cursor:
                cursor.execute(f"EXPLAIN {query['sql']}")
                plans.append("\n".join(line for (line,) in cursor.fetchall()))
    assert plans
    return plans


def read_whole(client, path: str, only: str = "") -> list[str]:
    """The plans that go through all rows of a big table."""
    return [
        plan
        for plan in plans_of(client, path, only)
        if any(f"Seq Scan on {model._meta.db_table} " in plan for model in BIG)
    ]


def test_it_reads_no_big_table_whole(client_of, vm):
    task = Task.objects.get(subject_id=vm.id)
    one = f"/resources/{vm.id}"
    rows = [
        one,
        f"{one}/status",
        f"{one}/tasks",
        f"{one}/logs",
        f"{one}/events",
        f"{one}/snapshots",
        f"/resources/tasks/{task.public_id}",
    ]
    lists = [*SORTED, f"{PAGE}&status=running,error", f"{PAGE}&nodeId={vm.node_id}", "/resources/tasks"]
    member, operator = client_of(vm.owner), client_of(OperatorFactory())

    found = {path: read_whole(member, path) for path in rows + lists}
    found |= {f"operator {path}": read_whole(operator, path) for path in rows}
    # What there is of all organizations must be counted row by row, a page of it need not.
    found |= {f"operator {path}": read_whole(operator, path, "LIMIT") for path in [*SORTED, "/resources/tasks"]}

    assert {path: plans for path, plans in found.items() if plans} == {}


def test_a_page_is_read_along_an_index_of_its_own_order(client_of, vm):
    member, operator = client_of(vm.owner), client_of(OperatorFactory())
    for path in SORTED:
        (of_one,) = plans_of(member, path, "LIMIT")
        assert "Index Cond: ((organization_id)" in of_one, of_one
        assert "Filter" not in of_one, of_one
        assert "Sort" not in of_one, of_one
        (of_all,) = plans_of(operator, path, "LIMIT")
        assert "Index Scan" in of_all, of_all
        assert "Sort" not in of_all, of_all
