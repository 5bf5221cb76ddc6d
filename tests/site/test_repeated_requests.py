"""`Idempotency-Key`, `If-Match` and `If-None-Match` on every path that takes them: read off the URL table, so that a
new path must say what it does."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from django.urls import get_resolver

from resources.models import VirtualMachine
from resources.states import Status
from snapshots.models import Snapshot
from tasks.models import Task
from tests.factories import (
    NodeFactory,
    OperatorFactory,
    SnapshotFactory,
    VirtualMachineFactory,
    create_body,
    vm_config,
)

pytestmark = pytest.mark.django_db


@dataclass(frozen=True)
class Case:
    """A request, and another body for the same path. `version` is that of what it changes, where it has one."""

    path: str
    body: dict[str, Any] | None = None
    other: dict[str, Any] | None = None
    version: int | None = None


def vm_in(status: Status) -> Callable[[Any], VirtualMachine]:
    def make(user: Any) -> VirtualMachine:
        made: VirtualMachine = VirtualMachineFactory(
            organization=user.organization, owner=user, status=status, version=7
        )
        return made

    return make


def of_vm(verb: str, status: Status, body: Any = None, other: Any = None) -> Callable[[Any], Case]:
    def make(user: Any) -> Case:
        vm = vm_in(status)(user)
        return Case(f"/resources/{vm.id}{verb}", body, other, vm.version)

    return make


def of_snapshot(verb: str) -> Callable[[Any], Case]:
    def make(user: Any) -> Case:
        snapshot: Snapshot = SnapshotFactory(vm=vm_in(Status.STOPPED)(user))
        return Case(f"/resources/{snapshot.vm_id}/snapshots/{snapshot.public_id}{verb}", version=7)

    return make


def of_new_vm(user: Any) -> Case:
    node = NodeFactory()
    return Case("/resources", create_body(node, name="one"), create_body(node, name="another"))


def of_estimate(user: Any) -> Case:
    return Case("/resources/estimate", {"config": vm_config(vcpus=2)}, {"config": vm_config(vcpus=4)})


def of_new_node(user: Any) -> Case:
    capacity = {"vcpus": 8, "ramMB": 65_536, "diskGB": 500}
    bodies = [{"name": name, "hostname": f"{name}.example.com", "capacity": capacity} for name in ("one", "another")]
    return Case("/resources/nodes", *bodies)


def of_node(verb: str, body: Any = None) -> Callable[[Any], Case]:
    def make(user: Any) -> Case:
        return Case(f"/resources/nodes/{NodeFactory(version=7).id}{verb}", body, version=7)

    return make


def of_task(user: Any) -> Case:
    vm = vm_in(Status.QUEUED)(user)
    vm.task = Task.objects.create(
        type="vm-deploy",
        subject_id=vm.id,
        org_id=vm.organization_id,
        payload={"from": "queued", "was_deployed": False, "was_on": False},
    )
    vm.save(update_fields=["task"])
    return Case(f"/resources/tasks/{vm.task.public_id}/cancel")


POSTS: dict[str, Callable[[Any], Case]] = {
    "vms": of_new_vm,
    "estimate": of_estimate,
    "vm-start": of_vm("/start", Status.STOPPED),
    "vm-stop": of_vm("/stop", Status.RUNNING, {"force": False}, {"force": True}),
    "vm-restart": of_vm("/restart", Status.RUNNING, {"force": False}, {"force": True}),
    "snapshots": of_vm("/snapshots", Status.STOPPED, {"name": "one"}, {"name": "another"}),
    "snapshot-restore": of_snapshot("/restore"),
    "task-cancel": of_task,
    "nodes": of_new_node,
    "node-refresh": of_node("/refresh"),
}
WITH_VERSION: dict[tuple[str, str], Callable[[Any], Case]] = {
    ("patch", "vm"): of_vm("", Status.STOPPED, {"name": "another"}),
    ("delete", "vm"): of_vm("", Status.QUEUED),
    ("post", "vm-start"): POSTS["vm-start"],
    ("post", "vm-stop"): POSTS["vm-stop"],
    ("post", "vm-restart"): POSTS["vm-restart"],
    ("post", "snapshots"): POSTS["snapshots"],
    ("post", "snapshot-restore"): POSTS["snapshot-restore"],
    ("delete", "snapshot"): of_snapshot(""),
    ("patch", "node"): of_node("", {"hostname": "other.example.com"}),
    ("delete", "node"): of_node(""),
}
# What they change is made by them, or has no version.
WITHOUT_VERSION = {
    ("post", name) for name in ("vms", "estimate", "task-cancel", "nodes", "node-refresh")
}  # fmt: skip


def changing_routes() -> set[tuple[str, str]]:
    """The method and name of every path under /resources that may change something."""
    found = set()
    for patterns in get_resolver().url_patterns:
        for pattern in getattr(patterns, "url_patterns", [patterns]):
            methods = getattr(getattr(pattern, "callback", None), "actions", None) or {}
            if str(pattern.pattern).startswith("resources"):
                found |= {(method, pattern.name) for method in methods if method not in ("get", "head", "options")}
    return found


def test_the_tables_name_every_path():
    routes = changing_routes()
    assert {name for method, name in routes if method == "post"} == POSTS.keys()
    assert routes == WITH_VERSION.keys() | WITHOUT_VERSION


@pytest.fixture
def user():
    return OperatorFactory()


@pytest.fixture
def client(client_of, user):
    return client_of(user)


@pytest.mark.parametrize("name", POSTS)
def test_it_answers_the_same_request_alike_and_does_it_once(client, user, name):
    case = POSTS[name](user)
    first = client.post(case.path, case.body, format="json", HTTP_IDEMPOTENCY_KEY="k")
    assert first.status_code < 300, first.content
    rows = (VirtualMachine.objects.count(), Task.objects.count(), Snapshot.objects.count())
    second = client.post(case.path, case.body, format="json", HTTP_IDEMPOTENCY_KEY="k")
    assert (second.status_code, second.content) == (first.status_code, first.content)
    assert second.headers["Idempotent-Replayed"] == "true"
    assert "Idempotent-Replayed" not in first.headers
    for header in ("Location", "ETag"):
        assert second.headers.get(header) == first.headers.get(header)
    assert (VirtualMachine.objects.count(), Task.objects.count(), Snapshot.objects.count()) == rows


@pytest.mark.parametrize("name", [name for name in POSTS if name not in ("vm-start", "snapshot-restore")])
def test_it_refuses_another_body_under_the_same_key(client, user, name):
    case = POSTS[name](user)
    assert client.post(case.path, case.body, format="json", HTTP_IDEMPOTENCY_KEY="k").status_code < 300
    other = client.post(case.path, case.other or {"other": 1}, format="json", HTTP_IDEMPOTENCY_KEY="k")
    assert (other.status_code, other.json()["code"]) == (409, "conflict")


@pytest.mark.parametrize(("method", "name"), WITH_VERSION)
@pytest.mark.parametrize(
    ("header", "matches"), [('"7"', True), ("*", True), ('"6", "7"', True), ('"8"', False), ('W/"7"', False)]
)
def test_it_honours_if_match(client, user, method, name, header, matches):
    case = WITH_VERSION[method, name](user)
    answer = getattr(client, method)(case.path, case.body, format="json", HTTP_IF_MATCH=header)
    if matches:
        assert answer.status_code < 300, answer.content
    else:
        assert (answer.status_code, answer.json()["code"]) == (412, "precondition_failed")
        assert client.get("/resources/tasks").json()["data"] == []


@pytest.mark.parametrize("make", [of_vm("", Status.RUNNING), lambda user: Case("/resources")])
def test_it_sends_nothing_twice_that_is_unchanged(client, user, make):
    case = make(user)
    first = client.get(case.path)
    tag = first.headers["ETag"]
    for header in (tag, f"W/{tag}", f'"other", {tag}', "*"):
        again = client.get(case.path, HTTP_IF_NONE_MATCH=header)
        assert (again.status_code, again.content, again.headers["ETag"]) == (304, b"", tag)
    assert client.get(case.path, HTTP_IF_NONE_MATCH='"other"').content == first.content
