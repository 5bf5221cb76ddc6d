"""What `manage.py check` says."""

import sys
from ipaddress import ip_network

import pytest
from django import db
from django.core.exceptions import ImproperlyConfigured

from aiwm_site import checks, env
from tests.factories import UserFactory


def ids(messages) -> list[str]:
    return [message.id for message in messages]


@pytest.mark.parametrize(
    "url", ["http://localhost:3305", "https://aiwm.example.com", "http://[::1]:3305", "https://aiwm/base"]
)
def test_it_takes_a_public_url(settings, url):
    settings.PUBLIC_URL = url
    assert checks.public_url() == []


@pytest.mark.parametrize(
    "url", ["", "aiwm.example.com", "ftp://x", "http://", "http://x:port", "http://u:p@x", "http://x?y", "http://[::1"]
)
def test_it_refuses_what_is_no_public_url(settings, url):
    settings.PUBLIC_URL = url
    assert ids(checks.public_url()) == ["aiwm.E001"]


@pytest.fixture
def production(settings):
    settings.DEBUG = False
    settings.ALLOWED_HOSTS = ["aiwm.example.com", "localhost"]
    settings.PUBLIC_URL = "https://aiwm.example.com"
    settings.CORS_ALLOWED_ORIGINS = ["https://portal.example.com"]
    return settings


@pytest.mark.parametrize(
    ("name", "value", "found"),
    [
        ("ALLOWED_HOSTS", ["localhost", "127.0.0.1", "[::1]"], "aiwm.W009"),
        ("PUBLIC_URL", "http://localhost:3305", "aiwm.W010"),
        ("CORS_ALLOWED_ORIGINS", [], "aiwm.W011"),
        ("CORS_ALLOWED_ORIGINS", ["http://localhost:5173"], "aiwm.W011"),
    ],
)
def test_it_warns_of_a_production_that_only_its_own_machine_reaches(production, name, value, found):
    assert checks.local_addresses() == []
    setattr(production, name, value)
    (warning,) = checks.local_addresses()
    assert warning.id == found
    assert name.replace("CORS_ALLOWED", "FRONTEND") in f"{warning.msg} {warning.hint}"


def test_it_warns_of_a_production_that_goes_by_any_name(production):
    assert checks.any_host() == []
    production.ALLOWED_HOSTS = ["aiwm.example.com", "*"]
    (warning,) = checks.any_host()
    assert warning.id == "aiwm.W012"


def test_it_lets_development_be_local(production):
    production.DEBUG, production.PUBLIC_URL = True, "http://localhost:3305"
    assert checks.local_addresses() == []


@pytest.mark.parametrize("path", ["no.such.Backend", "vmbackends.base.Backend", "pathlib.Path", ""])
def test_it_refuses_a_backend_that_cannot_be_used(settings, path):
    settings.VM_BACKEND = {"BACKEND": path, "OPTIONS": {}}
    assert ids(checks.vm_backend()) == ["aiwm.E002"]


def test_it_says_how_to_install_what_libvirt_needs(settings, monkeypatch):
    settings.VM_BACKEND = {"BACKEND": "vmbackends.libvirt.LibvirtBackend", "OPTIONS": {}}
    monkeypatch.setitem(sys.modules, "vmbackends.libvirt.backend", None)
    (found,) = checks.vm_backend()
    assert "requirements-libvirt.txt" in found.hint


def test_it_does_not_have_packages_installed_for_a_slip_of_the_pen(settings):
    pytest.importorskip("libvirt", reason="needs the extra `libvirt`")
    settings.VM_BACKEND = {"BACKEND": "vmbackends.libvirt.Libvirt", "OPTIONS": {}}
    (found,) = checks.vm_backend()
    assert found.hint == "See VM_BACKEND and VM_BACKEND_OPTIONS."


@pytest.mark.parametrize("url", ["mysql://aiwm:hunter2@db/aiwm", "foo://db"])
def test_it_takes_the_databases_that_it_is_tested_on(monkeypatch, url):
    monkeypatch.setenv("DATABASE_URL", url)
    with pytest.raises(ImproperlyConfigured, match=r"it takes sqlite:///path or postgres://") as caught:
        env.database("DATABASE_URL", "")
    assert "hunter2" not in str(caught.value)


def test_it_says_how_to_install_the_driver_of_postgresql(monkeypatch):
    monkeypatch.setenv("DATABASE_URL", "postgres://aiwm:hunter2@db/aiwm")
    monkeypatch.setattr(env, "find_spec", lambda name: None)
    with pytest.raises(ImproperlyConfigured, match=r"^DATABASE_URL .* requirements-postgres\.txt\.$") as caught:
        env.database("DATABASE_URL", "")
    assert "hunter2" not in str(caught.value)


def test_it_takes_the_backend_of_the_tests():
    assert checks.vm_backend() == []


def test_it_wants_two_keys(settings):
    assert checks.secrets_key() == []
    settings.SECRETS_KEY = settings.SECRET_KEY
    assert ids(checks.secrets_key()) == ["aiwm.E003"]


def test_it_warns_of_the_mock(settings):
    assert ids(checks.mock_backend()) == ["aiwm.W001"]
    settings.VM_BACKEND = {"BACKEND": "vmbackends.libvirt.LibvirtBackend"}
    assert checks.mock_backend() == []


@pytest.mark.django_db
def test_it_finds_the_accounts_of_the_demo(settings):
    settings.DEBUG = False
    UserFactory(username="demo", password="demo")
    UserFactory(username="careful", password="something else")
    UserFactory(username="gone", password="gone", is_active=False)
    (found,) = checks.demo_passwords()
    assert found.id == "aiwm.E004"
    assert found.msg == "The password is the user name of: demo."


@pytest.mark.django_db
def test_it_lets_development_have_them(settings):
    settings.DEBUG = True
    UserFactory(username="demo", password="demo")
    assert checks.demo_passwords() == []


def test_it_says_so_where_the_accounts_cannot_be_read(settings, monkeypatch):
    settings.DEBUG = False

    def gone(*args, **kwargs):
        raise db.OperationalError("no such table")

    monkeypatch.setattr("django.db.models.query.QuerySet.__iter__", gone)
    assert ids(checks.demo_passwords()) == ["aiwm.W002"]


def test_it_wants_to_know_the_proxies(settings):
    assert checks.proxies() == []
    settings.SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
    assert ids(checks.proxies()) == ["aiwm.W003"]
    settings.TRUSTED_PROXIES = 1
    assert checks.proxies() == []


def test_it_warns_of_pages_of_any_origin(settings):
    settings.CORS_ALLOW_ALL_ORIGINS = False
    assert checks.cors() == []
    settings.CORS_ALLOW_ALL_ORIGINS = True
    assert ids(checks.cors()) == ["aiwm.W004"]


@pytest.mark.parametrize(
    ("api", "token", "words"), [(0, 0, "API_RATE and TOKEN_RATE"), (0, 30, "API_RATE"), (6000, 0, "TOKEN_RATE")]
)
def test_it_warns_of_rates_without_a_limit(settings, api, token, words):
    settings.API_RATE, settings.TOKEN_RATE = api, token
    (found,) = checks.rates()
    assert (found.id, found.msg) == ("aiwm.W005", f"{words}: 0 is no limit.")
    settings.API_RATE = settings.TOKEN_RATE = 1
    assert checks.rates() == []


@pytest.mark.parametrize("network", ["0.0.0.0/0", "::/0"])
def test_it_warns_of_metrics_that_are_open_to_everybody(settings, network):
    settings.METRICS_ALLOW = [ip_network("10.0.0.0/8")]
    assert checks.metrics() == []
    settings.METRICS_ALLOW = [ip_network(network)]
    assert ids(checks.metrics()) == ["aiwm.W006"]


def test_it_warns_of_metrics_that_go_by_the_proxys_address(settings):
    settings.METRICS_ALLOW = [ip_network("127.0.0.1")]
    settings.SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
    assert ids(checks.metrics()) == ["aiwm.W007"]
    settings.TRUSTED_PROXIES = 1
    assert checks.metrics() == []


def test_it_warns_of_a_short_token_for_metrics(settings):
    settings.METRICS_TOKEN = "x" * 19
    assert ids(checks.metrics()) == ["aiwm.W008"]
    settings.METRICS_TOKEN = "x" * 20
    assert checks.metrics() == []
