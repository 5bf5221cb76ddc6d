"""The lists and forms of the admin, asked for what no column can be compared with or hold."""

from collections.abc import Iterator
from itertools import cycle

import pytest
from django.contrib import admin
from django.contrib.auth.models import Group
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from accounts import audit
from accounts.actors import SYSTEM
from accounts.models import AuditEntry, IdempotencyKey, Organization
from tests.attacks.database import undone
from tests.attacks.test_admin_pages import logged_in, one_of_each
from tests.attacks.world import build
from tests.factories import NodeFactory, OperatorFactory, UserFactory

pytestmark = pytest.mark.django_db

HUGE = str(10**30)
LOOKUPS = {"in": f"1,{HUGE}", "contains": "x", "regex": "(", "year": "99999999999"}
VALUES = ("(", HUGE)
PARAMETERS = ("p", "o", "e", "_facets", "_popup", "_to_field", "no_such_field")
SEARCHES = ("(", HUGE, "%", "x" * 60_000, "a " * 1500)
DATES = (
    {"year": "99999999999"}, {"year": "9999"}, {"year": "9999", "month": "12"}, {"year": "0"}, {"month": "13"},
    {"year": "2026", "month": "2", "day": "31"}, {"year": "9999", "month": "12", "day": "31"}, {"day": HUGE},
    {"year": "x"}, {"month": HUGE}, {"year": ""},
)  # fmt: skip
LISTS = {model._meta.label_lower: model_admin for model, model_admin in admin.site._registry.items()}


@pytest.fixture
def client():
    """Of an operator, where there is a row of each model."""
    world = build()
    one_of_each()
    return logged_in(world, "operator")


@pytest.fixture
def operator():
    client = Client()
    client.force_login(OperatorFactory(is_superuser=True))
    return client


def url_of(label):
    return reverse(f"admin:{label.replace('.', '_')}_changelist")


@pytest.fixture
def _lists_alone(settings, tmp_path):
    """Pages without what is around their lists, the same on all and most of the work of a page."""
    (tmp_path / "admin").mkdir()
    (tmp_path / "admin/base_site.html").write_text("{% block content %}{% endblock %}{% block footer %}{% endblock %}")
    engine, *others = settings.TEMPLATES
    settings.TEMPLATES = [engine | {"DIRS": [tmp_path, *engine["DIRS"]]}, *others]


def hostile(label, offered) -> Iterator[dict[str, str]]:
    """Query strings: the fields by lookups in turn, what the list itself takes with each value, dates that are none."""
    model_admin = LISTS[label]
    for field, (lookup, value) in zip(model_admin.model._meta.concrete_fields, cycle(LOOKUPS.items()), strict=False):
        yield {f"{field.name}__{lookup}": value}
        if field.is_relation:
            yield {f"{field.name}__{field.target_field.name}__regex": "("}
    for name in (*PARAMETERS, *offered):
        yield from ({name: value} for value in VALUES)
    yield from ({"q": search} for search in SEARCHES)
    yield from ({"o": order} for order in ("-99", "1.2.3.-4", "--1", "." * 100))
    for parts in DATES if model_admin.date_hierarchy else ():
        yield {f"{model_admin.date_hierarchy}__{part}": value for part, value in parts.items()}


@pytest.mark.usefixtures("_lists_alone")
def test_no_list_falls_over_its_parameters(client):
    client.raise_request_exception = False

    fallen = {}
    for label in LISTS:
        specs = client.get(url_of(label)).context["cl"].filter_specs
        offered = [name for spec in specs for name in spec.expected_parameters()]
        for query in hostile(label, offered):
            with undone():
                answer = client.get(url_of(label), query)
            if answer.status_code not in (200, 302, 400):
                fallen[label, *((name, value[:30]) for name, value in query.items())] = answer.status_code

    assert fallen == {}


def test_each_filter_that_a_list_shows_is_one_that_it_takes(client):
    """Or the test above would hold where a list takes none."""
    answers = {}
    for label in LISTS:
        changelist = client.get(url_of(label)).context["cl"]
        links = [choice["query_string"] for spec in changelist.filter_specs for choice in spec.choices(changelist)]
        answers |= {(label, link): client.get(url_of(label) + link).status_code for link in links}

    assert len(answers) > 50
    assert set(answers.values()) == {200}


@pytest.mark.parametrize(
    ("label", "query"),
    [
        ("accounts.auditentry", {"at__year": "99999999999"}),
        ("accounts.auditentry", {"at__year": "9999", "at__month": "12"}),
    ],
)
def test_a_faulty_parameter_leads_back_to_the_list(operator, label, query):
    answer = operator.get(url_of(label), query)

    assert (answer.status_code, answer["Location"]) == (302, f"{url_of(label)}?e=1")


@pytest.mark.parametrize(("words", "found"), [(66, 1), (67, 0), (1500, 0)])
def test_a_search_is_as_long_as_somebody_types(operator, words, found):
    UserFactory(username="zz")

    answer = operator.get(url_of("accounts.user"), {"q": "zz " * words})

    assert answer.context["cl"].result_count == found


def test_the_dates_of_the_audit_trail_are_links_that_work(operator):
    at = audit.record(SYSTEM, "x", object_type="x", object_id="x", org_id=None).at

    for parts in ({"year": at.year}, {"year": at.year, "month": at.month}):
        answer = operator.get(url_of("accounts.auditentry"), {f"at__{part}": value for part, value in parts.items()})
        assert answer.context["cl"].result_count == AuditEntry.objects.count()


def test_kept_answers_cannot_be_guessed_letter_by_letter(operator):
    IdempotencyKey.objects.create(key="i" * 64, body="b", created_at=timezone.now(), answer='{"token": "x"}')
    url = url_of("accounts.idempotencykey")

    answers = [operator.get(url, {"answer__contains": word}) for word in ("token", "gone")]

    assert [answer.status_code for answer in answers] == [400, 400]


# Forms


@pytest.mark.parametrize("key", [HUGE, f"-{HUGE}", "9" * 20, "x", "٣" * 40])
def test_a_permission_that_no_key_can_be_is_an_error_of_the_form(operator, key):
    answer = operator.post(reverse("admin:auth_group_add"), {"name": "night shift", "permissions": ["1", key]})

    assert answer.status_code == 200
    assert list(answer.context["adminform"].form.errors) == ["permissions"]
    assert not Group.objects.exists()


@pytest.mark.parametrize("field", ["groups", "user_permissions"])
def test_a_users_group_that_no_key_can_be_is_an_error_of_the_form(operator, field):
    user = UserFactory()
    data = {"username": user.username, "organization": user.organization_id, "role": user.role, field: [HUGE]}

    answer = operator.post(reverse("admin:accounts_user_change", args=[user.pk]), data)

    assert answer.status_code == 200
    assert list(answer.context["adminform"].form.errors) == [field]


@pytest.mark.parametrize("version", [HUGE, "-1", str(2**31)])
def test_a_version_that_no_node_can_have_is_an_error_of_the_form(operator, version):
    node = NodeFactory()
    data = {
        "name": node.name, "hostname": node.hostname, "segment": node.segment, "uri": node.uri, "enabled": "on",
        "cap_vcpus": 8, "cap_ram_mb": 1024, "cap_disk_gb": 100, "vcpu_overcommit": "1", "seen_version": version,
        "gpus-TOTAL_FORMS": 0, "gpus-INITIAL_FORMS": 0, "images-TOTAL_FORMS": 0, "images-INITIAL_FORMS": 0,
    }  # fmt: skip

    answer = operator.post(reverse("admin:nodes_node_change", args=[node.pk]), data)

    assert answer.status_code == 200
    assert "seen_version" in answer.context["adminform"].form.errors


@pytest.mark.parametrize("name", ["quota_vms", "quota_disk_gb"])
def test_a_quota_that_no_column_can_hold_is_an_error_of_the_form(operator, name):
    organization = Organization.objects.first()
    data = {each.name: getattr(organization, each.name) for each in Organization._meta.fields if each.name != "id"}

    answer = operator.post(reverse("admin:accounts_organization_change", args=[organization.pk]), {**data, name: HUGE})

    assert list(answer.context["adminform"].form.errors) == [name]
