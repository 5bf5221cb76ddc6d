"""A VM's password is in clear nowhere that it could have reached: database, answers, logs, tasks, audit, admin."""

import base64
import logging
import traceback
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.admin.utils import quote
from django.core import mail
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils.log import AdminEmailHandler
from rest_framework.test import APIClient

from accounts.models import Organization
from aiwm_site.logs import JsonFormatter
from common.errors import ValidationFailed
from resources import actions, holdings, secrets
from resources.config import parse_create
from resources.models import VirtualMachine, VmSecret
from resources.states import Status
from tasks.models import Task
from tasks.worker import drain
from tests.attacks.database import dump
from tests.backends import ScriptedBackend, scripted
from tests.factories import NodeFactory, OperatorFactory, OrganizationFactory, UserFactory, create_body, vm_config
from vmbackends.errors import Refused

PASSWORD = "Correct7Horse-Battery9Staple"
SECOND = "Another4Zebra-Bicycle2Lantern"
IMAGES = ("ubuntu-22.04", "windows-server-2022")


def disguises(password: str) -> set[str]:
    """The password as it is, and as it stands in base64 or hex, at whatever offset."""
    raw = password.encode()
    encoded = {base64.b64encode(b"x" * offset + raw).decode()[4:-4] for offset in range(3)}
    return {password, raw.hex(), password[::-1], *encoded}


NEEDLES = disguises(PASSWORD) | disguises(SECOND)


def assert_clean(text: str, where: str) -> None:
    found = [needle for needle in NEEDLES if needle in text]
    assert not found, f"{found} in {where}"


class Watch:
    """A client whose every answer is searched."""

    def __init__(self, client: APIClient) -> None:
        self.client = client

    def __call__(self, method: str, path: str, data: Any = None, **extra: Any) -> Any:
        if isinstance(data, bytes):
            answer = self.client.generic(method, path, data, content_type="application/json", **extra)
        else:
            answer = getattr(self.client, method.lower())(path, data, format="json", **extra)
        assert_clean(f"{answer.headers}{answer.content.decode()}", f"the answer of {method} {path}")
        return answer


@pytest.fixture
def user():
    return UserFactory(organization=OrganizationFactory(), role="admin")


@pytest.fixture
def ask(client_of: Callable[..., APIClient], user: Any) -> Watch:
    client = client_of(user)
    client.raise_request_exception = False
    return Watch(client)


@pytest.fixture
def _searched(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """All that is logged, statements with their parameters too, and all that is in the database when the test ends."""
    caplog.set_level(logging.INFO, logger="django.template")  # below that it tells of each variable that is not there
    caplog.set_level(logging.DEBUG, logger="django")
    caplog.set_level(logging.DEBUG)
    with CaptureQueriesContext(connection) as statements:
        yield
    records = caplog.get_records("call")
    assert {"aiwm.access", "django.db.backends"} <= {record.name for record in records}
    for record in records:
        for formatter in (JsonFormatter(), logging.Formatter("%(message)s %(args)s")):
            assert_clean(formatter.format(record), f"a line of {record.name}")
        assert_clean(str(record.__dict__), f"a record of {record.name}")
    for statement in statements.captured_queries:
        assert_clean(statement["sql"], "a statement")
    search_the_database()


def search_the_database() -> None:
    for table, rows in dump().items():
        assert_clean(str(rows), table)
    if connection.vendor == "sqlite":
        # The pages as the file has them, with those that are free now.
        assert_clean(connection.connection.serialize().decode("latin-1"), "the database's file")


def search_the_admin() -> None:
    """Each list and each row of each model that is registered."""
    browser = Client()
    browser.force_login(OperatorFactory())
    seen = 0
    for model in admin.site._registry:
        name = f"admin:{model._meta.app_label}_{model._meta.model_name}"
        pages = [reverse(f"{name}_changelist")]
        pages += [reverse(f"{name}_change", args=(quote(row.pk),)) for row in model._default_manager.all()]
        for page in pages:
            assert_clean(browser.get(page).content.decode(), page)
            seen += 1
    assert seen > 25


class NoNode:
    """In place of a node, where no database is."""

    id = "0" * 24


def body_with(node: Any, password: Any = PASSWORD, image: str = IMAGES[0], **changes: Any) -> dict[str, Any]:
    return create_body(node, config=vm_config(osImage=image, cloudInit={"password": password, **changes}))


def read_all(ask: Watch, vm_id: str) -> None:
    for tail in ("", "/status", "/logs", "/logs?format=text", "/metrics", "/metrics/history", "/tasks", "/snapshots"):
        ask("GET", f"/resources/{vm_id}{tail}")
    ask("GET", "/resources?search=web")
    ask("GET", "/resources/tasks")


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("_searched")
@pytest.mark.parametrize("image", IMAGES)
def test_a_password_is_nowhere_from_creation_to_deletion(ask, image):
    node = NodeFactory()
    key = {"Idempotency-Key": "once"}
    created = [ask("POST", "/resources", body_with(node, image=image), headers=key) for _ in range(2)]
    assert [answer.status_code for answer in created] == [201, 201]
    vm_id = created[0].json()["_id"]
    assert VmSecret.objects.filter(vm_id=vm_id).exists()
    search_the_database()

    assert ask("PATCH", f"/resources/{vm_id}", {"config": {"cloudInit": {"password": SECOND}}}).status_code == 200
    assert ask("POST", f"/resources/{vm_id}/start", headers=key).status_code == 202
    drain(ignore_waits=True)
    assert VirtualMachine.objects.get(pk=vm_id).status == Status.RUNNING
    assert not VmSecret.objects.exists()
    read_all(ask, vm_id)

    assert ask("POST", f"/resources/{vm_id}/snapshots", {"name": "before"}).status_code == 201
    assert ask("POST", f"/resources/{vm_id}/stop", {"force": True}).status_code == 202
    drain(ignore_waits=True)
    assert ask("DELETE", f"/resources/{vm_id}").status_code == 202
    drain(ignore_waits=True)
    search_the_admin()


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("_searched")
@pytest.mark.parametrize(
    ("image", "fault"), [(IMAGES[0], Refused("no space left")), (IMAGES[1], RuntimeError("a bug"))], ids=IMAGES
)
def test_a_password_is_nowhere_after_a_deploy_that_failed(ask, image, fault):
    node = NodeFactory()
    with scripted() as backend:
        backend.faults["define"] = fault
        vm_id = ask("POST", "/resources", body_with(node, image=image)).json()["_id"]
        ask("POST", f"/resources/{vm_id}/start")
        drain(ignore_waits=True)
        assert "write_seed" in backend.calls
        assert VirtualMachine.objects.get(pk=vm_id).status == Status.FAILED
        assert Task.objects.get().error
        read_all(ask, vm_id)

        changed = ask("PATCH", f"/resources/{vm_id}", {"config": {"cloudInit": {"password": SECOND}}})
        assert changed.status_code == 200
        backend.faults.clear()
        ask("POST", f"/resources/{vm_id}/start")
        drain(ignore_waits=True)
        assert VirtualMachine.objects.get(pk=vm_id).status == Status.RUNNING
        search_the_admin()


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("image", IMAGES)
def test_the_node_is_given_it_once_though(ask, image, monkeypatch):
    """Or it would be nowhere because it is thrown away."""
    given = []
    monkeypatch.setattr(
        ScriptedBackend, "write_seed", lambda self, node, vm, secret: given.append(secret), raising=False
    )
    with scripted():
        vm_id = ask("POST", "/resources", body_with(NodeFactory(), image=image)).json()["_id"]
        ask("POST", f"/resources/{vm_id}/start")
        drain(ignore_waits=True)

    (secret,) = given
    assert (secret.value == PASSWORD) is image.startswith("windows")
    assert_clean(repr(secret), "what a debugger shows of it")
    if secret.hashed:
        assert secrets.sha512_crypt.verify(PASSWORD, secret.value)


WRONG = {
    "too long": PASSWORD * 20,
    "a list": [PASSWORD],
    "an object": {"value": PASSWORD},
    "with a line end": f"{PASSWORD}\n",
    "with an escape": f"\x1b{PASSWORD}",
    "a list of lists": [[PASSWORD]] * 3,
}
WRONG_TEXTS = {
    "cut short": b'{"config": {"cloudInit": {"password": "%s"' % PASSWORD.encode(),
    "no quote": b'{"password": "%s}' % PASSWORD.encode(),
    "bare": b'{"password": %s}' % PASSWORD.encode(),
    "with NUL": b'{"password": "%s\\u0000"}' % PASSWORD.encode(),
    "half a pair": b'{"password": "%s\\ud800"}' % PASSWORD.encode(),
    "twice": b'{"password": "%s", "password": "%s"}' % (PASSWORD.encode(), SECOND.encode()),
    "no UTF-8": b'{"password": "%s\xff"}' % PASSWORD.encode(),
    "a text": b'"%s"' % PASSWORD.encode(),
    "too deep": b'{"a":' * 60 + b'"%s"' % PASSWORD.encode() + b"}" * 60,
}


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("_searched")
def test_no_refusal_tells_it(ask, user):
    node = NodeFactory(images=("ubuntu-22.04",))
    vm_id = ask("POST", "/resources", body_with(node)).json()["_id"]
    for value in WRONG.values():
        assert ask("POST", "/resources", body_with(node, value)).status_code == 400
        assert ask("PATCH", f"/resources/{vm_id}", {"config": {"cloudInit": {"password": value}}}).status_code == 400
        assert ask("POST", "/resources/estimate", {"config": body_with(node, value)["config"]}).status_code == 400
    for text in WRONG_TEXTS.values():
        for method, path in (("POST", "/resources"), ("PATCH", f"/resources/{vm_id}"), ("POST", "/resources/estimate")):
            assert ask(method, path, text).status_code == 400
    # In a place where it does not belong, or with something else wrong.
    for field in ("passwd", "hostname", "username", "sshPublicKey"):
        body = body_with(node)
        body["config"]["cloudInit"] = {field: f"{PASSWORD}!"}
        assert ask("POST", "/resources", body).status_code == 400
    other_image = ask("POST", "/resources", body_with(node, image="windows-server-2022"))
    assert other_image.json()["code"] == "unsupported"
    Organization.objects.filter(pk=user.organization_id).update(quota_vms=1)
    assert ask("POST", "/resources", body_with(node)).json()["code"] == "quota_exceeded"
    key = {"Idempotency-Key": "k"}
    assert ask("POST", "/resources", body_with(node, WRONG["a list"]), headers=key).status_code == 400


@pytest.mark.parametrize("value", WRONG.values(), ids=list(WRONG))
def test_no_exception_tells_it(value):
    body = body_with(NoNode)
    body["config"]["cloudInit"]["password"] = value
    with pytest.raises(ValidationFailed) as caught:
        parse_create(body)

    said = "".join(traceback.format_exception(caught.value))
    assert "ValidationError" in said
    assert_clean(f"{said}{caught.value!r}{caught.value.__cause__!r}{caught.value.errors}", "the exception")


def test_no_object_shows_it():
    body = parse_create(body_with(NoNode))

    for text in (repr(body), str(body), repr(body.config.cloud_init), str(body.model_dump()), body.model_dump_json()):
        assert_clean(text, "the body")


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("_searched")
@pytest.mark.parametrize("debug", [False, True])
def test_a_crash_tells_it_to_nobody(ask, settings, monkeypatch, debug):
    """Neither to the client nor in a log, nor in the report that Django mails, which shows local variables."""
    settings.DEBUG = debug
    settings.ADMINS = [("Operator", "operator@example.com")]
    reports = AdminEmailHandler(include_html=True)
    logging.getLogger("django.request").addHandler(reports)
    node = NodeFactory()
    vm_id = ask("POST", "/resources", body_with(node)).json()["_id"]

    def crash(*args: Any, **kwargs: Any) -> None:
        raise RuntimeError("a bug")

    try:
        with monkeypatch.context() as broken:
            broken.setattr(holdings, "take", crash)
            broken.setattr(actions, "parse_patch", crash)
            answers = [
                ask("POST", "/resources", body_with(node), headers={"Idempotency-Key": "k"}),
                ask("PATCH", f"/resources/{vm_id}", {"config": {"cloudInit": {"password": SECOND}}}),
            ]
    finally:
        logging.getLogger("django.request").removeHandler(reports)

    assert [(answer.status_code, answer.json()["code"]) for answer in answers] == [(500, "internal")] * 2
    assert all(set(answer.json()) <= {"type", "title", "status", "detail", "code", "requestId"} for answer in answers)
    if not debug:
        assert len(mail.outbox) == 2
        for message in mail.outbox:
            assert "RuntimeError" in message.body
            assert_clean(message.body + str(message.alternatives), "the mail to the admins")
