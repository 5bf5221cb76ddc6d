"""The audit trail in the admin: its list, its entries, and the history of each page that leads there."""

import re

import pytest
from django.contrib.auth.models import Group, Permission
from django.test import Client

from accounts import audit
from accounts.actors import SYSTEM, Actor
from accounts.models import AuditEntry
from tests.factories import NodeFactory, OperatorFactory, SnapshotFactory, UserFactory, VirtualMachineFactory

pytestmark = pytest.mark.django_db

LIST = "/admin/accounts/auditentry/"


@pytest.fixture
def admin():
    client = Client()
    client.force_login(OperatorFactory())
    return client


def staff(*permissions):
    user = UserFactory(is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    client = Client()
    client.force_login(user)
    return client


def actor_of(vm):
    return Actor.of(vm.owner, via="api", address="192.0.2.7", request_id="request-of-mine")


def refused_entry(vm, times=1):
    for _ in range(times):
        audit.refused(
            actor_of(vm), "vm.start", code="locked", detail="A task runs on it.", object_type="vm", object_id=vm.id,
            org_id=vm.organization_id,
        )  # fmt: skip
    return AuditEntry.objects.get(outcome="refused")


def recorded(vm, before=None, after=None, action="vm.update", **about):
    about = {"object_type": "vm", "object_id": vm.id, "org_id": vm.organization_id, **about}
    return audit.record(actor_of(vm), action, before=before, after=after, **about)


def text_of(answer):
    """What a reader sees of it."""
    page = answer.content.decode()
    return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", page[page.index("content-main") :]))


# The list


def test_it_lists_when_who_what_and_with_what_outcome(admin):
    vm = VirtualMachineFactory()
    entry = refused_entry(vm, times=3)

    page = admin.get(LIST)

    seen = text_of(page)
    for text in (f"{entry.at:%Y-%m-%d %H:%M:%S}", vm.owner.username, "vm.start", "refused", "locked", "3 times",
                 f"vm {vm.id[-6:]}", vm.organization.name, "api", "192.0.2.7"):  # fmt: skip
        assert text in seen
    assert f'href="/admin/resources/virtualmachine/{vm.id}/change/"' in page.content.decode()


def test_what_was_refused_has_another_colour_than_what_was_done(admin):
    columns = admin.get(LIST).context["cl"].model_admin

    assert "red" in columns.badge(refused_entry(VirtualMachineFactory()))
    assert "green" in columns.badge(recorded(VirtualMachineFactory()))


def test_it_lists_what_has_no_page_without_a_link(admin):
    audit.record(SYSTEM, "lockout.clear", object_type="lockout", object_id="a" * 58 + "b" * 6, org_id=None)
    audit.record(SYSTEM, "counters.fix", object_type="counters", object_id="", org_id=None)

    seen = text_of(admin.get(LIST))

    assert "lockout bbbbbb" in seen
    assert "counters" in seen


def test_it_names_no_organization_to_who_may_not_view_it():
    vm = VirtualMachineFactory()
    entry = recorded(vm)
    client = staff("view_auditentry")

    for url in (LIST, f"{LIST}{entry.id}/change/"):
        page = client.get(url).content.decode()
        assert entry.actor_name in page
        assert vm.organization.name not in page
        assert vm.name not in page


def test_it_asks_as_many_queries_for_many_entries_as_for_one(admin, django_assert_max_num_queries):
    recorded(VirtualMachineFactory())
    admin.get(LIST)
    for _ in range(5):
        recorded(VirtualMachineFactory())

    with django_assert_max_num_queries(8):
        admin.get(LIST)


# An entry


def test_an_entry_says_when_to_the_second_and_leads_to_what_it_names(admin):
    vm = VirtualMachineFactory()
    entry = recorded(vm)

    page = admin.get(f"{LIST}{entry.id}/change/")

    assert f"{entry.at:%Y-%m-%d %H:%M:%S} UTC" in text_of(page)
    for link, text in ((f"user/{vm.owner_id}", vm.owner.username),
                       (f"organization/{vm.organization_id}", vm.organization.name),
                       (f"virtualmachine/{vm.id}", vm.name)):  # fmt: skip
        assert re.search(rf'href="/admin/\w+/{link}/change/"[^>]*>{re.escape(text)}</a>', page.content.decode())


def test_a_refusal_says_first_what_it_was(admin):
    seen = text_of(admin.get(f"{LIST}{refused_entry(VirtualMachineFactory(), times=2).id}/change/"))

    order = [seen.index(text) for text in ("refused", "locked", "A task runs on it.", "Actor", "Action")]
    assert order == sorted(order)
    assert "Change" not in seen


def test_it_shows_a_change_field_by_field(admin):
    vm = VirtualMachineFactory()
    before = {"name": "old", "config": {"vcpus": 2, "ipMode": "dhcp"}, "gpus": None}
    entry = recorded(vm, before, {"name": "<new>", "config": {"vcpus": 4, "ipMode": "dhcp"}, "gpus": ["GPU-0"]})

    page = admin.get(f"{LIST}{entry.id}/change/")

    seen = text_of(page)
    for row in ("Field Before After", "name old &lt;new&gt;", "config.vcpus 2 4", "config.ipMode dhcp dhcp",
                "gpus - [&quot;GPU-0&quot;]"):  # fmt: skip
        assert row in seen
    assert page.content.decode().count('class="changed"') == 3


@pytest.mark.parametrize(
    ("documents", "heads"), [({"after": {"name": "x"}}, "Field After"), ({"before": {"name": "x"}}, "Field Before")]
)
def test_it_has_one_column_for_what_came_or_went(admin, documents, heads):
    entry = recorded(VirtualMachineFactory(), **documents)

    assert f"{heads} name x" in text_of(admin.get(f"{LIST}{entry.id}/change/"))


def test_an_entry_about_what_is_gone_shows_its_id(admin):
    vm = VirtualMachineFactory()
    entry = recorded(vm, object_type="snapshot", object_id="5" * 24, root_id=vm.id)

    page = admin.get(f"{LIST}{entry.id}/change/")

    assert f"snapshot {'5' * 24}" in text_of(page)
    assert f"Part of {vm.name}" in text_of(page)


# The history of a page


def test_the_history_of_a_page_is_what_the_trail_has_about_it_and_its_parts(admin):
    vm = VirtualMachineFactory()
    own = recorded(vm)
    part = recorded(vm, object_type="snapshot", object_id="5" * 24, root_id=vm.id)
    recorded(VirtualMachineFactory())

    page = admin.get(f"/admin/resources/virtualmachine/{vm.id}/change/").content.decode()
    listed = admin.get(f"/admin/resources/virtualmachine/{vm.id}/history/", follow=True)

    assert f"/admin/resources/virtualmachine/{vm.id}/history/" in page
    assert listed.redirect_chain == [(f"{LIST}?about=vm.{vm.id}", 302)]
    assert set(listed.context["cl"].result_list) == {own, part}
    assert f"vm {vm.name}" in text_of(listed)


def test_each_kind_of_page_with_a_history_leads_to_its_own(admin):
    snapshot, node, group = SnapshotFactory(), NodeFactory(), Group.objects.create(name="night shift")
    user = snapshot.vm.owner
    for kind, row in {"snapshot": snapshot, "node": node, "group": group, "user": user,
                      "organization": user.organization}.items():  # fmt: skip
        audit.record(SYSTEM, f"{kind}.x", object_type=kind, object_id=str(row.pk), org_id=None)
        url = f"/admin/{row._meta.app_label}/{row._meta.model_name}/{row.pk}/history/"
        assert [entry.object_type for entry in admin.get(url, follow=True).context["cl"].result_list] == [kind]


def test_a_page_without_a_history_does_not_offer_one(admin):
    entry = recorded(VirtualMachineFactory())

    assert "/history/" not in admin.get(f"{LIST}{entry.id}/change/").content.decode()


def test_the_history_is_for_who_may_view_the_trail():
    client = staff("view_virtualmachine")
    vm = VirtualMachineFactory()

    assert "/history/" not in client.get(f"/admin/resources/virtualmachine/{vm.id}/change/").content.decode()
    assert client.get(f"/admin/resources/virtualmachine/{vm.id}/history/").status_code == 403


@pytest.mark.parametrize("about", ["", "vm", "vm.", "group.x", "group.99999999999999999999", "no.such.thing", "."])
def test_it_bears_a_history_of_anything(admin, about):
    recorded(VirtualMachineFactory())

    listed = admin.get(LIST, {"about": about})

    assert listed.status_code == 200
    assert not listed.context["cl"].result_list
