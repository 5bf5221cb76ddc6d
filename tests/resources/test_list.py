"""GET /resources"""

import pytest
from django.test.utils import CaptureQueriesContext

from accounts.models import Role
from resources.states import Status
from tests.factories import NodeFactory, OperatorFactory, UserFactory, VirtualMachineFactory, static_network

pytestmark = pytest.mark.django_db


def test_it_lists_the_organizations_vms_newest_first(client_of):
    user = UserFactory()
    old = VirtualMachineFactory(organization=user.organization, owner=user)
    new = VirtualMachineFactory(organization=user.organization, owner=user)
    VirtualMachineFactory()

    answer = client_of(user).get("/resources?resourceType=virtual-machine")

    assert answer.status_code == 200
    assert [vm["_id"] for vm in answer.json()["data"]] == [new.id, old.id]
    assert answer.json()["pagination"] == {"total": 2, "page": 1, "limit": 20, "totalPages": 1}


def test_it_shows_a_viewer_the_same(client_of):
    user = UserFactory(role=Role.VIEWER)
    VirtualMachineFactory(organization=user.organization, owner=user)

    assert len(client_of(user).get("/resources").json()["data"]) == 1


def test_it_shows_an_operator_all(client_of):
    VirtualMachineFactory.create_batch(2)

    assert len(client_of(OperatorFactory()).get("/resources").json()["data"]) == 2


def test_it_shows_the_runtime_of_a_vm_that_ran(client_of):
    user = UserFactory()
    vm = VirtualMachineFactory(
        organization=user.organization,
        owner=user,
        status=Status.RUNNING,
        config={"networkConfig": static_network("192.168.100.10"), "ramMB": 1536},
    )

    document = client_of(user).get("/resources").json()["data"][0]

    started_at = document["runtime"].pop("startedAt")
    assert started_at.endswith("Z")
    assert document["runtime"] == {
        "id": f"vm-{vm.id}",
        "endpoint": "192.168.100.10:22",
        "ipAddress": "192.168.100.10",
        "allocatedGPU": [],
        "allocatedCPU": 2,
        "allocatedRAM": 1.5,
    }
    assert "lastHealthCheck" in document


def test_it_shows_no_runtime_before_the_first_deploy(client_of):
    user = UserFactory()
    VirtualMachineFactory(organization=user.organization, owner=user)

    assert "runtime" not in client_of(user).get("/resources").json()["data"][0]


def test_it_counts_all_seven_statuses_over_the_other_filters(client_of):
    user, node = UserFactory(), NodeFactory()
    mine = {"organization": user.organization, "owner": user}
    VirtualMachineFactory(**mine, node=node, status=Status.RUNNING)
    VirtualMachineFactory(**mine, node=node, status=Status.STOPPED)
    VirtualMachineFactory(**mine, status=Status.FAILED)

    answer = client_of(user).get(f"/resources?status=running&nodeId={node.id}").json()

    assert answer["pagination"]["total"] == 1
    assert answer["statistics"]["byStatus"] == {
        "queued": 0,
        "deploying": 0,
        "running": 1,
        "stopping": 0,
        "stopped": 1,
        "failed": 0,
        "error": 0,
    }


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("status=running,stopped", {"a", "b"}),
        ("search=ALPHA", {"a"}),
        ("search=legacy", {"b"}),
        ("search=100.7", {"c"}),
    ],
)
def test_it_filters(client_of, query, expected):
    user = UserFactory()
    mine = {"organization": user.organization, "owner": user}
    vms = {
        "a": VirtualMachineFactory(**mine, name="Alpha", status=Status.RUNNING),
        "b": VirtualMachineFactory(**mine, description="a legacy thing", status=Status.STOPPED),
        "c": VirtualMachineFactory(**mine, config={"networkConfig": static_network("192.168.100.7")}),
    }

    found = {vm["_id"] for vm in client_of(user).get(f"/resources?{query}").json()["data"]}

    assert found == {vms[key].id for key in expected}


def test_its_pages_never_overlap_where_all_sort_the_same(client_of):
    user = UserFactory()
    VirtualMachineFactory.create_batch(7, organization=user.organization, owner=user, name="same")
    client = client_of(user)

    pages = [client.get(f"/resources?sortBy=name&sortOrder=asc&limit=3&page={page}").json() for page in (1, 2, 3, 4)]

    ids = [vm["_id"] for page in pages for vm in page["data"]]
    assert len(ids) == len(set(ids)) == 7
    assert pages[3]["data"] == []
    assert pages[0]["pagination"]["totalPages"] == 3


@pytest.mark.parametrize(
    "query",
    [
        "resourceType=container",
        "status=flying",
        "page=0",
        "page=x",
        "limit=101",
        "sortBy=ramMB",
        "sortOrder=up",
        "nodeId=nope",
        "colour=red",
    ],
)
def test_it_refuses_parameters_that_it_does_not_know(client_of, query):
    answer = client_of(UserFactory()).get(f"/resources?{query}")

    assert (answer.status_code, answer.json()["code"]) == (400, "validation")
    assert answer.json()["errors"][0]["field"] == query.split("=")[0]


def test_it_takes_two_queries_at_any_size(client_of):
    from django.db import connection

    user = UserFactory()
    client = client_of(user)
    VirtualMachineFactory.create_batch(30, organization=user.organization, owner=user)

    with CaptureQueriesContext(
        connection,
    ) as queries:
        assert len(client.get("/resources?limit=100").json()["data"]) == 30

    assert len(queries) == 2


def test_it_does_not_list_a_deleted_vm(client_of):
    user = UserFactory()
    vm = VirtualMachineFactory(organization=user.organization, owner=user)
    client = client_of(user)

    client.delete(f"/resources/{vm.id}")

    assert client.get("/resources").json()["data"] == []


def test_it_answers_304_to_who_has_the_list_already(client_of):
    user = UserFactory()
    VirtualMachineFactory(organization=user.organization, owner=user)
    client = client_of(user)

    tag = client.get("/resources")["ETag"]

    assert client.get("/resources", HTTP_IF_NONE_MATCH=tag).status_code == 304
