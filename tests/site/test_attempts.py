"""Refused requests and pages in the audit trail."""

import pytest
from django import db
from django.contrib.auth.models import Permission
from django.test import Client
from django.urls import reverse
from rest_framework.test import APIClient

from accounts import tokens
from accounts.models import AuditEntry, Role, User
from aiwm_site.attempts import action_of
from resources.states import Status
from tests.factories import (
    NodeFactory,
    OperatorFactory,
    SnapshotFactory,
    UserFactory,
    VirtualMachineFactory,
    create_body,
)

pytestmark = pytest.mark.django_db


@pytest.fixture
def user():
    return UserFactory()


@pytest.fixture
def vm(user):
    return VirtualMachineFactory(organization=user.organization, owner=user)


def only_entry():
    entry = AuditEntry.objects.get()
    return entry.action, entry.outcome, entry.code, entry.object_type, entry.object_id, entry.org_id


@pytest.mark.parametrize(
    ("route", "method", "action"),
    [("vm", "PATCH", "vm.update"), ("vm", "DELETE", "vm.delete"), ("vm-start", "POST", "vm.start"),
     ("vms", "POST", "vm.create"), ("snapshots", "POST", "snapshot.create"), ("vm", "GET", "vm.read"),
     ("snapshot-restore", "POST", "snapshot.restore"), ("vm-console", "GET", "vm.console")],
)  # fmt: skip
def test_it_has_the_names_of_the_actions(route, method, action):
    assert action_of(route, method) == action


@pytest.mark.parametrize(
    ("method", "tail", "action"),
    [("get", "", "vm.read"), ("get", "/logs", "vm.logs"), ("get", "/console", "vm.console"),
     ("patch", "", "vm.update"), ("delete", "", "vm.delete"), ("post", "/start", "vm.start"),
     ("post", "/snapshots", "snapshot.create")],
)  # fmt: skip
def test_an_attempt_on_another_organizations_vm_is_kept_under_its_owner(client_of, vm, method, tail, action):
    stranger = UserFactory()
    answer = getattr(client_of(stranger), method)(f"/resources/{vm.id}{tail}")
    assert answer.status_code == 404
    assert only_entry() == (action, "refused", "not_found", "vm", vm.id, vm.organization_id)
    entry = AuditEntry.objects.get()
    assert (entry.actor_id, entry.actor_org_id) == (stranger.id, stranger.organization_id)
    assert (entry.address, entry.request_id) == ("127.0.0.1", answer["X-Request-Id"])


def test_an_attempt_on_a_deleted_vm_of_another_is_kept(client_of, user, vm):
    client_of(user).delete(f"/resources/{vm.id}")
    client_of(UserFactory()).get(f"/resources/{vm.id}")
    assert AuditEntry.objects.filter(code="not_found", object_id=vm.id).exists()


def test_an_attempt_on_anothers_task_and_snapshot_is_kept(client_of, user):
    snapshot = SnapshotFactory(vm__organization=user.organization, vm__owner=user)
    task_id = client_of(user).post(f"/resources/{snapshot.vm_id}/start").json()["taskId"]
    client = client_of(UserFactory())
    client.post(f"/resources/tasks/{task_id}/cancel")
    client.delete(f"/resources/{snapshot.vm_id}/snapshots/{snapshot.public_id}")
    found = AuditEntry.objects.filter(outcome="refused").values_list("action", "object_id", "root_id", "org_id")
    assert set(found) == {
        ("task.cancel", task_id.removeprefix("task-"), snapshot.vm_id, user.organization_id),
        ("snapshot.delete", snapshot.id, snapshot.vm_id, user.organization_id),
    }


@pytest.mark.parametrize(
    ("method", "path", "action"),
    [("post", "/resources", "vm.create"), ("get", "/organization", "organization.read")],
)
def test_an_attempt_to_act_in_another_organization_is_kept_under_it(client_of, user, vm, method, path, action):
    stranger = UserFactory()
    body = create_body(NodeFactory())
    headers = {"X-Org-Id": vm.organization_id}
    assert getattr(client_of(stranger), method)(path, body, format="json", headers=headers).status_code == 404
    assert only_entry() == (action, "refused", "not_found", "organization", vm.organization_id, vm.organization_id)
    assert AuditEntry.objects.get().actor_id == stranger.id


@pytest.mark.parametrize("org_id", ["f" * 24, "x", "a'; DROP TABLE"])
def test_an_organization_that_does_not_exist_is_nobodys(client_of, user, org_id):
    answer = client_of(user).post("/resources", {}, format="json", headers={"X-Org-Id": org_id})
    assert answer.status_code == 404
    assert not AuditEntry.objects.exists()


@pytest.mark.parametrize("path", ["/resources/" + "f" * 24, "/resources/short", "/resources/tasks/task-" + "f" * 24])
def test_what_does_not_exist_is_nobodys(client_of, user, path):
    client = client_of(user)
    assert client.get(path).status_code == client.delete("/resources/" + "f" * 24).status_code == 404
    assert not AuditEntry.objects.exists()


@pytest.mark.parametrize(("method", "tail"), [("patch", ""), ("delete", ""), ("post", "/stop"), ("get", "/console")])
def test_what_a_viewer_may_not_is_kept(client_of, user, vm, method, tail):
    viewer = UserFactory(role=Role.VIEWER, organization=user.organization)
    assert getattr(client_of(viewer), method)(f"/resources/{vm.id}{tail}").status_code == 403
    assert only_entry()[1:] == ("refused", "forbidden", "vm", vm.id, vm.organization_id)


def test_what_a_member_may_not_do_to_a_node_is_kept(client_of, user):
    node = NodeFactory()
    assert client_of(user).delete(f"/resources/nodes/{node.id}").status_code == 403
    assert only_entry() == ("node.delete", "refused", "forbidden", "node", node.id, None)


@pytest.mark.parametrize(
    ("status", "send", "code"),
    [
        (Status.QUEUED, lambda c, vm: c.post(f"/resources/{vm.id}/stop"), "action_not_allowed"),
        (Status.QUEUED, lambda c, vm: c.delete(f"/resources/{vm.id}", HTTP_IF_MATCH='"7"'), "precondition_failed"),
        (Status.QUEUED, lambda c, vm: c.patch(f"/resources/{vm.id}", {"x": 1}, format="json"), "validation"),
        (Status.QUEUED, lambda c, vm: c.post(f"/resources/{vm.id}/start", [1], format="json"), "malformed"),
        (Status.STOPPED, lambda c, vm: c.get(f"/resources/{vm.id}/console"), "action_not_allowed"),
    ],
)
def test_what_the_state_or_the_rules_refuse_is_kept(client_of, user, status, send, code):
    vm = VirtualMachineFactory(organization=user.organization, owner=user, status=status)
    answer = send(client_of(user), vm)
    assert answer.json()["code"] == code
    entry = AuditEntry.objects.get()
    assert (entry.outcome, entry.code, entry.object_id) == ("refused", code, vm.id)
    assert entry.detail == answer.json()["detail"]


def test_a_refused_create_is_kept_under_ones_own_organization(client_of, user):
    body = create_body(NodeFactory(), name="")
    assert client_of(user).post("/resources", body, format="json").status_code == 400
    assert only_entry() == ("vm.create", "refused", "validation", "vm", "", user.organization_id)


def test_a_refusal_stays_though_its_transaction_is_rolled_back(client_of, user, vm):
    client = client_of(user)
    client.post(f"/resources/{vm.id}/start", headers={"Idempotency-Key": "one"})
    client.post(f"/resources/{vm.id}/start", headers={"Idempotency-Key": "two"})
    found = AuditEntry.objects.filter(object_id=vm.id).values_list("action", "outcome", "code")
    assert set(found) == {("vm.start", "done", ""), ("vm.start", "refused", "locked")}


def test_a_faulty_reading_or_estimate_is_not_kept(client_of, user, vm):
    client = client_of(user)
    assert client.get("/resources?limit=many").status_code == 400
    assert client.get(f"/resources/{vm.id}/logs?limit=many").status_code == 400
    assert client.post("/resources/estimate", {}, format="json").status_code == 400
    assert client.put(f"/resources/{vm.id}").status_code == 405
    assert not AuditEntry.objects.exists()


def test_strangers_are_counted_by_address():
    client = APIClient(REMOTE_ADDR="203.0.113.9")
    for _ in range(3):
        client.get("/resources")
    client.credentials(HTTP_AUTHORIZATION="Bearer forged")
    client.get("/resources")
    found = AuditEntry.objects.values_list("action", "code", "count", "actor_name", "address")
    assert set(found) == {
        ("authenticate", "not_authenticated", 3, "anonymous", "203.0.113.9"),
        ("authenticate", "token_not_valid", 1, "anonymous", "203.0.113.9"),
    }


def test_a_token_that_has_merely_expired_is_not_kept(user, time_machine):
    time_machine.move_to("2026-01-01T00:00:00Z", tick=False)
    client = APIClient(HTTP_AUTHORIZATION=f"Bearer {tokens.issue(user).access}")
    time_machine.shift(3600)
    assert client.get("/resources").status_code == 401
    assert not AuditEntry.objects.exists()


def test_a_forged_refresh_token_is_counted():
    APIClient().post("/auth/token/refresh", {"refresh": "forged"}, format="json")
    assert AuditEntry.objects.get().code == "token_not_valid"


def test_the_answer_is_the_same_where_nothing_can_be_written(client_of, user, monkeypatch, caplog):
    vm = VirtualMachineFactory()

    def gone(*args, **kwargs):
        raise db.OperationalError("the database is gone")

    monkeypatch.setattr("accounts.audit._add", gone)
    assert client_of(user).get(f"/resources/{vm.id}").status_code == 404
    monkeypatch.setattr("aiwm_site.attempts._target", gone)
    assert client_of(user).get(f"/resources/{vm.id}").status_code == 404
    assert caplog.text.count("a refusal could not be recorded") == 2


# Pages of the admin


def staff(*permissions):
    user = OperatorFactory(is_superuser=False)
    user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    client = Client()
    client.force_login(user)
    return user, client


def test_a_page_without_permission_is_kept(vm):
    user, client = staff("view_virtualmachine")
    assert client.post(reverse("admin:resources_virtualmachine_delete", args=[vm.id])).status_code == 403
    assert client.get(reverse("admin:accounts_organization_changelist")).status_code == 403
    found = AuditEntry.objects.values_list("actor_id", "via", "action", "object_id", "org_id", "code")
    assert set(found) == {
        (user.id, "admin", "admin.resources_virtualmachine_vm_delete", vm.id, vm.organization_id, "forbidden"),
        (user.id, "admin", "admin.accounts_organization_changelist", "", None, "forbidden"),
    }


@pytest.mark.parametrize(
    ("permission", "page", "action"),
    [("view_node", "nodes_node", "mark_lost"), ("view_virtualmachine", "resources_virtualmachine", "stop"),
     ("view_loginfailure", "accounts_loginfailure", "delete_selected"), ("view_task", "tasks_task", "delete_selected")],
)  # fmt: skip
def test_an_action_of_a_list_that_staff_may_not_is_refused_and_kept(vm, permission, page, action):
    keys = {"nodes_node": vm.node_id, "resources_virtualmachine": vm.id}
    user, client = staff(permission)
    key = keys.get(page, "f" * 64)
    data = {"action": action, "_selected_action": key, "confirmed": "yes", "post": "yes"}

    assert client.post(reverse(f"admin:{page}_changelist"), data).status_code == 403

    noun = "vm" if page == "resources_virtualmachine" else page.split("_")[1]
    org_id = vm.organization_id if noun == "vm" else None
    assert only_entry() == (f"{noun}.{action}", "refused", "forbidden", noun, key, org_id)
    assert AuditEntry.objects.get().actor_id == user.id


def test_each_row_that_was_chosen_is_kept_and_of_the_name_only_what_can_be_one(vm):
    _, client = staff("view_node")
    chosen = [vm.node_id, NodeFactory().id, "'; DROP TABLE nodes", "9" * 40]
    data = {"action": "'; DROP TABLE nodes", "_selected_action": chosen}

    assert client.post(reverse("admin:nodes_node_changelist"), data).status_code == 403

    found = AuditEntry.objects.values_list("action", "object_id")
    assert set(found) == {("node.unknown", vm.node_id), ("node.unknown", chosen[1])}


def test_an_action_that_staff_may_is_done(vm):
    _, client = staff("view_virtualmachine", "change_virtualmachine")
    data = {"action": "start", "_selected_action": vm.id}

    assert client.post(reverse("admin:resources_virtualmachine_changelist"), data).status_code == 200
    assert client.post(reverse("admin:resources_virtualmachine_changelist"), {**data, "action": ""}).status_code == 302
    assert not AuditEntry.objects.exists()


@pytest.mark.parametrize("page", ["accounts_organization_add", "nodes_node_changelist", "password_change"])
def test_a_post_of_a_member_to_the_admin_is_kept(user, page):
    client = Client()
    client.force_login(user)

    answer = client.post(reverse(f"admin:{page}"), {"name": "x"})

    assert (answer.status_code, answer["Location"].partition("?")[0]) == (302, "/admin/login/")
    entry = AuditEntry.objects.get()
    assert (entry.actor_id, entry.via, entry.outcome, entry.code) == (user.id, "admin", "refused", "forbidden")


def test_an_action_of_a_list_that_a_member_posts_is_kept_with_its_object(user, vm):
    client = Client()
    client.force_login(user)
    client.post(reverse("admin:resources_virtualmachine_changelist"), {"action": "stop", "_selected_action": vm.id})
    assert only_entry() == ("vm.stop", "refused", "forbidden", "vm", vm.id, vm.organization_id)


@pytest.mark.parametrize("page", ["login", "logout"])
def test_to_log_in_or_out_is_everybodys(user, page):
    client = Client()
    client.force_login(user)
    client.post(reverse(f"admin:{page}"))
    assert not AuditEntry.objects.filter(action=f"admin.{page}").exists()


def test_looking_at_the_admin_or_being_nobody_leaves_nothing(user):
    client = Client()
    client.post(reverse("admin:accounts_organization_add"), {"name": "x"})
    client.force_login(user)
    client.get(reverse("admin:accounts_organization_add"))
    assert not AuditEntry.objects.exists()


def test_a_form_from_elsewhere_is_kept():
    client = Client(enforce_csrf_checks=True)
    operator = OperatorFactory()
    client.force_login(operator)
    answer = client.post(reverse("admin:accounts_organization_add"), {"name": "x"})
    assert (answer.status_code, answer["Content-Type"]) == (403, "text/html; charset=utf-8")
    entry = AuditEntry.objects.get()
    assert (entry.actor_id, entry.action) == (operator.id, "admin.accounts_organization_add")
    assert entry.detail.startswith("CSRF")


def test_a_log_in_form_from_elsewhere_is_counted():
    Client(enforce_csrf_checks=True).post(reverse("admin:login"), {"username": "x"})
    assert AuditEntry.objects.get().actor_name == "anonymous"


def test_who_was_switched_off_since_is_named(vm):
    operator = OperatorFactory()
    client = APIClient(HTTP_AUTHORIZATION=f"Bearer {tokens.issue(operator).access}")
    User.objects.filter(pk=operator.pk).update(is_active=False)
    assert client.delete(f"/resources/{vm.id}").status_code == 401
    entry = AuditEntry.objects.get()
    assert (entry.actor_id, entry.action, entry.object_id) == (operator.id, "vm.delete", vm.id)
    assert (entry.outcome, entry.code) == ("refused", "token_not_valid")


def test_a_console_that_who_was_switched_off_asks_for_is_kept(vm):
    operator = OperatorFactory()
    client = APIClient(HTTP_AUTHORIZATION=f"Bearer {tokens.issue(operator).access}")
    User.objects.filter(pk=operator.pk).update(is_active=False)
    assert client.get(f"/resources/{vm.id}/console").status_code == 401
    assert only_entry() == ("vm.console", "refused", "token_not_valid", "vm", vm.id, vm.organization_id)


@pytest.mark.parametrize(
    "path", ["/", "/docs", "/schema", "/healthz", "/readyz", "/metrics", f"/console/view/vm-{'a' * 24}"]
)
def test_a_page_that_is_only_read_refuses_the_method_and_keeps_nothing(db, path):
    answer = Client(enforce_csrf_checks=True).post(path, "{}", content_type="application/json")
    assert (answer.status_code, answer.json()["code"]) == (405, "method_not_allowed")
    assert not AuditEntry.objects.exists()


def test_a_change_too_large_to_be_read_is_counted_for_its_address(client, settings):
    body = b"x" * (settings.MAX_BODY_BYTES + 1)
    for _ in range(2):
        answer = client.post("/resources", body, content_type="application/json", REMOTE_ADDR="203.0.113.9")
        assert answer.status_code == 413
    entry = AuditEntry.objects.get()
    assert (entry.action, entry.outcome, entry.code, entry.count) == ("request", "refused", "too_large", 2)
    assert (entry.actor_name, entry.address) == ("anonymous", "203.0.113.9")
