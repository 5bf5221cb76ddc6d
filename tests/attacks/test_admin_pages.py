"""Who sees which page of the admin: every model and button that is registered, tried against a table."""

from typing import Any

import pytest
from django.contrib import admin
from django.contrib.admin.utils import quote
from django.contrib.auth.models import Group, Permission
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from accounts.models import IdempotencyKey, LoginFailure, UsedRefresh, User
from nodes.models import StrayAddress
from resources.admin_actions import VERBS
from resources.models import ConsoleToken, MetricsHour, VirtualMachine
from tasks.models import Beat
from tests.attacks.database import differences, dump
from tests.attacks.routes import admin_patterns
from tests.attacks.world import World, build
from tests.factories import OperatorFactory, UserFactory

pytestmark = pytest.mark.django_db

# Nobody but staff gets further than the page to log in; staff without a permission are refused every page of a model
# (403). Columns: what staff see who may view all models, and what an operator sees. Rows that only actions and workers
# change have no page to add, and none to delete but for lock-outs; a page to change shows what it may not change. What
# the audit trail knows has a past, which leads there (302), and nothing else has one (404).
MODELS = """
                            |      may view all         |        operator
                            | list add page past delete | list add page past delete

accounts.auditentry         |  200 403  200  404    403 |  200 403  200  404    403
accounts.idempotencykey     |  200 403  200  404    403 |  200 403  200  404    403
accounts.loginfailure       |  200 403  200  404    403 |  200 403  200  404    200
accounts.organization       |  200 403  200  302    403 |  200 200  200  302    403
accounts.usedrefresh        |  200 403  200  404    403 |  200 403  200  404    403
accounts.user               |  200 403  200  302    403 |  200 200  200  302    403
auth.group                  |  200 403  200  302    403 |  200 200  200  302    200
nodes.claim                 |  200 403  200  404    403 |  200 403  200  404    403
nodes.gpu                   |  200 403  200  404    403 |  200 403  200  404    403
nodes.image                 |  200 403  200  302    403 |  200 403  200  302    403
nodes.network               |  200 403  200  302    403 |  200 200  200  302    200
nodes.node                  |  200 403  200  302    403 |  200 200  200  302    403
nodes.strayaddress          |  200 403  200  404    403 |  200 403  200  404    403
resources.consoletoken      |  200 403  404  404    403 |  200 403  404  404    403
resources.logentry          |  200 403  200  404    403 |  200 403  200  404    403
resources.metricshour       |  200 403  200  404    403 |  200 403  200  404    403
resources.virtualmachine    |  200 403  200  302    403 |  200 403  200  302    200
snapshots.snapshot          |  200 403  200  302    403 |  200 403  200  302    403
tasks.beat                  |  200 403  200  404    403 |  200 403  200  404    403
tasks.task                  |  200 403  200  404    403 |  200 403  200  404    403
tasks.worker                |  200 403  200  404    403 |  200 403  200  404    403
"""
PAGES = ("changelist", "add", "change", "history", "delete")

# All other pages: for nobody, a member, staff without a permission, staff who may view all, an operator.
OTHERS = """
                                       | anonymous member staff views operator

index                                  |       302    302   200   200      200
search                                 |       302    302   200   200      200
login                                  |       200    200   302   302      302
logout                                 |       302    302   405   405      405
password_change                        |       302    302   200   200      200
password_change_done                   |       302    302   200   200      200
jsi18n                                 |       302    302   200   200      200
autocomplete                           |       302    302   403   403      403
view_on_site                           |       302    302   404   404      404
app_list                               |       302    302   404   200      200
auth_user_password_change              |       302    302   403   403      200
resources_virtualmachine_vm_start      |       302    302   403   403      200
resources_virtualmachine_vm_stop       |       302    302   403   403      200
resources_virtualmachine_vm_force_stop |       302    302   403   403      200
resources_virtualmachine_vm_restart    |       302    302   403   403      200
resources_virtualmachine_vm_delete     |       302    302   403   403      200
resources_virtualmachine_vm_forget     |       302    302   403   403      200
resources_virtualmachine_selected      |       302    302   403   403      302
"""
ROLES = ("anonymous", "member", "staff", "views", "operator")


def lines(table: str) -> list[list[str]]:
    return [line.replace("|", " ").split() for line in table.splitlines() if line and not line.startswith(" ")]


def logged_in(world: World, role: str) -> Client:
    client = Client(raise_request_exception=False)
    user: User | None = world.users.get(role)
    if role in ("staff", "views"):
        user = UserFactory(is_staff=True)
        user.user_permissions.set(Permission.objects.filter(codename__startswith="view_") if role == "views" else ())
    if user is not None:
        client.force_login(user)
    return client


def one_of_each() -> dict[str, Any]:
    """A row of each registered model, by the table's name of it."""
    vm = VirtualMachine.objects.filter(status="stopped", deleted_at=None).first()
    now = timezone.now()
    Group.objects.create(name="night shift")
    Beat.objects.create(name="sweep", next_at=now)
    LoginFailure.objects.create(key="k" * 64, last_at=now)
    UsedRefresh.objects.create(jti="j" * 32, expires_at=now)
    IdempotencyKey.objects.create(key="i" * 64, body="b", created_at=now)
    ConsoleToken.objects.create(digest="d" * 64, vm=vm, user_id=vm.owner_id, expires_at=now)
    MetricsHour.objects.create(vm=vm, hour=now, points=[])
    StrayAddress.objects.create(node=vm.node, vlan_id=0, address="192.0.2.9", domain="theirs")
    rows = {model._meta.label_lower: model._default_manager.first() for model in admin.site._registry}
    assert None not in rows.values()
    rows["resources.virtualmachine"] = vm
    rows["accounts.user"] = vm.owner
    return rows


def arguments(name: str, rows: dict[str, Any]) -> tuple[str, ...]:
    match name:
        case "app_list":
            return ("nodes",)
        case "view_on_site":
            return ("1", "1")
        case "auth_user_password_change":
            return (rows["accounts.user"].pk,)
        case "resources_virtualmachine_selected":
            return ("start",)
    return (rows["resources.virtualmachine"].pk,) if "_vm_" in name else ()


def urls(rows: dict[str, Any]) -> dict[str, str]:
    """Each page of both tables, by the name of its pattern."""
    found = {}
    for label, *_ in lines(MODELS):
        for page in PAGES:
            name = f"{label.replace('.', '_')}_{page}"
            args = () if page in ("changelist", "add") else (quote(rows[label].pk),)
            found[name] = reverse(f"admin:{name}", args=args)
    for name, *_ in lines(OTHERS):
        found[name] = reverse(f"admin:{name}", args=arguments(name, rows))
    return found


def expected(role: str) -> dict[str, int]:
    answers = {name: int(cells[ROLES.index(role)]) for name, *cells in lines(OTHERS)}
    for label, *cells in lines(MODELS):
        refused = ["404" if cell == "404" else "403" for cell in cells[:5]]  # what has no page has none for anybody
        own = {"views": cells[:5], "operator": cells[5:], "staff": refused}.get(role, ["302"] * 5)
        answers |= {f"{label.replace('.', '_')}_{page}": int(cell) for page, cell in zip(PAGES, own, strict=True)}
    return answers


def test_each_page_stands_in_a_table():
    there = {pattern.name for _, pattern in admin_patterns() if pattern.name}

    assert there == set(expected("operator"))
    assert {model._meta.label_lower for model in admin.site._registry} == {label for label, *_ in lines(MODELS)}
    assert {f"resources_virtualmachine_vm_{verb.name}" for verb in VERBS} <= there


@pytest.mark.parametrize("role", ROLES)
def test_it_shows_each_page_as_the_tables_say_and_changes_nothing(role):
    world = build()
    pages = urls(one_of_each())
    client = logged_in(world, role)
    before = dump()

    answers = {name: client.get(url) for name, url in pages.items()}

    assert {name: answer.status_code for name, answer in answers.items()} == expected(role)
    assert not differences(before, dump())
    if role in ("anonymous", "member"):
        away = [name for name, answer in answers.items() if answer.status_code == 302 and name != "logout"]
        assert all(answers[name]["Location"].startswith("/admin/login/") for name in away)


@pytest.mark.parametrize("role", ["anonymous", "member", "staff", "views"])
def test_nobody_but_operators_changes_anything_by_a_post(role):
    world = build()
    rows = one_of_each()
    vm = rows["resources.virtualmachine"]
    client = logged_in(world, role)
    before = dump()

    for name, url in urls(rows).items():
        if name not in ("login", "logout", "password_change"):  # everybody's own
            data = {"_save": "1", "post": "yes", "confirmed": "yes", "_selected_action": vm.pk, "name": "mine"}
            assert client.post(url, data).status_code < 500, name
    for model, its_admin in admin.site._registry.items():
        label = model._meta.label_lower
        for action in ("delete_selected", *(getattr(each, "__name__", each) for each in its_admin.actions or ())):
            data = {"action": action, "_selected_action": rows[label].pk, "confirmed": "yes", "post": "yes"}
            client.post(reverse(f"admin:{label.replace('.', '_')}_changelist"), data)
    assert not differences(before, dump())


def test_an_operator_does_change_things_by_a_post():
    """Or the test above would prove nothing."""
    world = build()
    rows = one_of_each()
    vm = rows["resources.virtualmachine"]
    client = logged_in(world, "operator")
    before = dump()

    client.post(reverse("admin:resources_virtualmachine_vm_start", args=(vm.pk,)))
    data = {"action": "mark_lost", "_selected_action": world.node.pk, "confirmed": "yes"}
    client.post(reverse("admin:nodes_node_changelist"), data)

    assert {"tasks_task", "nodes_node", "resources_virtualmachine"} <= set(differences(before, dump()))


@pytest.mark.parametrize("role", ["member", "staff", "operator"])
def test_an_access_token_opens_no_page_and_a_session_no_api(role):
    world = build()
    session = logged_in(world, role)
    with_token = world.client("operator")

    assert session.get("/resources").status_code == 401
    assert session.post("/resources/nodes", "{}", content_type="application/json").status_code == 401
    assert with_token.get("/admin/nodes/node/").status_code == 302


@pytest.mark.parametrize(
    "path",
    [
        "resources/virtualmachine/a%00b/change/",
        "accounts/user/a%00b/password/",
        "tasks/task/?status=a%00b",
        "resources/virtualmachine/?status__exact=%00",
    ],
)
def test_it_asks_the_database_for_no_nul(path):
    answer = logged_in(build(), "operator").get(f"/admin/{path}")
    assert answer.status_code == 400
    assert answer["Content-Type"].startswith("text/html")


@pytest.fixture
def operator(db):
    client = Client()
    client.force_login(OperatorFactory(is_superuser=True))
    return client


@pytest.mark.parametrize("page", ["nodes_node", "nodes_network", "accounts_loginfailure", "resources_virtualmachine"])
def test_it_asks_the_database_for_no_nul_that_was_chosen(operator, page):
    for action in ("delete_selected", "retire", "refresh"):
        data = {"action": action, "_selected_action": ["a\0b"], "post": "yes", "confirmed": "yes"}
        assert operator.post(reverse(f"admin:{page}_changelist"), data).status_code == 400


@pytest.mark.parametrize(
    ("page", "data"),
    [("accounts_organization", {"name": "a\0b"}), ("auth_group", {"name": "x", "permissions": ["1", "a\0b"]}),
     ("accounts_user", {"organization": "a\0b"}), ("nodes_node", {"gpus-0-id": "a\0b"})],
)  # fmt: skip
def test_it_asks_the_database_for_no_nul_of_a_form(operator, page, data):
    assert operator.post(reverse(f"admin:{page}_add"), data).status_code == 400


@pytest.mark.parametrize("name", ["sessionid", "csrftoken", "messages"])
@pytest.mark.parametrize("path", ["/admin/", "/admin/login/", "/admin/nodes/node/"])
def test_it_asks_the_database_for_no_nul_of_a_cookie(db, name, path):
    answer = Client(raise_request_exception=False, HTTP_COOKIE=rf'{name}="\000aaaaaaaaaaaaa"').get(path)
    assert answer.status_code == 400


def test_a_cookie_without_nul_is_none_of_its_business(db):
    assert Client(HTTP_COOKIE=r'sessionid="\001aaaaaaaaaaaaa"').get("/admin/login/").status_code == 200
