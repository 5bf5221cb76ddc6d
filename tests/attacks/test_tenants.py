"""What belongs to another organization answers 404 on every path, and a refusal changes nothing: the table, tried."""

import json
import re
from typing import Any

import pytest

from tests.attacks.database import differences, dump, undone
from tests.attacks.routes import api_routes
from tests.attacks.tenant_table import TENANTS, Row, rows
from tests.attacks.world import NOTHING, World, build

pytestmark = pytest.mark.django_db

ROWS = rows()
CODES = {401: "not_authenticated", 403: "forbidden", 404: "not_found", 409: "conflict"}
WRITES = ("POST", "PATCH", "DELETE")
# This one hands out a token for what may be seen; all other reads write nothing.
WRITING_READS = {"GET /resources/{on}/console"}
WRITING_NOTHING = {"POST /resources/estimate"}
JUNK: tuple[dict[str, Any], ...] = (
    {},
    {"data": {"unknown": 1}},
    {"data": "{"},
    {"headers": {"If-Match": "x"}},
    {"headers": {"Content-Type": "text/plain"}, "data": "x"},
)


def send(world: World, row: Row, role: str, thing: str, **changes: Any) -> Any:
    request = {**world.request(row, role, thing), **changes}
    data = request.pop("data")
    body = data if isinstance(data, str) or data is None else json.dumps(data)
    return world.client(role).generic(
        request["method"], request["path"], body or "", content_type="application/json", headers=request["headers"]
    )


def as_pattern(text: str) -> str:
    """`/resources/<str:resource_id>/start` and `/resources/{off}/start` are both `/resources/*/start`."""
    return re.sub(r"<[^>]+>|\{[^}]+\}", "*", text.partition("?")[0])


def test_each_route_and_method_stands_in_the_table():
    there = {(method, as_pattern(route.pattern)) for route in api_routes() for method in route.methods}
    in_table = {(row.method, as_pattern(row.path)) for row in ROWS}

    assert in_table == there


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_it_answers_as_the_table_says(row):
    """A refusal or a read changes nothing, and no answer to a tenant names anything of another organization."""
    world = build()
    before = dump()
    may_write = {cell for cell, status in row.expected.items() if row.method in WRITES and status < 400}
    if str(row) in WRITING_READS:
        may_write |= {cell for cell, status in row.expected.items() if status < 400}
    for role, thing in row.expected.keys() - may_write:
        look_at(world, row, role, thing)
    assert not differences(before, dump())

    for role, thing in sorted(may_write):
        with undone():
            look_at(world, row, role, thing)
            changed = bool(differences(before, dump())) if role == "operator" else True
            assert changed or str(row) in WRITING_NOTHING, "the look at the database sees no change, and proves nothing"


def look_at(world: World, row: Row, role: str, thing: str) -> None:
    asked, answer = world.request(row, role, thing), send(world, row, role, thing)
    said = f"{role} on {thing}: {answer.content.decode()[:500]}"
    assert answer.status_code == row.expected[role, thing], said
    if answer.status_code >= 400:
        assert answer.json()["code"] == CODES[answer.status_code], said
    if role != "operator":
        text = f"{answer.content.decode()} {answer.headers}"
        assert not {word for word in world.foreign if word in text and word not in asked["path"]}, said


@pytest.mark.parametrize("junk", JUNK, ids=str)
def test_another_organizations_is_answered_like_what_is_not_there_whatever_is_sent(junk):
    """Not a byte tells them apart, and no fault of the body or of a header is named before."""
    world = build()
    for row in [row for row in ROWS if row.expected.get(("member", "other")) == 404]:
        for role in TENANTS:
            answers = []
            for thing in ("other", "made-up"):
                headers = {**world.request(row, role, thing)["headers"], **junk.get("headers", {})}
                answer = send(world, row, role, thing, **{**junk, "headers": headers})
                kept = {name: value for name, value in answer.headers.items() if name != "X-Request-Id"}
                answers.append((answer.status_code, {**answer.json(), "requestId": ""}, kept))
            assert answers[0] == answers[1], str(row)
            assert answers[0][0] == 404, str(row)


@pytest.mark.parametrize("role", TENANTS)
def test_a_vm_of_ones_own_leads_to_no_snapshot_of_anothers(role):
    world = build()
    own, other = world.objects["own"], world.objects["other"]
    client = world.client(role)
    before = dump()

    for vm, snapshot in ((own["off"], other["snap"]), (other["off"], own["snap"]), (own["on"], own["snap"])):
        path = f"/resources/{vm}/snapshots/{snapshot}"
        refused = 403 if role == "viewer" and vm != other["off"] else 404
        assert client.delete(path).status_code == refused
        assert client.post(f"{path}/restore").status_code == refused
    assert dump() == before


def test_lists_count_and_find_ones_own_alone():
    world = build()
    client = world.client("admin")

    for query in ("", "?search=foreign", f"?nodeId={world.node.id}", "?status=running", "?search=192.168.66"):
        answer = client.get(f"/resources{query}").json()
        assert {vm["owner"]["orgId"] for vm in answer["data"]} <= {world.objects["own"]["org"]}
        assert answer["pagination"]["total"] == len(answer["data"])
    assert client.get("/resources").json()["statistics"]["byStatus"]["running"] == 1
    assert client.get("/resources/tasks").json()["pagination"]["total"] == 2


def vlan_body(vlan_id: int) -> dict[str, Any]:
    return {"mode": "bridge-vlan", "ipMode": "dhcp", "vlanId": vlan_id}


@pytest.mark.parametrize("role", ["member", "admin"])
@pytest.mark.parametrize("method", ["create", "patch"])
def test_another_organizations_vlan_is_answered_like_one_that_is_not_there(settings, role, method):
    settings.OPEN_VLANS = False
    world = build()
    client = world.client(role)
    before = dump()

    answers = []
    for vlan_id in (666, 667):
        if method == "create":
            body = world.body(Row("POST", "/resources", "", {}))
            body["config"]["networkConfig"] = vlan_body(vlan_id)
            answer = client.post("/resources", body, format="json")
        else:
            path = f"/resources/{world.objects['own']['off']}"
            answer = client.patch(path, {"config": {"networkConfig": {"vlanId": vlan_id}}}, format="json")
        assert answer.status_code == 400
        answers.append(answer.content.decode().replace(answer["X-Request-Id"], "").replace(str(vlan_id), "?"))
    assert answers[0] == answers[1]
    assert dump() == before


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE", "TRACE", "CONNECT", "BREW"])
def test_each_route_takes_the_methods_of_the_table_and_no_other(method):
    world = build()
    before = dump()
    client = world.client("operator")
    for route in api_routes():
        if method in route.methods:
            continue
        answer = client.generic(method, re.sub(r"<[^>]+>", NOTHING, route.pattern))
        assert answer.status_code == 405, (route, answer.status_code)
        assert answer.json()["code"] == "method_not_allowed"
        assert set(answer["Allow"].split(", ")) >= route.methods
    assert dump() == before
