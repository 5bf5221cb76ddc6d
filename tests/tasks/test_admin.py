"""Tasks and workers in the admin: to be looked at, never changed."""

from datetime import timedelta

import pytest
from django.contrib.auth.models import Permission
from django.db import connection
from django.db.models.functions import Now
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from tasks.admin import TaskAdmin
from tasks.models import Worker
from tasks.worker import drain
from tests.factories import NodeFactory, OperatorFactory, UserFactory, VirtualMachineFactory

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


def test_it_names_what_a_task_is_about_and_leads_there(browser, make):
    vm = VirtualMachineFactory(name="Build runner")
    node = NodeFactory(name="worker-77")
    of_vm = make(subject_id=vm.id, org_id=vm.organization_id, node_id=node.id, created_by=vm.owner_id)
    of_node = make(subject_id=node.id)
    orphan = make(subject_id="f" * 24)

    listed = browser.get("/admin/tasks/task/")
    page = browser.get(f"/admin/tasks/task/{of_vm.id}/change/").content.decode()

    subjects = {task.id: task for task in listed.context["cl"].result_list}
    columns = listed.context["cl"].model_admin
    assert f'href="/admin/resources/virtualmachine/{vm.id}/change/"' in columns.subject(subjects[of_vm.id])
    assert ">Build runner<" in columns.subject(subjects[of_vm.id])
    assert ">worker-77<" in columns.subject(subjects[of_node.id])
    assert ">ffffff<" in columns.subject(subjects[orphan.id])
    for name in ("Build runner", "worker-77", vm.organization.name, vm.owner.username):
        assert f">{name}</a>" in page


def test_it_names_nothing_that_the_user_may_not_view(client, make):
    user = UserFactory(is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename="view_task"))
    client.force_login(user)
    vm = VirtualMachineFactory(name="Build runner")
    task = make(subject_id=vm.id, org_id=vm.organization_id)

    for url in ("/admin/tasks/task/", f"/admin/tasks/task/{task.id}/change/"):
        page = client.get(url).content.decode()
        assert "Build runner" not in page
        assert vm.organization.name not in page


def test_it_asks_as_many_queries_for_many_tasks_as_for_one(browser, make, django_assert_num_queries):
    make(subject_id=VirtualMachineFactory().id)
    browser.get("/admin/tasks/task/")
    with CaptureQueriesContext(connection) as one:
        browser.get("/admin/tasks/task/")
    for _ in range(4):
        make(subject_id=VirtualMachineFactory().id)

    with django_assert_num_queries(len(one)):
        browser.get("/admin/tasks/task/")


def test_it_says_how_long_a_task_took(browser, make):
    task = make()
    assert TaskAdmin.took(None, task) == "-"
    task.started_at = timezone.now()
    task.finished_at = task.started_at + timedelta(seconds=75)
    assert TaskAdmin.took(None, task) == "75 s"
    task.finished_at = task.started_at + timedelta(hours=2.5)
    assert TaskAdmin.took(None, task) == "2.5 h"


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
