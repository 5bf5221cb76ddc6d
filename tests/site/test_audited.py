"""Every change, by whatever way it comes, leaves an entry in the audit trail; every refused one a refusal."""

from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
from django.contrib.auth.models import Group, Permission
from django.core.management import CommandError, call_command
from django.test import Client
from django.urls import get_resolver, reverse

from accounts import guard
from accounts.actors import acting_as
from accounts.models import AuditEntry, LoginFailure, Organization, Role, User
from aiwm_site.attempts import action_of
from common.errors import DomainError
from nodes.models import Network, Node
from resources.models import VirtualMachine
from resources.states import Status
from tests.factories import (
    NetworkFactory,
    NodeFactory,
    OperatorFactory,
    OrganizationFactory,
    SnapshotFactory,
    UserFactory,
    VirtualMachineFactory,
    create_body,
)
from tests.nodes import bodies
from tests.nodes.test_admin import form_of

pytestmark = pytest.mark.django_db

PASSWORD = "correct horse battery"


def entries(outcome):
    return AuditEntry.objects.filter(outcome=outcome).count()


# The API


@dataclass
class Things:
    """What the requests are about. The operator may everything; the viewer belongs to the VMs' organization."""

    operator: User = field(default_factory=lambda: OperatorFactory(password=PASSWORD))
    node: object = field(default_factory=NodeFactory)

    def __post_init__(self):
        org = self.operator.organization
        self.viewer = UserFactory(role=Role.VIEWER, organization=org, password="another password")
        self.queued = VirtualMachineFactory(organization=org, owner=self.operator, node=self.node)
        self.running = VirtualMachineFactory(
            organization=org, owner=self.operator, node=self.node, status=Status.RUNNING
        )
        self.snapshot = SnapshotFactory(vm__organization=org, vm__owner=self.operator, vm__node=self.node)


@dataclass
class Write:
    """A request that works for an operator. The viewer sends it too, and `refusable` says that they must not."""

    path: Callable[[Things], str]
    body: Callable[[Things], object] = lambda things: None
    before: Callable[[object, Things], object] = lambda client, things: None
    refusable: bool = True


def start(client, things):
    return client.post(f"/resources/{things.queued.id}/start").json()["taskId"]


WRITES = {
    ("vms", "post"): Write(lambda t: "/resources", lambda t: create_body(t.node)),
    ("vm", "patch"): Write(lambda t: f"/resources/{t.queued.id}", lambda t: {"name": "new"}),
    ("vm", "delete"): Write(lambda t: f"/resources/{t.queued.id}"),
    ("vm-start", "post"): Write(lambda t: f"/resources/{t.queued.id}/start"),
    ("vm-stop", "post"): Write(lambda t: f"/resources/{t.running.id}/stop"),
    ("vm-restart", "post"): Write(lambda t: f"/resources/{t.running.id}/restart"),
    ("vm-console", "get"): Write(lambda t: f"/resources/{t.running.id}/console"),
    ("task-cancel", "post"): Write(
        lambda t: f"/resources/tasks/{VirtualMachine.objects.get(pk=t.queued.id).task.public_id}/cancel", before=start
    ),
    ("snapshots", "post"): Write(lambda t: f"/resources/{t.running.id}/snapshots", lambda t: {"name": "new"}),
    ("snapshot", "delete"): Write(lambda t: f"/resources/{t.snapshot.vm_id}/snapshots/{t.snapshot.public_id}"),
    ("snapshot-restore", "post"): Write(
        lambda t: f"/resources/{t.snapshot.vm_id}/snapshots/{t.snapshot.public_id}/restore"
    ),
    ("nodes", "post"): Write(lambda t: "/resources/nodes", lambda t: bodies.node()),
    ("node", "patch"): Write(lambda t: f"/resources/nodes/{t.node.id}", lambda t: {"enabled": False}),
    ("node", "delete"): Write(lambda t: f"/resources/nodes/{NodeFactory(name='empty').id}"),
    ("node-refresh", "post"): Write(lambda t: f"/resources/nodes/{t.node.id}/refresh"),
    ("token", "post"): Write(
        lambda t: "/auth/token", lambda t: {"username": t.operator.username, "password": PASSWORD}, refusable=False
    ),
}
# Where the trail has another name for what is done than the refusal of the route.
NAMES = {"token": "login"}
# What these store is a token's own; they change nothing that belongs to anybody.
NO_CHANGE = {("token-refresh", "post"), ("token-revoke", "post"), ("estimate", "post")}


def routes(patterns):
    for pattern in patterns:
        if hasattr(pattern, "url_patterns"):
            yield from routes(pattern.url_patterns)
        else:
            for method in getattr(pattern.callback, "actions", {}):
                yield pattern.name, method


def test_every_route_that_writes_is_tried_here():
    writing = {(name, method) for name, method in routes(get_resolver().url_patterns) if method not in ("get", "head")}
    assert writing <= set(WRITES) | NO_CHANGE
    assert set(WRITES) <= set(routes(get_resolver().url_patterns))


def send(client, method, write, things):
    path = write.path(things)
    body = write.body(things)
    return client.get(path) if method == "get" else getattr(client, method)(path, body, format="json")


@pytest.mark.parametrize(("route", "method"), list(WRITES))
def test_a_request_that_changes_something_is_kept(client_of, route, method):
    write, things = WRITES[route, method], Things()
    client = client_of(things.operator)
    write.before(client, things)
    before = entries("done")
    known = set(AuditEntry.objects.values_list("id", flat=True))
    answer = send(client, method, write, things)
    assert answer.status_code < 300
    assert entries("done") > before
    assert not entries("refused")
    action = NAMES.get(route, action_of(route, method.upper()))
    (entry,) = AuditEntry.objects.exclude(pk__in=known).filter(action=action)
    assert (entry.actor_id, entry.via, entry.request_id) == (things.operator.id, "api", answer["X-Request-Id"])
    assert entry.object_id


@pytest.mark.parametrize(("route", "method"), [key for key, write in WRITES.items() if write.refusable])
def test_a_request_that_is_refused_is_kept(client_of, route, method):
    write, things = WRITES[route, method], Things()
    write.before(client_of(things.operator), things)
    before = entries("done")
    assert send(client_of(things.viewer), method, write, things).status_code == 403
    assert (entries("done"), entries("refused")) == (before, 1)
    entry = AuditEntry.objects.get(outcome="refused")
    assert (entry.actor_id, entry.code) == (things.viewer.id, "forbidden")


# The admin


def post(client, name, *args, data=None):
    return client.post(reverse(f"admin:{name}", args=args), data or {})


def quotas(**changes):
    names = ("vms", "vcpus", "ram_mb", "disk_gb", "gpus", "mig_instances")
    return {**{f"quota_{name}": 7 for name in names}, **changes}


def user_form(user, **changes):
    data = {"username": user.username, "organization": user.organization_id, "role": "member", "is_active": "on"}
    return {**data, **changes}


def on_nodes(action):
    def do(client):
        data = {"action": action, "_selected_action": [NodeFactory().pk], "confirmed": "yes"}
        return post(client, "nodes_node_changelist", data=data)

    return do


def on_vm(verb, status):
    return lambda client: post(client, f"resources_virtualmachine_vm_{verb}", VirtualMachineFactory(status=status).id)


def network(**changes):
    return {"segment": "default", "vlan_id": "100", "name": "n", "subnet": "", "gateway": "", **changes}


def a_lockout():
    guard.failed("ada", "10.0.0.1")
    return LoginFailure.objects.get().key


def own_password(old):
    data = {"old_password": old, "new_password1": "a very new password", "new_password2": "a very new password"}
    return lambda client: post(client, "password_change", data=data)


def set_password(one, two):
    def do(client):
        data = {"password1": one, "password2": two, "set-password": "1", "usable_password": "true"}
        return post(client, "auth_user_password_change", UserFactory().pk, data=data)

    return do


def delete_selected(model, row, **further):
    data = {"action": "delete_selected", "_selected_action": [row], "post": "yes", **further}
    return lambda client: post(client, f"{model}_changelist", data=data)


def forget_vm(client):
    vm = VirtualMachineFactory(status=Status.STOPPED)
    Node.objects.filter(pk=vm.node_id).update(lost=True)
    return post(client, "resources_virtualmachine_vm_forget", vm.id)


def permissions(number):
    """Their ids, which are others after a test that emptied the database."""
    return list(Permission.objects.order_by("pk").values_list("pk", flat=True)[:number])


ADMIN_CHANGES = {
    "organization.create": lambda c: post(c, "accounts_organization_add", data=quotas(name="new")),
    "organization.change": lambda c: post(
        c, "accounts_organization_change", OrganizationFactory().pk, data=quotas(name="other")
    ),
    "user.create": lambda c: post(
        c,
        "accounts_user_add",
        data={
            "username": "ada",
            "organization": OrganizationFactory().pk,
            "role": "viewer",
            "usable_password": "true",
            "password1": PASSWORD,
            "password2": PASSWORD,
        },
    ),
    "user.change": lambda c: post(
        c, "accounts_user_change", (user := UserFactory()).pk, data=user_form(user, email="x@example.com")
    ),
    "user.change_permissions": lambda c: post(
        c,
        "accounts_user_change",
        (user := UserFactory()).pk,
        data=user_form(user, groups=[Group.objects.create(name="g").pk]),
    ),
    "user.set_password": set_password(PASSWORD, PASSWORD),
    "user.set_password of oneself": own_password(PASSWORD),
    "group.create": lambda c: post(c, "auth_group_add", data={"name": "new", "permissions": permissions(1)}),
    "group.change": lambda c: post(
        c, "auth_group_change", Group.objects.create(name="g").pk, data={"name": "g", "permissions": permissions(2)}
    ),
    "group.delete": lambda c: post(c, "auth_group_delete", Group.objects.create(name="g").pk, data={"post": "yes"}),
    "lockout.clear": lambda c: delete_selected("accounts_loginfailure", a_lockout())(c),
    "network.create": lambda c: post(c, "nodes_network_add", data=network()),
    "network.update": lambda c: post(c, "nodes_network_change", NetworkFactory().pk, data=network(name="other")),
    "network.delete": lambda c: delete_selected("nodes_network", NetworkFactory().pk)(c),
    "node.create": lambda c: post(c, "nodes_node_add", data=form_of(None)),
    "node.update": lambda c: post(c, "nodes_node_change", (node := NodeFactory(images=())).pk, data=form_of(node)),
    "node.update of its maintenance": on_nodes("maintenance_on"),
    "node.update to lost": on_nodes("mark_lost"),
    "vm.forget": forget_vm,
    "node.refresh": on_nodes("refresh"),
    "node.delete": on_nodes("retire"),
    "vm.start": on_vm("start", Status.QUEUED),
    "vm.stop": on_vm("stop", Status.RUNNING),
    "vm.stop by force": on_vm("force_stop", Status.RUNNING),
    "vm.restart": on_vm("restart", Status.RUNNING),
    "vm.delete": on_vm("delete", Status.QUEUED),
}


@pytest.fixture
def admin():
    client = Client()
    client.force_login(OperatorFactory(username="root", password=PASSWORD))
    return client


@pytest.mark.parametrize("change", ADMIN_CHANGES)
def test_a_change_in_the_admin_is_kept(admin, change):
    assert ADMIN_CHANGES[change](admin).status_code == 302
    entry = AuditEntry.objects.get(action=change.partition(" ")[0])
    assert (entry.outcome, entry.actor_name, entry.via) == ("done", "root", "admin")
    assert not entries("refused")


ADMIN_REFUSALS = {
    "organization.create": lambda c: post(c, "accounts_organization_add", data=quotas(name="")),
    "organization.change": lambda c: post(
        c, "accounts_organization_change", OrganizationFactory().pk, data=quotas(name="x", quota_vms="many")
    ),
    "user.change": lambda c: post(
        c,
        "accounts_user_change",
        (user := User.objects.get(username="root")).pk,
        data=user_form(user, is_active="", is_staff="on", is_superuser="on"),
    ),
    "user.set_password": set_password(PASSWORD, "another"),
    "user.set_password of oneself": own_password("wrong"),
    "group.change": lambda c: post(c, "auth_group_change", Group.objects.create(name="g").pk, data={"name": ""}),
    "network.create": lambda c: post(c, "nodes_network_add", data=network(subnet="nonsense")),
    "node.create": lambda c: post(c, "nodes_node_add", data=form_of(None, name=NodeFactory().name)),
    "node.update": lambda c: post(
        c, "nodes_node_change", (node := NodeFactory(images=())).pk, data=form_of(node, cap_vcpus="-1")
    ),
    "vm.stop": on_vm("stop", Status.QUEUED),
    "vm.stop by force": on_vm("force_stop", Status.QUEUED),
    "vm.start": on_vm("start", Status.RUNNING),
    "vm.forget": on_vm("forget", Status.STOPPED),
}


@pytest.mark.parametrize("change", ADMIN_REFUSALS)
def test_a_change_that_the_admin_refuses_is_kept(admin, change):
    ADMIN_REFUSALS[change](admin)
    entry = AuditEntry.objects.get()
    assert (entry.action, entry.outcome) == (change.partition(" ")[0], "refused")
    assert (entry.actor_name, entry.via) == ("root", "admin")
    assert entry.code


def test_a_node_with_vms_is_not_deleted_and_that_is_kept(admin):
    node = VirtualMachineFactory().node
    data = {"action": "retire", "_selected_action": [node.pk], "confirmed": "yes"}
    post(admin, "nodes_node_changelist", data=data)
    entry = AuditEntry.objects.get()
    assert (entry.action, entry.outcome, entry.code, entry.object_id) == ("node.delete", "refused", "conflict", node.id)


def test_networks_are_deleted_with_their_entries_or_not_at_all(admin, monkeypatch):
    NetworkFactory()

    def breaks(*args, **kwargs):
        raise RuntimeError("in the middle")

    monkeypatch.setattr(Network, "delete", breaks)
    with pytest.raises(RuntimeError):
        delete_selected("nodes_network", Network.objects.values_list("pk", flat=True)[0])(admin)
    assert not AuditEntry.objects.exists()


# Commands and the shell


@pytest.mark.parametrize(
    ("verb", "do"),
    [
        ("vm.stop", lambda vm: vm.stop()),
        ("vm.restart", lambda vm: vm.restart()),
        ("vm.update", lambda vm: vm.edit(name="")),
        ("snapshot.create", lambda vm: vm.snapshots.take("one")),
    ],
)
def test_what_the_shell_refuses_is_kept(verb, do):
    user = UserFactory()
    vm = VirtualMachineFactory(organization=user.organization, owner=user)
    with acting_as(user.username), pytest.raises(DomainError):
        do(vm)
    entry = AuditEntry.objects.get()
    assert (entry.action, entry.outcome, entry.via, entry.root_id) == (verb, "refused", "command", vm.id)
    assert (entry.org_id, entry.actor_id) == (user.organization_id, user.id)


def test_what_the_vm_command_refuses_is_kept():
    user = UserFactory(username="ada")
    vm = VirtualMachineFactory(organization=user.organization, owner=user)
    for arguments in (["stop", vm.id], ["create", "--name", "x", "--node", vm.node.name, "--image", "beos"]):
        with pytest.raises(CommandError):
            call_command("vm", *arguments, "--as", "ada")
    found = AuditEntry.objects.values_list("action", "outcome", "object_id")
    assert ("vm.stop", "refused", vm.id) in found
    assert ("vm.create", "refused", "") in found


def test_anothers_vm_asked_for_by_a_command_is_kept():
    UserFactory(username="ada")
    vm = VirtualMachineFactory()
    with pytest.raises(CommandError):
        call_command("vm", "stop", vm.id, "--as", "ada")
    entry = AuditEntry.objects.get()
    assert (entry.action, entry.code, entry.org_id) == ("vm.find", "not_found", vm.organization_id)


def test_a_recount_that_changes_something_is_kept(monkeypatch, capsys):
    monkeypatch.delenv("AIWM_USER", raising=False)
    org = VirtualMachineFactory().organization
    Organization.objects.filter(pk=org.pk).update(used_vms=5)
    with pytest.raises(CommandError):
        call_command("recount")
    assert not AuditEntry.objects.exists()
    call_command("recount", "--fix")
    call_command("recount", "--fix")
    entry = AuditEntry.objects.get()
    assert (entry.action, entry.actor_name, entry.via) == ("counters.fix", "system", "command")
    assert entry.before == {f"organization {org.name}, vms": 5}
    assert entry.after == {f"organization {org.name}, vms": 1}


def test_a_recount_names_who_runs_it(monkeypatch, capsys):
    user = UserFactory()
    monkeypatch.setenv("AIWM_USER", user.username)
    Organization.objects.filter(pk=VirtualMachineFactory().organization.pk).update(used_vms=5)
    call_command("recount", "--fix")
    assert AuditEntry.objects.get().actor_id == user.id


def test_the_demo_is_written_with_its_entries():
    call_command("seed_demo", force=True, verbosity=0)
    entries = AuditEntry.objects.all()
    assert {entry.via for entry in entries} == {"command"}
    created = set(entries.filter(action="vm.create").values_list("object_id", flat=True))
    assert created == set(VirtualMachine.objects.values_list("id", flat=True))
    assert entries.filter(action="user.create").count() == User.objects.count()
    before = entries.count()
    call_command("seed_demo", force=True, verbosity=0)
    assert AuditEntry.objects.count() == before
