"""Lines of a serial console and their times."""

from datetime import UTC, datetime, timedelta

import pytest

pytest.importorskip("libvirt")

from vmbackends.libvirt import console
from vmbackends.libvirt.console import has_finished, is_done, parse, read_lines, read_tail

BOOT = datetime(2025, 12, 3, 12, tzinfo=UTC)
START = b"\n=== AIWM: power on at 2025-12-03T12:00:00+00:00 ===\n"


def lines(content):
    return [((line.timestamp - BOOT).total_seconds(), line.message) for line in parse(content)]


def test_a_line_is_as_old_as_the_kernels_stamp_on_it_or_on_the_one_before():
    content = START + b"SeaBIOS\r\n[    0.500000] Linux\r\n[    2.250000] eth0: up\r\nlogin: \r\n"
    assert lines(content) == [
        (0, "Power on"), (0, "SeaBIOS"), (0.5, "[ 0.500000] Linux".replace("[ 0", "[    0")),
        (2.25, "[    2.250000] eth0: up"), (2.25, "login:"),
    ]  # fmt: skip


def test_each_boot_counts_from_its_own_start():
    later = START.replace(b"12:00:00", b"13:00:00")
    content = START + b"[    9.000000] first\n" + later + b"[    1.000000] second\n"
    assert [at for at, _ in lines(content)] == [0, 9, 3600, 3601]


def test_what_comes_before_any_start_has_no_time_and_is_left_out():
    assert lines(b"an older boot, cut off\n" + START + b"here\n") == [(0, "Power on"), (0, "here")]


def test_it_takes_no_terminals_commands_for_text():
    assert lines(START + b"\x1b[0;32m  OK  \x1b[0m Started\x07 ssh\n\x1b]0;title\x07\n\xff\xfe\n")[1:] == [
        (0, "OK   Started ssh"), (0, "\ufffd\ufffd")
    ]  # fmt: skip


@pytest.mark.parametrize("moment", [b"2025-12-03T12:00:00", b"yesterday-at-noon", b"2025-13-40T99:00:00+00:00"])
def test_a_start_that_a_guest_has_made_up_is_none(moment):
    assert lines(b"=== AIWM: power on at " + moment + b" ===\nforged\n") == []


def test_a_stamp_goes_never_back():
    content = START + b"[    5.000000] five\n[    1.000000] a second kernel\n"
    assert [at for at, _ in lines(content)] == [0, 5, 5]


@pytest.mark.parametrize(
    ("boot", "done"),
    [
        (b"Cloud-init v. 22.4.2 finished at Wed, 03 Dec 2025 12:00:20 +0000. Datasource DataSourceNoCloud\n", True),
        (b"Cloud-init v. 22.4.2 running 'modules:final' at Wed\n", False),
        (b"", False),
    ],
)
def test_cloud_inits_last_word_says_that_it_is_done(boot, done):
    assert is_done(boot) is done


def test_stamps_of_a_long_uptime_are_read():
    (*_, last) = parse(START + b"[9999999.123456] still here\n")
    assert last.timestamp == BOOT + timedelta(seconds=9_999_999.123456)


def test_what_a_guest_makes_up_stops_nobody_from_reading():
    assert lines(b"no start in all of what was read\n" * 3) == []
    assert lines(b"=== AIWM: power on at 9999-12-31T23:59:59+00:00 ===\nx\n") == []
    (*_, last) = parse(START + b"[999999999.0] beyond all calendars\n")
    assert last.timestamp.year < 2200


# Of a guest that writes more than is read at once

DONE = b"Cloud-init v. 22.4.2 finished at Wed, 03 Dec 2025 12:00:20 +0000. Datasource DataSourceNoCloud\n"
MUCH = b"[   99.000000] out of memory\n" * 10_000
FILE = (None, None, "vm-console.log")


@pytest.fixture
def file(monkeypatch):
    """A console's file on its node, and how many bytes of it have been read."""

    class File:
        content = b""
        read = 0

    def download(connection, file, offset, most):
        part = file.content[offset : offset + most]
        file.read += len(part)
        return part

    monkeypatch.setattr(console, "find", lambda pool, name: File)
    monkeypatch.setattr(console, "size", lambda file: len(file.content))
    monkeypatch.setattr(console, "download", download)
    return File


def test_without_a_start_lines_count_from_when_the_guest_was_started(file):
    file.content = START + MUCH + b"login:\n"
    tail = read_tail(*FILE, BOOT, None, 2)
    assert [line.message for line in tail.lines] == ["[   99.000000] out of memory", "login:"]
    assert {line.timestamp for line in tail.lines} == {BOOT + timedelta(seconds=99)}
    assert (tail.size_bytes, tail.dated) == (len(file.content), False)
    assert read_lines(*FILE, BOOT, None, 2) == list(tail.lines)
    assert read_lines(*FILE, BOOT, BOOT + timedelta(seconds=100), 2) == []


def test_a_line_that_was_cut_off_at_its_beginning_is_left_out(file):
    file.content = START + MUCH
    assert {line.message for line in read_tail(*FILE, BOOT, None, 10_000).lines} == {"[   99.000000] out of memory"}


def test_a_file_that_virtlogd_began_anew_is_read_from_its_beginning(file):
    file.content = b"one\ntwo\n"
    tail = read_tail(*FILE, BOOT, None, 10)
    assert ([line.message for line in tail.lines], tail.dated) == (["one", "two"], False)


def test_one_that_says_when_it_was_started_is_dated(file):
    file.content = START + b"one\n"
    tail = read_tail(*FILE, BOOT - timedelta(days=1), None, 10)
    assert (tail.dated, tail.lines[0].timestamp) == (True, BOOT)
    assert read_tail(*FILE, BOOT, len(file.content), 10) is None


@pytest.mark.parametrize(
    ("content", "done"),
    [
        (START + DONE, True),
        (START + MUCH + DONE, True),
        (START + DONE + MUCH, True),
        (DONE + MUCH, True),  # begun anew since
        (START + MUCH, False),
        (START + DONE + START + MUCH, False),
        (START + DONE + MUCH + START, False),
    ],
)
def test_a_guest_that_writes_much_is_seen_to_have_booted(file, content, done):
    file.content = content
    assert has_finished(*FILE) is done


def test_no_more_is_read_than_tells(file):
    file.content = START + MUCH + DONE
    assert has_finished(*FILE)
    assert file.read < len(MUCH)


def test_one_that_grows_while_it_is_read_is_not_followed(file, monkeypatch):
    file.content = START + MUCH * 10
    monkeypatch.setattr(console, "size", lambda file: len(START))

    assert read_tail(*FILE, BOOT, None, 2).size_bytes == len(START)
    assert file.read == 256 * 1024
