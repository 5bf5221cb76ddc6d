"""GET /resources/:id/status, logs, metrics, metrics/history and console: who may, and the answers' shape"""

from datetime import timedelta

import pytest
from django.utils import timezone

from accounts.models import Role
from resources.models import ConsoleToken
from resources.states import ALLOWED, Action, Status
from tests.factories import (
    GpuFactory,
    NodeFactory,
    OperatorFactory,
    UserFactory,
    VirtualMachineFactory,
    static_network,
)

pytestmark = pytest.mark.django_db

READS = ("status", "logs", "metrics", "metrics/history", "tasks", "snapshots")


def own_vm(user, status=Status.RUNNING, **fields):
    return VirtualMachineFactory(organization=user.organization, owner=user, status=status, **fields)


@pytest.mark.parametrize("status", list(Status))
@pytest.mark.parametrize("what", READS)
def test_a_viewer_reads_in_every_status(client_of, what, status):
    user = UserFactory(role=Role.VIEWER)

    answer = client_of(user).get(f"/resources/{own_vm(user, status).id}/{what}")

    assert answer.status_code == 200, answer.content


@pytest.mark.parametrize("what", [*READS, "console"])
def test_it_hides_another_organizations_vm(client_of, what):
    answer = client_of(UserFactory()).get(f"/resources/{VirtualMachineFactory(status=Status.RUNNING).id}/{what}")

    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


@pytest.mark.parametrize("what", [*READS, "console"])
def test_an_operator_reads_any(client_of, what):
    vm = VirtualMachineFactory(status=Status.RUNNING)

    assert client_of(OperatorFactory()).get(f"/resources/{vm.id}/{what}").status_code == 200


def test_the_status_of_a_running_vm(client_of):
    user = UserFactory()
    vm = own_vm(user, config={"networkConfig": static_network("192.168.100.10")})

    answer = client_of(user).get(f"/resources/{vm.id}/status").json()

    assert answer["resourceId"] == answer["_id"] == vm.id
    assert (answer["status"], answer["health"]) == ("running", "healthy")
    assert answer["runtime"]["id"] == f"vm-{vm.id}"
    assert answer["runtime"]["uptime"] >= 0
    assert "lastCheck" in answer
    assert answer["allowedActions"] == ["stop", "restart", "console", "snapshot", "restore"]


@pytest.mark.parametrize(
    ("status", "health"), [(Status.ERROR, "unhealthy"), (Status.STOPPED, "unknown"), (Status.QUEUED, "unknown")]
)
def test_the_health_follows_the_status(client_of, status, health):
    user = UserFactory()

    assert client_of(user).get(f"/resources/{own_vm(user, status).id}/status").json()["health"] == health


@pytest.mark.parametrize(("seen_before_s", "health"), [(115, "healthy"), (125, "unknown"), (86_400, "unknown")])
def test_one_whose_node_was_not_seen_by_any_of_the_last_sweeps_is_not_called_healthy(client_of, seen_before_s, health):
    user = UserFactory()
    vm = own_vm(user, node=NodeFactory(last_seen=timezone.now() - timedelta(seconds=seen_before_s)))

    assert client_of(user).get(f"/resources/{vm.id}/status").json()["health"] == health


def test_a_locked_vm_names_its_task_and_allows_nothing(client_of):
    user = UserFactory()
    vm, client = own_vm(user), client_of(user)
    task_id = client.post(f"/resources/{vm.id}/stop").json()["taskId"]

    answer = client.get(f"/resources/{vm.id}/status").json()

    assert (answer["taskId"], answer["allowedActions"]) == (task_id, [])


def test_the_metrics_of_a_vm_with_gpus(client_of):
    user, node = UserFactory(), NodeFactory()
    for number in range(2):
        GpuFactory(node=node, device_id=f"GPU-{number}")
    gpu = {"enabled": True, "mode": "passthrough", "deviceIds": ["GPU-0", "GPU-1"]}

    answer = client_of(user).get(f"/resources/{own_vm(user, node=node, config={'gpuConfig': gpu}).id}/metrics").json()

    metrics = answer["metrics"]
    assert set(metrics) == {"cpu", "memory", "disk", "gpu", "network"}
    assert metrics["cpu"]["cores"] == 2
    assert metrics["memory"]["total"] == 2048
    assert [card["deviceId"] for card in metrics["gpu"]] == ["GPU-0", "GPU-1"]


def test_the_metrics_of_a_vm_that_does_not_run_are_zero(client_of):
    user = UserFactory()

    metrics = client_of(user).get(f"/resources/{own_vm(user, Status.STOPPED).id}/metrics").json()["metrics"]

    assert (metrics["cpu"]["usage"], metrics["memory"]["used"], metrics["gpu"]) == (0, 0, [])


@pytest.mark.parametrize("query", ["range=2h", "from=now"])
def test_the_history_refuses_what_it_does_not_know(client_of, query):
    user = UserFactory()

    assert client_of(user).get(f"/resources/{own_vm(user).id}/metrics/history?{query}").status_code == 400


@pytest.mark.parametrize(
    "query", ["limit=0", "limit=1001", "limit=x", "level=loud", "since=yesterday", "format=xml", "x=1"]
)
def test_the_logs_refuse_what_they_do_not_know(client_of, query):
    user = UserFactory()

    answer = client_of(user).get(f"/resources/{own_vm(user).id}/logs?{query}")

    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (400, query.split("=")[0])


def test_the_logs_can_be_downloaded(client_of):
    user = UserFactory()

    answer = client_of(user).get(f"/resources/{own_vm(user).id}/logs?format=text")

    assert answer["Content-Type"].startswith("text/plain")
    assert "attachment" in answer["Content-Disposition"]


def test_the_console_answers_once_and_stores_no_token(client_of):
    user = UserFactory()
    vm = own_vm(user)

    answer = client_of(user).get(f"/resources/{vm.id}/console")

    document = answer.json()
    assert answer["Cache-Control"] == "no-store"
    assert (document["resourceId"], document["consoleType"]) == (vm.id, "vnc")
    token = document["url"].partition("token=")[2]
    assert f"vm-{vm.id}" in document["url"]
    assert document["viewerUrl"].endswith(f"#token={token}")
    assert ConsoleToken.objects.get().digest != token


@pytest.mark.parametrize("status", [status for status in Status if Action.CONSOLE not in ALLOWED[status]])
def test_there_is_no_console_in_other_statuses(client_of, status):
    user = UserFactory()

    answer = client_of(user).get(f"/resources/{own_vm(user, status).id}/console")

    assert (answer.status_code, answer.json()["code"]) == (409, "action_not_allowed")


def test_there_is_no_console_for_an_operator_who_was_switched_off(client_of):
    operator = OperatorFactory()
    vm = own_vm(UserFactory(), Status.RUNNING)
    client = client_of(operator)
    assert client.get(f"/resources/{vm.id}/console").status_code == 200

    operator.is_active = False
    operator.save()
    answer = client.get(f"/resources/{vm.id}/console")

    assert (answer.status_code, answer.json()["code"]) == (401, "token_not_valid")


def test_there_is_no_console_of_others_for_who_is_no_operator_any_more(client_of):
    operator = OperatorFactory()
    vm = own_vm(UserFactory(), Status.RUNNING)
    client = client_of(operator)

    operator.is_staff = False
    operator.save()

    assert client.get(f"/resources/{vm.id}/console").status_code == 404


def test_there_is_no_console_for_a_viewer(client_of):
    user = UserFactory(role=Role.VIEWER)

    assert client_of(user).get(f"/resources/{own_vm(user).id}/console").status_code == 403


@pytest.mark.parametrize(
    ("query", "field", "code"),
    [
        ("range=1h&range=7d", "range", "repeated"),
        ("range=1h&step=60", "step", "unknown_parameter"),
        ("range=2h", "range", "enum"),
        ("range=", "range", "enum"),
    ],
)
def test_a_history_refuses_wrong_parameters(client_of, query, field, code):
    user = UserFactory()

    answer = client_of(user).get(f"/resources/{own_vm(user).id}/metrics/history?{query}")

    assert answer.status_code == 400
    assert [(fault["field"], fault["code"]) for fault in answer.json()["errors"]] == [(field, code)]
