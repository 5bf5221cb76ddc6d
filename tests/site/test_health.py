"""GET /healthz and GET /readyz."""

from datetime import timedelta

import pytest
from django import db
from django.http import HttpResponse
from django.test import Client
from django.utils import timezone

from aiwm_site.middleware import RequestIdMiddleware
from tasks.models import HEARTBEAT_LIMIT, Worker, WorkerQuerySet


def worker(seen_ago: timedelta = timedelta(0)) -> Worker:
    return Worker.objects.create(host="host", pid=1, seen_at=timezone.now() - seen_ago)


def test_it_lives_without_a_database(client):
    response = client.get("/healthz")
    assert (response.status_code, response.json()) == (200, {"status": "ok"})
    assert "no-store" in response["Cache-Control"]


def test_it_sends_no_body_to_who_asks_for_none(rf):
    request = rf.head("/healthz")
    response = RequestIdMiddleware(lambda _: HttpResponse("a body", headers={"Content-Length": "6"}))(request)
    assert response.content == b""
    assert response["Content-Length"] == "6"


@pytest.mark.django_db
def test_it_is_ready_with_a_living_worker(client):
    worker()
    response = client.get("/readyz")
    assert response.status_code == 200
    assert response.json() == {"status": "ready", "checks": {"database": "ok", "workers": "ok"}}


@pytest.mark.django_db
@pytest.mark.parametrize("dead", [True, False])
def test_it_is_not_ready_without_one(client, dead):
    if dead:
        worker(HEARTBEAT_LIMIT + timedelta(seconds=5))
    response = client.get("/readyz")
    assert response.status_code == 503
    body = response.json()
    assert (body["code"], body["detail"]) == ("not_ready", "Not ready: workers: none alive.")
    assert body["checks"] == {"database": "ok", "workers": "none alive"}
    assert response["Retry-After"] == "5"


def test_it_is_not_ready_without_a_database(client, monkeypatch):
    def gone(self):
        raise db.OperationalError("could not connect to 10.0.0.9")

    monkeypatch.setattr(WorkerQuerySet, "alive", gone)
    response = client.get("/readyz")
    assert response.status_code == 503
    assert response.json()["checks"] == {"database": "unreachable", "workers": "unknown"}
    assert "10.0.0.9" not in response.content.decode()


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
def test_it_is_for_reading_alone(client, path):
    response = client.post(path)
    assert response.status_code == 405
    assert response["Allow"] == "GET, HEAD"
    assert response.json()["code"] == "method_not_allowed"


def test_it_is_asked_past_the_proxy_without_tls(settings):
    settings.SECURE_SSL_REDIRECT = True
    client = Client()
    assert client.get("/healthz").status_code == 200
    assert client.get("/auth/me").status_code == 301
