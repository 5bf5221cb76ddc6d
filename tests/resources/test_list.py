"""GET /resources"""

import pytest
import time_machine
from django.utils import timezone

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


@pytest.mark.parametrize("number", [1, 100])
def test_it_takes_two_queries_at_any_size(client_of, django_assert_num_queries, number):
    user = UserFactory()
    client = client_of(user)
    node = NodeFactory(cap_vcpus=1000)
    VirtualMachineFactory.create_batch(number, organization=user.organization, owner=user, node=node)

    with django_assert_num_queries(2):
        assert len(client.get("/resources?limit=100").json()["data"]) == number


def test_it_counts_very_many_anew_every_five_seconds_for_an_operator_alone(
    client_of, django_assert_num_queries, monkeypatch
):
    monkeypatch.setattr("resources.queries.MANY", 2)
    vms = VirtualMachineFactory.create_batch(2)
    operator, member = client_of(OperatorFactory()), client_of(vms[0].owner)

    with time_machine.travel(timezone.now(), tick=False) as clock:
        assert operator.get("/resources").json()["pagination"]["total"] == 2
        VirtualMachineFactory(organization=vms[0].organization, owner=vms[0].owner)
        clock.shift(4)
        with django_assert_num_queries(1):
            page = operator.get("/resources").json()
        assert (len(page["data"]), page["pagination"]["total"]) == (3, 2)
        assert operator.get("/resources?search=vm").json()["pagination"]["total"] == 3
        assert member.get("/resources").json()["pagination"]["total"] == 2
        clock.shift(2)
        assert operator.get("/resources").json()["statistics"]["byStatus"]["queued"] == 3


def test_it_counts_anew_each_time_where_that_is_quick(client_of):
    client = client_of(OperatorFactory())
    VirtualMachineFactory()
    assert client.get("/resources").json()["pagination"]["total"] == 1

    VirtualMachineFactory()

    assert client.get("/resources").json()["pagination"]["total"] == 2


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
