"""Tasks and workers in the admin: to be looked at, never changed."""

import pytest
from django.db.models.functions import Now

from tasks.models import Worker
from tasks.worker import drain
from tests.factories import OperatorFactory

pytestmark = pytest.mark.django_db


@pytest.fixture
def browser(client):
    client.force_login(OperatorFactory())
    return client


def test_it_lists_and_searches_tasks(browser, make):
    task, other = make(), make()
    drain()
    page = browser.get("/admin/tasks/task/", {"q": task.public_id, "status__exact": "succeeded"}).content.decode()
    assert task.public_id in page
    assert other.public_id not in page


def test_it_shows_a_task_and_changes_nothing(browser, make):
    task = make()
    url = f"/admin/tasks/task/{task.id}/change/"
    page = browser.get(url)
    assert page.status_code == 200
    assert 'name="status"' not in page.content.decode()
    assert browser.post(url, {"status": "succeeded"}).status_code == 403
    assert browser.get("/admin/tasks/task/add/").status_code == 403
    assert browser.post(f"/admin/tasks/task/{task.id}/delete/", {"post": "yes"}).status_code == 403
    task.refresh_from_db()
    assert task.status == "pending"


def test_it_lists_workers(browser):
    Worker.objects.create(host="worker-host", pid=4711, seen_at=Now())
    page = browser.get("/admin/tasks/worker/", {"q": "worker-host"}).content.decode()
    assert "4711" in page
