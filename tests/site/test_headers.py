"""What every answer tells a browser."""

import re

import pytest
from django.test import Client
from django.urls import reverse

from accounts.models import User
from tests.factories import NodeFactory, OperatorFactory, UserFactory, VirtualMachineFactory

pytestmark = pytest.mark.django_db

NOTHING = {"default-src": "'none'", "base-uri": "'none'", "form-action": "'none'", "frame-ancestors": "'none'"}


def policy_of(response) -> dict[str, str]:
    directives = [part.strip().partition(" ") for part in response["Content-Security-Policy"].split(";")]
    return {name: value for name, _, value in directives}


def assert_common(response):
    assert response["X-Content-Type-Options"] == "nosniff"
    assert response["Referrer-Policy"] in ("same-origin", "no-referrer")
    assert response["Cross-Origin-Opener-Policy"] == "same-origin"
    assert response["Cross-Origin-Resource-Policy"] == "same-origin"
    assert "camera=()" in response["Permissions-Policy"]
    policy = policy_of(response)
    assert policy["default-src"] == policy["base-uri"] == "'none'"
    assert not any(host in str(policy) for host in ("*", "http:", "https:")), policy


@pytest.mark.parametrize(
    ("path", "status"),
    [("/resources", 200), ("/resources/nodes", 200), ("/resources/catalog", 200), ("/resources/tasks", 200),
     ("/auth/me", 200), ("/organization", 200), ("/schema", 200), ("/healthz", 200), ("/readyz", 503),
     ("/nowhere", 404), ("/resources/nowhere", 404), ("/resources?limit=0", 400), ("/", 302)],
)  # fmt: skip
def test_json_may_load_nothing_and_is_framed_by_nobody(client_of, path, status):
    response = client_of(UserFactory()).get(path)
    assert response.status_code == status
    assert_common(response)
    assert policy_of(response) == NOTHING
    assert "no-store" in response["Cache-Control"] or response["Cache-Control"] == "private, no-cache"


@pytest.mark.parametrize(
    ("send", "status"),
    [
        (lambda client: Client().get("/resources"), 401),
        (lambda client: client.put("/resources"), 405),
        (lambda client: client.post("/resources", b"x", content_type="text/plain"), 415),
        (lambda client: client.post("/resources", b"x" * 1_000_001, content_type="application/json"), 413),
        (lambda client: client.get("/resources", headers={"Host": "no host"}), 400),
    ],
)
def test_every_error_does_too(client_of, send, status):
    response = send(client_of(UserFactory()))
    assert response.status_code == status
    assert_common(response)
    assert policy_of(response) == NOTHING
    assert response["Cache-Control"] == "no-store"


@pytest.mark.urls("tests.site.urls")
@pytest.mark.parametrize("debug", [True, False])
def test_a_crash_does_too(settings, debug):
    settings.DEBUG = debug
    response = Client(raise_request_exception=False).get("/t/raises/bug")
    assert response.status_code == 500
    assert policy_of(response) == NOTHING


def test_what_a_tenant_sees_is_stored_nowhere(client_of):
    user = UserFactory()
    vm = VirtualMachineFactory(organization=user.organization, owner=user, node=NodeFactory())
    client = client_of(user)
    for tail in ("", "/status", "/logs", "/metrics", "/metrics/history", "/snapshots", "/tasks", "/events"):
        response = client.get(f"/resources/{vm.id}{tail}")
        assert response.status_code == 200
        assert response["Cache-Control"] == ("private, no-cache" if "ETag" in response else "no-store"), tail
    text = client.get(f"/resources/{vm.id}/logs?format=text")
    assert (text["Cache-Control"], policy_of(text)) == ("no-store", NOTHING)


@pytest.mark.parametrize("path", ["/resources", "/resources/{vm}", "/resources/nodes/{node}"])
def test_what_has_a_tag_is_asked_for_anew_by_each_user(client_of, path):
    user = UserFactory()
    vm = VirtualMachineFactory(organization=user.organization, owner=user)
    path = path.format(vm=vm.id, node=vm.node_id)
    response = client_of(user).get(path)
    assert response["Cache-Control"] == "private, no-cache"
    assert "Authorization" in response["Vary"]
    unchanged = client_of(user).get(path, headers={"If-None-Match": response["ETag"]})
    assert unchanged["Cache-Control"] == "private, no-cache"


def test_the_documentation_runs_its_own_scripts_alone(client):
    response = client.get("/docs")
    assert_common(response)
    policy = policy_of(response)
    nonce = re.search("nonce-([^']+)", policy["script-src"])[1]
    assert policy == {
        **NOTHING,
        "script-src": f"'self' 'nonce-{nonce}'",
        "style-src": f"'self' 'nonce-{nonce}'",
        "img-src": "'self' data:",
        "connect-src": "'self'",
    }
    inline = re.findall(r"<(?:script|style)(?![^>]*src=)[^>]*>", response.content.decode())
    assert inline
    assert all(f'nonce="{nonce}"' in tag for tag in inline)
    assert nonce not in client.get("/docs")["Content-Security-Policy"]


@pytest.fixture
def admin():
    client = Client(raise_request_exception=False)
    client.force_login(OperatorFactory())
    return client


def admin_paths():
    models = ("resources_virtualmachine", "nodes_node", "accounts_user", "accounts_auditentry", "tasks_task")
    return ["admin:index", "admin:password_change", *(f"admin:{model}_changelist" for model in models)]


@pytest.mark.parametrize("name", [*admin_paths(), "admin:accounts_user_add", "admin:nodes_node_add"])
def test_the_admin_runs_no_inline_script(admin, name):
    response = admin.get(reverse(name))
    assert response.status_code == 200
    assert_admin(response)


def test_the_admins_other_pages_run_none_either(admin):
    VirtualMachineFactory()
    vm_path = reverse("admin:resources_virtualmachine_vm_start", args=[VirtualMachineFactory().id])
    user = User.objects.first()
    for path in (vm_path, reverse("admin:accounts_user_change", args=[user.pk]), reverse("admin:jsi18n")):
        assert_admin(admin.get(path))
    assert_admin(Client().get(reverse("admin:login")))


@pytest.mark.parametrize(("path", "status"), [("/admin/nowhere/", 404), ("/admin/accounts/auditentry/add/", 403)])
def test_the_admins_errors_run_none_either(admin, path, status):
    response = admin.get(path)
    assert (response.status_code, response["Content-Type"]) == (status, "text/html; charset=utf-8")
    assert_admin(response)
    assert "<style" not in response.content.decode()


def assert_admin(response):
    assert_common(response)
    assert policy_of(response) == {
        **NOTHING,
        "script-src": "'self' 'unsafe-eval'",
        "style-src": "'self' 'unsafe-inline'",
        "img-src": "'self' data:",
        "font-src": "'self'",
        "connect-src": "'self'",
        "form-action": "'self'",
    }
    assert response["X-Frame-Options"] == "DENY"
    page = response.content.decode()
    # What the policy would keep from running: inline scripts, handlers in attributes, and other hosts.
    assert not re.search(r"<script(?![^>]*\bsrc=)[^>]*>", page)
    assert not re.search(r"<[^>]+\son[a-z]+=", page)
    assert not re.search(r"(?:src|href)=\"(?:https?:)?//", page)


def test_the_console_keeps_its_own(client, settings):
    settings.CORS_ALLOW_ALL_ORIGINS = False
    settings.CORS_ALLOWED_ORIGINS = ["https://portal.example.com"]
    response = client.get("/console/view/vm-" + "a" * 24)
    policy = policy_of(response)
    assert policy["frame-ancestors"] == "'self' https://portal.example.com"
    assert (policy["default-src"], policy["script-src"]) == ("'none'", "'self'")
    assert response["Cache-Control"] == "no-store"
    assert response["X-Content-Type-Options"] == "nosniff"
    assert "X-Frame-Options" not in response
