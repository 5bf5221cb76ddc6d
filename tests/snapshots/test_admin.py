"""The admin's pages of snapshots. How they stand below their VM is in the VMs' tests."""

import pytest
from django.contrib.auth.models import Permission

from snapshots.models import Snapshot, SnapshotStatus
from tests.factories import OperatorFactory, SnapshotFactory, UserFactory

pytestmark = pytest.mark.django_db

LIST = "/admin/snapshots/snapshot/"


@pytest.fixture
def operator(client):
    user = OperatorFactory()
    client.force_login(user)
    return user


def test_it_lists_snapshots(client, operator):
    snapshots = [SnapshotFactory(status=status) for status in SnapshotStatus]

    page = client.get(LIST).content.decode()

    for snapshot in snapshots:
        assert snapshot.name in page
        assert snapshot.vm.name in page


def test_it_finds_the_snapshots_of_a_vm(client, operator):
    wanted, _ = SnapshotFactory.create_batch(2)

    assert list(client.get(LIST, {"q": wanted.vm_id}).context["cl"].result_list) == [wanted]


def test_it_shows_a_snapshot(client, operator):
    snapshot = SnapshotFactory(error="no room on the node", status=SnapshotStatus.FAILED)

    page = client.get(f"{LIST}{snapshot.id}/change/").content.decode()

    assert snapshot.public_id in page
    assert "no room on the node" in page


def test_it_removes_no_row(client, operator):
    snapshot = SnapshotFactory()

    assert client.post(f"{LIST}{snapshot.id}/delete/", {"post": "yes"}).status_code == 403
    client.post(LIST, {"action": "delete_selected", "_selected_action": [snapshot.id], "post": "yes"})

    assert Snapshot.objects.filter(pk=snapshot.id).exists()


def test_it_refuses_staff_without_permission(client):
    user = UserFactory(is_staff=True)
    client.force_login(user)
    assert client.get(LIST).status_code == 403

    user.user_permissions.set(Permission.objects.filter(codename="view_snapshot"))
    assert client.get(LIST).status_code == 200
