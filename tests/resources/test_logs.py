"""A VM's log, written and read."""

from datetime import UTC, datetime, timedelta

import pytest
import time_machine
from django.http import QueryDict

from common.errors import ValidationFailed
from resources import logs
from resources.logs import LogQuery
from resources.models import LogEntry
from resources.states import Status
from tests.factories import NodeFactory
from tests.resources.rows import STARTED, vm_row
from vmbackends.base import LogLine

pytestmark = pytest.mark.django_db

NOW = STARTED + timedelta(seconds=50)


@pytest.fixture(autouse=True)
def clock():
    with time_machine.travel(NOW, tick=False) as traveller:
        yield traveller


# Writing


def test_it_records_a_line_now():
    vm = vm_row()

    logs.record(vm.id, "info", "VM started successfully")

    entry = LogEntry.objects.get(vm=vm)
    assert (entry.at, entry.level, entry.message) == (NOW, "info", "VM started successfully")


def test_it_records_one_line_whatever_the_message_holds():
    vm = vm_row()

    logs.record(vm.id, "error", "broken\r\n2025 INFO forged\x1b[31m\x00", at=STARTED)
    logs.record(vm.id, "error", "x" * 3000)

    first, second = LogEntry.objects.filter(vm=vm)
    assert (first.at, first.message) == (STARTED, "broken 2025 INFO forged [31m")
    assert len(second.message) == 1000
    assert second.message.endswith("…")


def test_it_records_no_level_of_its_own():
    with pytest.raises(ValueError, match="not 'notice'"):
        logs.record(vm_row().id, "notice", "text")


# Reading


def test_it_merges_what_the_platform_did_with_what_the_guest_says():
    vm = vm_row()
    logs.record(vm.id, "info", "VM started successfully", at=STARTED)

    messages = [line.message for line in logs.read(vm)]

    assert messages[0] == "VM started successfully"
    assert "Network interface eth0 configured with IP 192.168.100.10" in messages
    assert messages[-1] == "SSH service ready"


def test_it_gives_the_newest_oldest_first():
    vm = vm_row(Status.STOPPED)
    logs.record_many(vm.id, [LogLine(NOW - timedelta(seconds=n), "info", f"line {n}") for n in range(10)])

    assert [line.message for line in logs.read(vm, limit=3)] == ["line 2", "line 1", "line 0"]


def test_lines_of_one_moment_stay_in_the_order_of_writing():
    vm = vm_row(Status.STOPPED)
    for n in range(5):
        logs.record(vm.id, "info", f"line {n}")

    assert [line.message for line in logs.read(vm)] == [f"line {n}" for n in range(5)]


def test_it_reads_one_level_and_since():
    vm = vm_row()
    logs.record(vm.id, "error", "old", at=STARTED - timedelta(days=1))
    logs.record(vm.id, "error", "new", at=STARTED)
    logs.record(vm.id, "info", "other", at=STARTED)

    assert [line.message for line in logs.read(vm, level="error")] == ["old", "new"]
    assert [line.message for line in logs.read(vm, level="error", since=STARTED)] == ["new"]
    assert [line.message for line in logs.read(vm, since=STARTED + timedelta(seconds=20))] == ["SSH service ready"]


@pytest.mark.parametrize("status", [Status.QUEUED, Status.STOPPED, Status.FAILED])
def test_a_guest_that_does_not_run_says_nothing(status):
    assert logs.read(vm_row(status)) == []


def test_a_node_out_of_reach_leaves_what_the_platform_did():
    vm = vm_row(node=NodeFactory(name="worker-03"))
    logs.record(vm.id, "info", "VM started successfully")

    assert [line.message for line in logs.read(vm)] == ["VM started successfully"]


def test_it_reads_no_other_vms_lines():
    vm, other = vm_row(Status.STOPPED), vm_row(Status.STOPPED)
    logs.record(other.id, "info", "not yours")

    assert logs.read(vm) == []


# The query string


def test_it_has_defaults():
    assert logs.parse_query({}) == LogQuery(limit=100, level=None, since=None, format="json")


def test_it_parses_all():
    query = logs.parse_query(QueryDict("limit=1000&level=warning&since=2025-12-03T11:05:00.000%2B01:00&format=text"))

    assert query == LogQuery(1000, "warning", datetime(2025, 12, 3, 10, 5, tzinfo=UTC), "text")


@pytest.mark.parametrize("text", ["2025-12-03T10:05:00.000Z", "2025-12-03T10:05:00", "2025-12-03T10:05"])
def test_a_time_without_a_zone_is_utc(text):
    assert logs.parse_query({"since": text}).since == STARTED


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("limit", "0"), ("limit", "1001"), ("limit", "-1"), ("limit", "ten"), ("limit", ""), ("limit", "1.5"),
        ("limit", "٣"), ("limit", "9" * 5000), ("level", "notice"), ("level", ""), ("level", "INFO"),
        ("since", "yesterday"), ("since", ""), ("since", "2025-13-01"), ("since", "0001-01-01T00:00:00+23:00"),
        ("format", "xml"), ("format", ""), ("offset", "3"),
    ],
)  # fmt: skip
def test_it_refuses_what_it_does_not_know(name, value):
    with pytest.raises(ValidationFailed) as raised:
        logs.parse_query({name: value})

    assert [error.field for error in raised.value.errors] == [name]


def test_it_names_every_fault_at_once():
    with pytest.raises(ValidationFailed) as raised:
        logs.parse_query(QueryDict("limit=0&level=x&since=y&format=z&page=2&limit=5"))

    assert {error.field for error in raised.value.errors} == {"limit", "level", "since", "format", "page"}


# Showing


def test_it_shows_lines_as_the_api_does():
    vm = vm_row()
    lines = [LogLine(STARTED, "info", "VM started successfully"), LogLine(STARTED, "warning", "Hot")]

    assert logs.as_document(vm, lines[:1]) == {
        "resourceId": vm.id,
        "logs": [{"timestamp": "2025-12-03T10:05:00.000Z", "level": "info", "message": "VM started successfully"}],
    }
    assert logs.as_text(lines) == (
        "2025-12-03T10:05:00.000Z INFO  VM started successfully\n2025-12-03T10:05:00.000Z WARNING Hot\n"
    )
    assert logs.as_text([]) == ""


# Periodic


def test_it_purges_what_is_old(settings, monkeypatch):
    settings.LOG_DAYS = 30
    monkeypatch.setattr(logs, "_SOME", 2)
    vm = vm_row(Status.STOPPED)
    logs.record_many(vm.id, [LogLine(NOW - timedelta(days=days), "info", str(days)) for days in (29, 31, 32, 33)])

    logs.purge()

    assert [entry.message for entry in LogEntry.objects.all()] == ["29"]
