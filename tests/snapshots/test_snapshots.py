"""GET and POST /resources/:id/snapshots; POST .../restore; DELETE .../snapshots/:snapshotId"""

import pytest

from accounts.models import AuditEntry, Role
from resources.models import LogEntry, VirtualMachine
from resources.states import ALLOWED, Action, Status
from snapshots.models import Snapshot, SnapshotStatus
from tasks.models import Task
from tasks.worker import drain
from tests.backends import scripted
from tests.factories import (
    NetworkFactory,
    NodeFactory,
    OrganizationFactory,
    SnapshotFactory,
    UserFactory,
    VirtualMachineFactory,
    static_network,
)
from vmbackends.errors import Refused

pytestmark = pytest.mark.django_db

BODY = {"name": "Before GPU Driver Update", "description": "Snapshot before updating NVIDIA drivers"}


@pytest.fixture
def user():
    return UserFactory()


@pytest.fixture
def client(client_of, user):
    return client_of(user)


def own_vm(user, status=Status.STOPPED, **fields):
    return VirtualMachineFactory(organization=user.organization, owner=user, status=status, **fields)


def url(vm, snapshot=None, tail=""):
    return f"/resources/{vm.id}/snapshots" + (f"/{snapshot.public_id}{tail}" if snapshot else "")


class TestCreate:
    def test_it_answers_with_the_guides_document(self, client, user):
        vm = own_vm(user)

        answer = client.post(url(vm), BODY, format="json")

        assert answer.status_code == 201
        snapshot = Snapshot.objects.get()
        document = answer.json()
        assert document.pop("createdAt").endswith("Z")
        assert document.pop("size") == snapshot.size > 0
        assert document == {"snapshotId": f"snapshot-{snapshot.id}", **BODY, "status": "completed"}
        assert AuditEntry.objects.filter(action="snapshot.create").exists()

    def test_it_counts_towards_room_and_quota(self, client, user):
        vm = own_vm(user)

        client.post(url(vm), BODY, format="json")

        vm.refresh_from_db()
        vm.node.refresh_from_db()
        vm.organization.refresh_from_db()
        assert vm.snapshots_gb == Snapshot.objects.get().reserved_gb >= 1
        assert vm.node.used_disk_gb == vm.organization.used_disk_gb == 20 + vm.snapshots_gb

    @pytest.mark.parametrize("status", list(Status))
    def test_each_status(self, client, user, status):
        answer = client.post(url(own_vm(user, status)), BODY, format="json")

        if Action.SNAPSHOT in ALLOWED[status]:
            assert answer.status_code == 201
        else:
            assert (answer.status_code, answer.json()["code"]) == (409, "action_not_allowed")

    def test_it_refuses_a_name_that_the_vm_has(self, client, user):
        vm = own_vm(user)
        SnapshotFactory(vm=vm, name=BODY["name"])

        answer = client.post(url(vm), BODY, format="json")

        assert (answer.status_code, answer.json()["code"]) == (409, "conflict")

    def test_it_takes_a_name_that_another_vm_has(self, client, user):
        SnapshotFactory(name=BODY["name"])

        assert client.post(url(own_vm(user)), BODY, format="json").status_code == 201

    @pytest.mark.parametrize(
        ("body", "field"),
        [({}, "name"), ({"name": ""}, "name"), ({"name": "x" * 101}, "name"), ({"name": 7}, "name"),
         ({"name": "x", "size": 1}, "size"), ({"name": "x", "description": "y" * 501}, "description")],
    )  # fmt: skip
    def test_it_refuses_bad_input(self, client, user, body, field):
        answer = client.post(url(own_vm(user)), body, format="json")

        assert (answer.status_code, answer.json()["errors"][0]["field"]) == (400, field)

    def test_it_refuses_a_viewer(self, client_of):
        viewer = UserFactory(role=Role.VIEWER)

        assert client_of(viewer).post(url(own_vm(viewer)), BODY, format="json").status_code == 403

    def test_it_hides_another_organizations_vm(self, client):
        assert client.post(url(VirtualMachineFactory()), BODY, format="json").status_code == 404

    def test_it_is_creating_with_a_task_where_the_backend_needs_time(self, client, user):
        vm = own_vm(user)

        with scripted(instant_snapshots=False):
            answer = client.post(url(vm), BODY, format="json").json()
            assert (answer["status"], answer["taskId"][:5]) == ("creating", "task-")
            assert client.post(url(vm), {"name": "two"}, format="json").json()["code"] == "locked"
            drain(ignore_waits=True)

        assert client.get(url(vm)).json()["snapshots"][0]["status"] == "completed"

    def test_it_is_503_where_the_node_does_not_answer(self, client, user):
        assert client.post(url(own_vm(user, node=NodeFactory(online=False))), BODY, format="json").status_code == 503


class TestList:
    def test_it_lists_the_newest_first(self, client, user):
        vm = own_vm(user)
        old, new = SnapshotFactory(vm=vm), SnapshotFactory(vm=vm)
        SnapshotFactory()

        answer = client.get(url(vm)).json()

        assert answer["resourceId"] == vm.id
        assert [row["snapshotId"] for row in answer["snapshots"]] == [new.public_id, old.public_id]

    def test_it_shows_them_to_a_viewer(self, client_of):
        viewer = UserFactory(role=Role.VIEWER)

        assert client_of(viewer).get(url(own_vm(viewer))).status_code == 200

    def test_it_hides_another_organizations(self, client):
        assert client.get(url(VirtualMachineFactory())).status_code == 404


class TestRestore:
    @pytest.mark.parametrize("status", [Status.RUNNING, Status.STOPPED])
    def test_it_keeps_the_status_and_tells_how_long_it_takes(self, client, user, status):
        vm = own_vm(user, status)
        snapshot = SnapshotFactory(vm=vm)

        answer = client.post(url(vm, snapshot, "/restore"))

        assert answer.status_code == 202
        task_id = answer.json()["taskId"]
        assert answer.json() == {
            "success": True,
            "message": "Snapshot restore initiated",
            "taskId": task_id,
            "estimatedTime": 80,
        }
        assert client.get(f"/resources/{vm.id}/status").json()["status"] == status
        drain(ignore_waits=True)
        assert client.get(f"/resources/tasks/{task_id}").json()["status"] == "succeeded"
        assert client.get(f"/resources/{vm.id}/status").json()["status"] == status

    @pytest.mark.parametrize("status", [status for status in Status if Action.RESTORE not in ALLOWED[status]])
    def test_it_refuses_in_a_status_that_does_not_allow_it(self, client, user, status):
        vm = own_vm(user, status)

        answer = client.post(url(vm, SnapshotFactory(vm=vm), "/restore"))

        assert (answer.status_code, answer.json()["code"]) == (409, "action_not_allowed")

    @pytest.mark.parametrize("status", [SnapshotStatus.CREATING, SnapshotStatus.FAILED])
    def test_it_refuses_what_is_not_completed(self, client, user, status):
        vm = own_vm(user)

        assert client.post(url(vm, SnapshotFactory(vm=vm, status=status), "/restore")).status_code == 409

    def test_it_refuses_a_disk_that_has_grown_since(self, client, user):
        vm = own_vm(user)
        snapshot = SnapshotFactory(vm=vm)
        client.patch(f"/resources/{vm.id}", {"config": {"diskGB": 40}}, format="json")

        answer = client.post(url(vm, snapshot, "/restore"))

        assert (answer.status_code, answer.json()["code"]) == (409, "unsupported")
        assert "from 20 to 40 GB" in answer.json()["detail"]
        assert "can only be deleted" in answer.json()["detail"]
        assert VirtualMachine.objects.get(pk=vm.id).task is None

    @pytest.mark.parametrize(
        ("change", "with_memory", "status_code"),
        [
            ({"ipAddress": "192.168.100.11"}, True, 409),
            ({"ipAddress": "192.168.100.11"}, False, 202),
            ({"vlanId": 200}, True, 409),
            ({"gateway": "192.168.100.2"}, True, 202),
        ],
    )
    def test_it_refuses_memory_of_a_guest_on_another_network(self, client, user, change, with_memory, status_code):
        vm = own_vm(user, config={"networkConfig": static_network("192.168.100.10")})
        snapshot = SnapshotFactory(vm=vm, with_memory=with_memory)
        config = {"networkConfig": change}
        assert client.patch(f"/resources/{vm.id}", {"config": config}, format="json").status_code == 200

        answer = client.post(url(vm, snapshot, "/restore"))

        assert answer.status_code == status_code
        if status_code == 409:
            assert answer.json()["code"] == "unsupported"
            assert "(192.168.100.10, VLAN 100), then restore" in answer.json()["detail"]

    @pytest.mark.parametrize(
        ("status", "with_memory", "defined"),
        [(Status.RUNNING, False, True), (Status.RUNNING, True, False), (Status.STOPPED, False, False)],
    )
    def test_what_is_started_from_a_disk_alone_is_defined_as_the_vm_is_now(
        self, client, user, status, with_memory, defined
    ):
        vm = own_vm(user, status, desired_on=status == Status.RUNNING)
        snapshot = SnapshotFactory(vm=vm, with_memory=with_memory)

        with scripted() as backend:
            client.post(url(vm, snapshot, "/restore"))
            drain(ignore_waits=True)

        wanted = [
            "restore_snapshot",
            *(["define"] if defined else []),
            *(["start"] if status == Status.RUNNING else []),
        ]
        assert [call for call in backend.calls if call in ("restore_snapshot", "define", "start")] == wanted

    def test_it_starts_nothing_on_a_vlan_that_was_taken_away(self, client, user):
        vm = own_vm(
            user, Status.RUNNING, desired_on=True, config={"networkConfig": static_network("192.168.100.10", 300)}
        )
        NetworkFactory(vlan_id=300, organizations=[OrganizationFactory()])

        answer = client.post(url(vm, SnapshotFactory(vm=vm), "/restore"))

        assert (answer.status_code, answer.json()["code"]) == (409, "conflict")
        assert VirtualMachine.objects.get(pk=vm.id).task is None

    def test_it_refuses_a_viewer(self, client_of):
        viewer = UserFactory(role=Role.VIEWER)
        vm = own_vm(viewer)

        assert client_of(viewer).post(url(vm, SnapshotFactory(vm=vm), "/restore")).status_code == 403

    def test_it_hides_another_vms_snapshot(self, client, user):
        assert client.post(url(own_vm(user), SnapshotFactory(), "/restore")).status_code == 404

    @pytest.mark.parametrize("method", ["post", "delete"])
    def test_it_takes_no_body(self, client, user, method):
        vm = own_vm(user)
        snapshot = SnapshotFactory(vm=vm)
        path = url(vm, snapshot, "/restore" if method == "post" else "")

        answer = getattr(client, method)(path, {"force": True}, format="json")

        assert (answer.status_code, answer.json()["errors"][0]["code"]) == (400, "unknown_field")
        assert Snapshot.objects.get(pk=snapshot.pk).status == "completed"

    @pytest.mark.parametrize("method", ["post", "delete"])
    def test_it_judges_no_request_of_who_may_not_know_of_the_vm(self, client, method):
        snapshot = SnapshotFactory()
        path = url(snapshot.vm, snapshot, "/restore" if method == "post" else "")

        for headers in ({"If-Match": "nonsense"}, {}):
            answer = getattr(client, method)(path, {"unknown": 1}, format="json", headers=headers)
            assert answer.status_code == 404

    def test_it_hides_another_organizations(self, client):
        snapshot = SnapshotFactory()

        assert client.post(url(snapshot.vm, snapshot, "/restore")).status_code == 404


class TestDelete:
    def test_it_goes_with_what_it_held(self, client, user):
        vm = own_vm(user)
        client.post(url(vm), BODY, format="json")
        snapshot = Snapshot.objects.get()

        answer = client.delete(url(vm, snapshot))
        drain()

        assert answer.status_code == 202
        assert client.get(url(vm)).json()["snapshots"] == []
        vm.refresh_from_db()
        vm.node.refresh_from_db()
        assert (vm.snapshots_gb, vm.node.used_disk_gb, vm.task) == (0, 20, None)
        assert client.post(url(vm), BODY, format="json").status_code == 201, "its name is free again"

    def test_a_failed_one_may_be_deleted(self, client, user):
        vm = own_vm(user)

        assert client.delete(url(vm, SnapshotFactory(vm=vm, status=SnapshotStatus.FAILED))).status_code == 202

    def test_one_that_is_creating_may_not(self, client, user):
        vm = own_vm(user)

        answer = client.delete(url(vm, SnapshotFactory(vm=vm, status=SnapshotStatus.CREATING)))

        assert (answer.status_code, answer.json()["code"]) == (409, "conflict")

    def test_one_that_the_node_does_not_give_up_stays(self, client, user):
        vm = own_vm(user)
        snapshot = SnapshotFactory(vm=vm)

        with scripted() as backend:
            client.delete(url(vm, snapshot))
            backend.faults["delete_snapshot"] = Refused("It is in use.")
            drain(ignore_waits=True)

        assert client.get(url(vm)).json()["snapshots"][0]["status"] == "completed"
        assert VirtualMachine.objects.get(pk=vm.id).task is None

    def test_one_whose_task_is_cancelled_stays_and_no_error_is_told(self, client, user):
        vm = own_vm(user)
        client.delete(url(vm, SnapshotFactory(vm=vm)))

        assert client.post(f"/resources/tasks/{Task.objects.get().public_id}/cancel").status_code == 200

        assert Snapshot.objects.get().status == SnapshotStatus.COMPLETED
        assert VirtualMachine.objects.get(pk=vm.id).task is None
        assert not LogEntry.objects.filter(level="error").exists()

    def test_it_refuses_a_viewer(self, client_of):
        viewer = UserFactory(role=Role.VIEWER)
        vm = own_vm(viewer)

        assert client_of(viewer).delete(url(vm, SnapshotFactory(vm=vm))).status_code == 403

    def test_it_hides_another_organizations(self, client):
        snapshot = SnapshotFactory()

        assert client.delete(url(snapshot.vm, snapshot)).status_code == 404
