"""Every error of every path is a problem document, and says nothing of our insides."""

import re

import pytest
from django.test import Client
from django.test.utils import override_settings

from accounts.models import Organization
from aiwm_site.errors import KINDS

pytestmark = [pytest.mark.urls("tests.site.urls"), pytest.mark.django_db]

MEMBERS = ["type", "title", "status", "detail", "code", "requestId"]
INSIDES = re.compile(
    r"Traceback|SELECT|accounts_user|/srv/|/work|\.py|RuntimeError|secret reason|10\.0\.0\.3|No Virtual"
)


def problem_of(response) -> dict:
    assert response["Content-Type"] == "application/problem+json"
    body = response.json()
    assert list(body)[:6] == MEMBERS
    assert body["status"] == response.status_code
    assert body["type"] == f"urn:aiwm:error:{body['code']}"
    assert body["title"] == KINDS[body["code"]].title
    assert body["requestId"] == response["X-Request-Id"]
    assert not INSIDES.search(response.content.decode())
    return body


@pytest.mark.parametrize(
    ("name", "status", "code"),
    [
        ("validation", 400, "validation"),
        ("malformed", 400, "malformed"),
        ("not_authenticated", 401, "not_authenticated"),
        ("token_not_valid", 401, "token_not_valid"),
        ("forbidden", 403, "forbidden"),
        ("not_found", 404, "not_found"),
        ("locked", 409, "locked"),
        ("action_not_allowed", 409, "action_not_allowed"),
        ("conflict", 409, "conflict"),
        ("quota_exceeded", 409, "quota_exceeded"),
        ("unsupported", 409, "unsupported"),
        ("precondition_failed", 412, "precondition_failed"),
        ("throttled", 429, "throttled"),
        ("node_unavailable", 503, "node_unavailable"),
        ("drf_validation", 400, "validation"),
        ("drf_not_authenticated", 401, "not_authenticated"),
        ("drf_authentication_failed", 401, "not_authenticated"),
        ("drf_forbidden", 403, "forbidden"),
        ("drf_throttled", 429, "throttled"),
        ("drf_parse", 400, "malformed"),
        ("drf_not_acceptable", 406, "malformed"),
        ("http404", 404, "not_found"),
        ("permission_denied", 403, "forbidden"),
        ("node_unreachable", 503, "node_unavailable"),
        ("bug", 500, "internal"),
        ("bare_domain_error", 500, "internal"),
        ("refused", 500, "internal"),
        ("framework_bug", 500, "internal"),
    ],
)
@pytest.mark.parametrize("debug", [False, True])
def test_it_answers_each_error_by_its_code(client, settings, name, status, code, debug):
    settings.DEBUG = debug
    response = client.get(f"/t/raises/{name}")
    assert response.status_code == status
    assert problem_of(response)["code"] == code


def test_it_lists_all_faults_with_the_message_of_the_first(client):
    body = problem_of(client.get("/t/raises/validation"))
    assert body["detail"] == "Minimum 1 vCPU required"
    assert body["errors"] == [
        {"field": "config.vcpus", "code": "min", "message": "Minimum 1 vCPU required"},
        {"field": "name", "code": "required", "message": "VM name is required"},
    ]
    assert list(body) == [*MEMBERS, "errors"]


def test_it_has_errors_only_where_fields_are_to_blame(client):
    assert "errors" not in problem_of(client.get("/t/raises/conflict"))


def test_it_flattens_the_faults_of_the_framework(client):
    faults = problem_of(client.get("/t/raises/drf_validation"))["errors"]
    assert [fault["field"] for fault in faults] == [
        "name",
        "config.vcpus",
    ]


def test_it_carries_the_members_of_the_code(client):
    assert problem_of(client.get("/t/raises/locked"))["taskId"] == "task-675b2c3d4e5f6a7b8c9d0e0f"
    refused = problem_of(client.get("/t/raises/action_not_allowed"))
    assert (refused["currentStatus"], refused["allowedActions"]) == ("running", ["stop"])
    quota = problem_of(client.get("/t/raises/quota_exceeded"))["quota"]
    assert quota == {"vcpus": {"limit": 4, "used": 3, "requested": 2}}


@pytest.mark.parametrize(
    ("name", "wait"),
    [("throttled", "7"), ("drf_throttled", "3"), ("node_unavailable", "45"), ("node_unreachable", "30")],
)
def test_it_says_when_to_try_again(client, name, wait):
    assert client.get(f"/t/raises/{name}")["Retry-After"] == wait


def test_it_says_so_only_where_waiting_helps(client):
    assert "Retry-After" not in client.get("/t/raises/locked")


def test_it_says_how_to_authenticate(client):
    assert client.get("/t/raises/not_authenticated")["WWW-Authenticate"] == 'Bearer realm="api"'
    assert client.get("/t/raises/drf_not_authenticated")["WWW-Authenticate"] == 'Bearer realm="api"'
    assert client.get("/t/raises/token_not_valid")["WWW-Authenticate"] == 'Bearer realm="api", error="invalid_token"'


@pytest.mark.parametrize("debug", [False, True])
@pytest.mark.parametrize(
    "path", ["/nothing", "/resources/x/y/z/", "/static/nothing.js", "/favicon.ico", "/administration"]
)
def test_it_answers_unknown_routes(client, settings, debug, path):
    settings.DEBUG = debug
    response = client.get(path)
    assert response.status_code == 404
    assert problem_of(response)["detail"] == "Not found"


@pytest.mark.parametrize("debug", [False, True])
def test_it_answers_a_crash_with_the_request_id_and_nothing_else(client, settings, caplog, debug):
    settings.DEBUG = debug
    response = client.get("/t/crash")
    assert response.status_code == 500
    body = problem_of(response)
    assert body["detail"] == "Something went wrong on our side. Quote the request id."
    assert list(body) == MEMBERS
    crashed = [record for record in caplog.records if record.exc_info]
    assert crashed
    assert "SELECT password" in str(crashed[0].exc_info[1])


@pytest.mark.django_db(transaction=True)
def test_it_undoes_what_a_crashed_request_wrote(client):
    assert client.post("/t/crashes-halfway").status_code == 500
    assert not Organization.objects.filter(name="half").exists()


@pytest.mark.parametrize("debug", [False, True])
def test_it_answers_a_malformed_host(client, settings, debug):
    settings.DEBUG = debug
    settings.ALLOWED_HOSTS = ["localhost"]
    for host in ("evil.example.com", "a b", "[::1"):
        response = client.get("/healthz", headers={"Host": host})
        assert response.status_code == 400
        assert problem_of(response)["code"] == "malformed"


@pytest.mark.parametrize("debug", [False, True])
def test_it_answers_what_django_refuses(client, settings, debug):
    settings.DEBUG = debug
    assert problem_of(client.get("/t/refuse"))["code"] == "forbidden"
    assert problem_of(client.get("/t/suspect"))["code"] == "malformed"


def test_it_states_the_length_of_what_it_says(client, settings):
    settings.ALLOWED_HOSTS = ["localhost"]
    for path, host in (("/nothing", "localhost"), ("/healthz", "evil.example.com")):
        response = client.get(path, headers={"Host": host})
        assert response["Content-Length"] == str(len(response.content))


def test_it_replaces_an_error_page_and_keeps_what_is_not_of_its_body(client):
    response = client.get("/t/plain-error")
    assert problem_of(response)["status"] == 410
    assert "Accept" in response["Vary"]
    assert "ETag" not in response
    assert response.cookies["seen"].value == "1"


@pytest.mark.parametrize(("path", "allowed"), [("/t/echo", {"GET", "POST", "DELETE"}), ("/t/only-post", {"POST"})])
def test_it_answers_a_wrong_method_with_those_that_are_right(client, path, allowed):
    response = client.put(path)
    assert response.status_code == 405
    assert problem_of(response)["code"] == "method_not_allowed"
    assert allowed <= set(response["Allow"].replace(" ", "").split(","))


def test_it_answers_in_json_whatever_the_client_accepts(client):
    assert problem_of(client.get("/t/raises/conflict", headers={"Accept": "text/html"}))
    response = client.get("/t/echo", headers={"Accept": "image/png"})
    assert response.json() == {"raw": {"a": 1}}
    assert response["Content-Type"] == "application/json"


def test_it_answers_errors_of_a_page_of_html(client):
    response = client.post("/docs")
    assert response.status_code == 405
    assert problem_of(response)["code"] == "method_not_allowed"


def test_it_keeps_the_headers_of_cors(client, settings):
    settings.CORS_ALLOWED_ORIGINS = ["https://app.example.com"]
    settings.CORS_ALLOW_ALL_ORIGINS = False
    for path in ("/t/raises/conflict", "/nothing", "/t/crash"):
        response = client.get(path, headers={"Origin": "https://app.example.com"})
        assert response["Access-Control-Allow-Origin"] == "https://app.example.com"
        assert "X-Request-Id" in response["Access-Control-Expose-Headers"]


def test_it_keeps_html_for_the_admin(client):
    for path, status in (("/admin/t/crash", 500), ("/admin/t/refuse", 403)):
        response = client.get(path)
        assert response.status_code == status
        assert response["Content-Type"].startswith("text/html")
        assert response["X-Request-Id"] in response.content.decode()
        assert not INSIDES.search(response.content.decode())


@override_settings(DEBUG=True)
def test_it_leaves_django_its_debug_page_in_the_admin():
    response = Client(raise_request_exception=False).get("/admin/t/crash", headers={"Accept": "text/html"})
    assert response.status_code == 500
    assert "Traceback" in response.content.decode()
