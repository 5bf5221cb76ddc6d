"""Packed rows into the points of a chart."""

from datetime import UTC, datetime, timedelta

import pytest
import time_machine

from common.errors import ValidationFailed
from resources import metrics
from resources.metrics import Totals
from resources.models import MetricsHour
from tests.resources.rows import vm_row
from vmbackends.base import Metrics

pytestmark = pytest.mark.django_db

NOW = datetime(2025, 12, 3, 12, 5, 30, tzinfo=UTC)
TOTALS = Totals(vcpus=8, ram_mb=1000, disk_gb=200)


@pytest.fixture(autouse=True)
def clock():
    with time_machine.travel(NOW, tick=False) as traveller:
        yield traveller


def store(vm, ago, cpu=10.0, rx=0):
    sample = Metrics(NOW - ago, cpu_usage=cpu, memory_used_mb=500, disk_used_gb=50.0, rx_bytes=rx, tx_bytes=rx // 2)
    metrics.store(vm.id, sample, TOTALS)


@pytest.mark.parametrize(("range_", "step"), [("1h", 60), ("6h", 300), ("24h", 900), ("7d", 3600)])
def test_each_range_has_its_step(range_, step):
    vm = vm_row()

    assert metrics.history(vm, range_) == {"resourceId": vm.id, "step": step, "points": []}


@pytest.mark.parametrize("range_", ["", "2h", "1H", "all"])
def test_it_lists_the_ranges_to_who_asks_for_another(range_):
    with pytest.raises(ValidationFailed, match="Must be one of 1h, 6h, 24h, 7d") as raised:
        metrics.history(vm_row(), range_)
    assert raised.value.errors[0].field == "range"


def test_it_averages_into_steps():
    vm = vm_row(disk_gb=200)
    for minutes, cpu in ((4, 10.0), (3, 20.0), (2, 60.0)):
        store(vm, timedelta(minutes=minutes), cpu=cpu, rx=(10 - minutes) * 6000)

    (point,) = metrics.history(vm, "6h")["points"]

    assert point == {
        "timestamp": "2025-12-03T12:00:00.000Z",
        "cpu": 30.0,
        "memory": 50.0,
        "disk": 25.0,
        "gpu": None,
        "rxRate": 100.0,
        "txRate": 50.0,
    }


def test_points_are_oldest_first_and_within_the_range():
    vm = vm_row()
    for minutes in (200, 61, 59, 30, 0):
        store(vm, timedelta(minutes=minutes))

    points = metrics.history(vm, "1h")["points"]

    assert [point["timestamp"] for point in points] == [
        "2025-12-03T11:06:00.000Z",
        "2025-12-03T11:35:00.000Z",
        "2025-12-03T12:05:00.000Z",
    ]


def test_the_first_step_has_a_rate_from_before_it():
    vm = vm_row()
    store(vm, timedelta(minutes=60), rx=0)
    store(vm, timedelta(minutes=59), rx=6000)

    (point,) = metrics.history(vm, "1h")["points"]

    assert point["rxRate"] == 100.0


def test_a_counter_that_falls_was_restarted():
    vm = vm_row()
    for minutes, rx in ((3, 60_000), (2, 600), (1, 6_600)):
        store(vm, timedelta(minutes=minutes), rx=rx)

    rates = [point["rxRate"] for point in metrics.history(vm, "1h")["points"]]

    assert rates == [None, None, 100.0]


def test_a_gap_has_no_rate():
    vm = vm_row()
    store(vm, timedelta(hours=3), rx=0)
    store(vm, timedelta(minutes=1), rx=6_000)

    points = metrics.history(vm, "24h")["points"]

    assert [point["rxRate"] for point in points] == [None, None]


def test_averaged_rows_keep_their_rates():
    vm = vm_row()
    begin = NOW.replace(minute=0, second=0) - timedelta(hours=40)
    metrics.store_many(
        (vm.id, Metrics(begin + timedelta(minutes=n), cpu_usage=50.0, rx_bytes=n * 6000, tx_bytes=n), TOTALS)
        for n in range(240)
    )

    raw = metrics.history(vm, "7d")["points"]
    metrics.compact()
    assert MetricsHour.objects.filter(averaged=True).count() == 4
    averaged = metrics.history(vm, "7d")["points"]

    assert [point["cpu"] for point in averaged] == [point["cpu"] for point in raw] == [50.0] * 4
    assert [point["rxRate"] for point in averaged] == [point["rxRate"] for point in raw] == [100.0] * 4
    assert averaged[0]["memory"] is None


def test_it_costs_one_query(django_assert_num_queries):
    vm = vm_row()
    store(vm, timedelta(minutes=1))

    with django_assert_num_queries(1):
        metrics.history(vm, "7d")
