"""What a VM uses now, and what is stored of it."""

import logging
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
import time_machine

from resources import metrics
from resources.metrics import Totals
from resources.models import MetricsHour
from resources.states import Status
from tests.factories import GpuFactory, NodeFactory
from tests.resources.rows import STARTED, config_of, vm_row
from vmbackends import get_backend
from vmbackends.base import GpuMetrics, Metrics
from vmbackends.mock import MockBackend

pytestmark = pytest.mark.django_db

NOW = datetime(2025, 12, 3, 12, 5, tzinfo=UTC)
TOTALS = Totals(vcpus=8, ram_mb=32_768, disk_gb=100)
SAMPLE = Metrics(NOW, cpu_usage=45.23, memory_used_mb=24_576, disk_used_gb=45.0, rx_bytes=1_048_576_000, tx_bytes=7)
FAR = {"BACKEND": "tests.resources.test_metrics.FarBackend"}


class FarBackend(MockBackend):
    """One that only workers may ask, as libvirt's is."""

    def __init__(self, **options):
        super().__init__(**options)
        self.capabilities = replace(self.capabilities, local_reads=False)


@pytest.fixture(autouse=True)
def clock():
    with time_machine.travel(NOW, tick=False) as traveller:
        yield traveller


# Now


def test_it_gives_the_body_of_a_running_vm():
    vm = vm_row()

    document = metrics.current(vm)

    assert set(document) == {"resourceId", "timestamp", "metrics"}
    assert document["resourceId"] == vm.id
    assert document["timestamp"] == "2025-12-03T12:05:00.000Z"
    shown = document["metrics"]
    assert set(shown) == {"cpu", "memory", "disk", "gpu", "network"}
    assert shown["cpu"]["cores"] == 8
    assert 0 < shown["cpu"]["usage"] <= 100
    assert shown["memory"]["total"] == 32_768
    assert shown["memory"]["usagePercent"] == round(100 * shown["memory"]["used"] / 32_768, 1)
    assert shown["disk"]["total"] == 100
    assert shown["gpu"] == []
    assert shown["network"]["rxBytes"] > 0


def test_it_shows_a_sample_as_the_api_does():
    gpus = (GpuMetrics("GPU-0", 82.54, 12_288, 16_384, 68),)

    assert metrics.sample_document(replace(SAMPLE, gpus=gpus), TOTALS) == {
        "timestamp": "2025-12-03T12:05:00.000Z",
        "metrics": {
            "cpu": {"usage": 45.2, "cores": 8},
            "memory": {"used": 24_576, "total": 32_768, "usagePercent": 75.0},
            "disk": {"used": 45, "total": 100, "usagePercent": 45.0},
            "gpu": [
                {
                    "deviceId": "GPU-0",
                    "utilization": 82.5,
                    "memoryUsed": 12_288,
                    "memoryTotal": 16_384,
                    "temperature": 68,
                }
            ],
            "network": {"rxBytes": 1_048_576_000, "txBytes": 7},
        },
    }


def test_what_is_not_known_is_absent_with_a_reason():
    sample = Metrics(NOW, cpu_usage=1.0, unavailable={"memory": "The guest has no balloon driver."})

    document = metrics.sample_document(sample, TOTALS)

    assert document["metrics"] == {
        "cpu": {"usage": 1.0, "cores": 8},
        "memory": {"total": 32_768},
        "disk": {"total": 100},
        "gpu": [],
    }
    assert document["unavailable"] == {
        "memory": "The guest has no balloon driver.",
        "disk": "The node does not tell.",
        "network": "The node does not tell.",
    }


@pytest.mark.parametrize("status", [Status.QUEUED, Status.FAILED])
def test_a_vm_that_was_never_deployed_has_zeros(status):
    document = metrics.current(vm_row(status))

    assert "unavailable" not in document
    assert document["metrics"] == {
        "cpu": {"usage": 0.0, "cores": 8},
        "memory": {"used": 0, "total": 32_768, "usagePercent": 0.0},
        "disk": {"used": 0, "total": 100, "usagePercent": 0.0},
        "gpu": [],
        "network": {"rxBytes": 0, "txBytes": 0},
    }


@pytest.mark.parametrize("status", [Status.STOPPED, Status.ERROR, Status.DEPLOYING, Status.STOPPING])
def test_a_vm_that_does_not_run_has_zeros_and_its_last_known_disk(status):
    vm = vm_row(status)
    metrics.store(vm.id, replace(SAMPLE, timestamp=NOW - timedelta(days=3)), TOTALS)

    shown = metrics.current(vm)["metrics"]

    assert shown["cpu"]["usage"] == 0
    assert shown["memory"]["used"] == 0
    assert shown["network"] == {"rxBytes": 0, "txBytes": 0}
    assert shown["disk"] == {"used": 45, "total": 100, "usagePercent": 45.0}


def test_a_vm_stopped_before_its_first_sample_shows_the_disk_that_it_showed_running():
    vm = vm_row()
    before = metrics.current(vm)["metrics"]["disk"]
    vm.status = Status.STOPPED

    assert metrics.current(vm)["metrics"]["disk"] == before


def test_a_gpu_of_a_stopped_vm_has_zeros():
    node = NodeFactory()
    GpuFactory(node=node, device_id="GPU-0")
    GpuFactory(node=node, device_id="GPU-1")
    vm = vm_row(Status.STOPPED, node=node, allocated_gpu=["GPU-0", "GPU-1:1g.5gb:3"])

    gpus = metrics.current(vm)["metrics"]["gpu"]

    assert [(gpu["deviceId"], gpu["memoryTotal"]) for gpu in gpus] == [("GPU-0", 40_960), ("GPU-1:1g.5gb:3", 5_120)]
    assert all(gpu["utilization"] == gpu["memoryUsed"] == gpu["temperature"] == 0 for gpu in gpus)


def test_a_running_vm_shows_each_gpu():
    node = NodeFactory()
    GpuFactory(node=node, device_id="GPU-0")
    vm = vm_row(node=node, allocated_gpu=["GPU-0"])

    (gpu,) = metrics.current(vm)["metrics"]["gpu"]

    assert gpu["deviceId"] == "GPU-0"
    assert gpu["memoryTotal"] == 40_960


def test_a_vm_on_a_node_out_of_reach_is_not_known():
    vm = vm_row(node=NodeFactory(name="worker-03", online=False))

    document = metrics.current(vm)

    assert document["unavailable"]["cpu"] == "worker-03 cannot be reached now."
    assert document["metrics"] == {"cpu": {"cores": 8}, "memory": {"total": 32_768}, "disk": {"total": 100}, "gpu": []}


def test_an_error_for_its_nodes_absence_is_not_known():
    vm = vm_row(Status.ERROR, error_reason="node_absent", error_message="Not known whether it runs")

    assert metrics.current(vm)["unavailable"]["memory"] == "Not known whether it runs"


def test_a_guest_that_is_paused_uses_nothing():
    document = metrics.current(vm_row(Status.ERROR, error_reason="guest_paused", error_message="Paused by hand"))

    assert document["metrics"]["cpu"]["usage"] == 0


def test_it_shows_the_last_sample_where_only_workers_may_ask(settings):
    settings.VM_BACKEND = FAR
    vm = vm_row()
    assert metrics.current(vm)["unavailable"]["cpu"] == "No sample has been taken yet. Ask again in a minute."

    metrics.store(vm.id, replace(SAMPLE, timestamp=NOW - timedelta(seconds=90)), TOTALS)

    document = metrics.current(vm)
    assert document["timestamp"] == "2025-12-03T12:03:30.000Z"
    assert document["metrics"]["cpu"]["usage"] == 45.2


def test_a_sample_of_an_earlier_run_or_of_long_ago_is_not_shown_as_now(settings):
    settings.VM_BACKEND = FAR
    old = vm_row()
    metrics.store(old.id, replace(SAMPLE, timestamp=NOW - timedelta(minutes=10)), TOTALS)
    restarted = vm_row(started_at=NOW - timedelta(seconds=30))
    metrics.store(restarted.id, replace(SAMPLE, timestamp=NOW - timedelta(seconds=60)), TOTALS)

    assert "unavailable" in metrics.current(old)
    assert "unavailable" in metrics.current(restarted)


def test_gpus_that_cannot_be_known_are_absent(settings):
    settings.VM_BACKEND = FAR
    node = NodeFactory()
    GpuFactory(node=node, device_id="GPU-0")

    document = metrics.current(vm_row(node=node, allocated_gpu=["GPU-0"]))

    assert "gpu" not in document["metrics"]
    assert document["unavailable"]["gpu"] == "No sample has been taken yet. Ask again in a minute."


def test_a_disk_that_was_never_measured_is_not_known(settings):
    settings.VM_BACKEND = FAR

    document = metrics.current(vm_row(Status.STOPPED))

    assert document["metrics"]["disk"] == {"total": 100}
    assert document["unavailable"] == {"disk": "It was never measured while it ran."}


# Storing


def test_it_packs_an_hour_into_one_row(django_assert_max_num_queries):
    vm = vm_row()
    begin = datetime(2025, 12, 3, 11, tzinfo=UTC)

    with django_assert_max_num_queries(6):
        metrics.store_many(
            (vm.id, replace(SAMPLE, timestamp=begin + timedelta(minutes=minute)), TOTALS) for minute in range(90)
        )

    first, second = MetricsHour.objects.filter(vm=vm)
    assert (first.hour, len(first.points), len(second.points)) == (begin, 60, 30)
    assert first.points[1] == [60, 45.23, 75.0, 45.0, None, 1_048_576_000, 7]
    assert second.latest["timestamp"] == "2025-12-03T12:29:00.000Z"


def test_a_minute_has_one_point_and_order_does_not_matter():
    vm = vm_row()
    for second, usage in ((130, 3.0), (0, 1.0), (10, 2.0)):
        metrics.store(vm.id, replace(SAMPLE, timestamp=NOW + timedelta(seconds=second), cpu_usage=usage), TOTALS)

    row = MetricsHour.objects.get(vm=vm)

    assert [point[:2] for point in row.points] == [[310, 2.0], [430, 3.0]]
    assert row.latest["metrics"]["cpu"]["usage"] == 3.0


def test_the_gpu_of_a_point_is_the_mean_of_all():
    vm = vm_row()
    gpus = (GpuMetrics("GPU-0", 80, 1, 2, 60), GpuMetrics("GPU-1", 40, 1, 2, 60))

    metrics.store(vm.id, replace(SAMPLE, gpus=gpus), TOTALS)

    assert MetricsHour.objects.get().points[0][4] == 60.0


# Periodic


def test_it_samples_all_that_runs_in_one_call_a_node(monkeypatch):
    node, other = NodeFactory(), NodeFactory()
    running = [vm_row(node=node), vm_row(node=node), vm_row(node=other)]
    vm_row(Status.STOPPED, node=node)
    vm_row(node=NodeFactory(online=False))
    NodeFactory()  # with nothing on it
    asked = []
    real = MockBackend.metrics
    monkeypatch.setattr(MockBackend, "metrics", lambda self, ref, vms: asked.append(ref.id) or real(self, ref, vms))

    metrics.sample_all()

    assert sorted(asked) == sorted([node.id, other.id])
    assert set(MetricsHour.objects.values_list("vm_id", flat=True)) == {vm.id for vm in running}


def test_it_passes_over_a_node_that_does_not_answer(caplog):
    vm_row(node=NodeFactory(name="worker-03"))
    other = vm_row()

    with caplog.at_level(logging.WARNING):
        metrics.sample_all()

    assert [row.vm_id for row in MetricsHour.objects.all()] == [other.id]
    assert any(record.node == "worker-03" for record in caplog.records if hasattr(record, "node"))


def test_a_backend_may_know_of_none(monkeypatch):
    vm = vm_row()
    monkeypatch.setattr(MockBackend, "metrics", lambda self, ref, vms: {})

    metrics.sample_all()

    assert not MetricsHour.objects.exists()
    assert "unavailable" in metrics.current(vm)


def test_what_is_older_than_a_day_is_averaged_to_quarters(monkeypatch):
    monkeypatch.setattr(metrics, "_AT_ONCE", 1)
    vm = vm_row()
    begin = datetime(2025, 12, 2, 10, tzinfo=UTC)
    metrics.store_many(
        (
            vm.id,
            replace(SAMPLE, timestamp=begin + timedelta(minutes=n), cpu_usage=float(n % 15), rx_bytes=n * 1000),
            TOTALS,
        )
        for n in range(120)
    )
    metrics.store(vm.id, SAMPLE, TOTALS)

    metrics.compact()

    first, second, now = MetricsHour.objects.filter(vm=vm)
    assert [row.averaged for row in (first, second, now)] == [True, True, False]
    assert [point[:2] for point in first.points] == [[840, 7.0], [1740, 7.0], [2640, 7.0], [3540, 7.0]]
    assert [point[5] for point in first.points] == [14_000, 29_000, 44_000, 59_000]
    assert first.latest is not None
    metrics.compact()
    assert MetricsHour.objects.get(pk=first.pk).points == first.points


def test_what_is_older_than_a_month_goes_but_a_vms_last_row():
    stopped, running, deleted = vm_row(Status.STOPPED), vm_row(), vm_row(Status.STOPPED, deleted_at=NOW)
    old = NOW - timedelta(days=40)
    for vm in (stopped, running, deleted):
        for hours in (0, 1, 2):
            metrics.store(vm.id, replace(SAMPLE, timestamp=old + timedelta(hours=hours)), TOTALS)
    metrics.store(running.id, SAMPLE, TOTALS)

    metrics.compact()

    kept = sorted(MetricsHour.objects.values_list("vm_id", "hour"))
    assert kept == sorted(
        [
            (stopped.id, (old + timedelta(hours=2)).replace(minute=0)),
            (running.id, NOW.replace(minute=0)),
        ]
    )


def test_the_mock_fills_a_history_for_demonstrations():
    vm = vm_row(config=config_of(vcpus=2))
    backend = get_backend()
    assert isinstance(backend, MockBackend)

    metrics.sample_all()

    point = MetricsHour.objects.get(vm=vm).points[0]
    assert point[0] == 300
    assert STARTED < NOW
    assert all(value is not None for value in (*point[1:4], *point[5:]))
