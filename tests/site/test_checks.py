"""What `manage.py check` says."""

import pytest
from django import db

from aiwm_site import checks
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


@pytest.mark.parametrize("path", ["no.such.Backend", "vmbackends.base.Backend", "pathlib.Path", ""])
def test_it_refuses_a_backend_that_cannot_be_used(settings, path):
    settings.VM_BACKEND = {"BACKEND": path, "OPTIONS": {}}
    assert ids(checks.vm_backend()) == ["aiwm.E002"]


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
