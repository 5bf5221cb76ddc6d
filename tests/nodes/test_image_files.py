"""What is kept of a file, and which is not."""

import hashlib
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from common.errors import Unsupported
from nodes import image_files
from nodes.image_files import taken_in
from tests.nodes.keeping import qcow2_disk, qemu_img, raw_disk, require_qemu_img


@pytest.fixture(autouse=True)
def folder(settings, tmp_path):
    require_qemu_img()
    settings.IMAGES_DIR = tmp_path / "kept" / "images"
    return settings.IMAGES_DIR


def take(source, file_format="qcow2", sha256=None, progress=lambda done: None):
    """The facts, and what was in the file."""
    with taken_in(Path(source), file_format, sha256, progress) as file:
        return file, file.path.read_bytes()


def refusal(*args, **kwargs):
    with pytest.raises(Unsupported) as caught:
        take(*args, **kwargs)
    return caught.value.message


@pytest.fixture
def left(folder):
    """What is left in the folder of images, once the test is over: nothing."""
    yield
    assert not folder.exists() or list(folder.iterdir()) == []


def test_it_copies_a_qcow2_file_as_it_is(tmp_path, folder, left):
    source = qcow2_disk(tmp_path / "disk.qcow2", megabytes=5)
    seen = []
    file, content = take(source, progress=seen.append)
    assert content == source.read_bytes()
    assert file.sha256 == hashlib.sha256(content).hexdigest()
    assert (file.size_bytes, file.virtual_bytes) == (len(content), 5 * 1024**2)
    assert file.path.parent == folder
    assert seen[-1] == len(content)


def test_it_converts_a_raw_disk(tmp_path, left):
    source = raw_disk(tmp_path / "disk.img")
    seen = []
    file, content = take(source, "raw", progress=seen.append)
    assert content.startswith(b"QFI\xfb")
    assert file.virtual_bytes == 3 * 1024**2 == seen[-1]
    (tmp_path / "kept.qcow2").write_bytes(content)
    qemu_img("compare", "-f", "raw", "-F", "qcow2", source, tmp_path / "kept.qcow2")


@pytest.mark.parametrize("file_format", ["qcow2", "raw"])
def test_it_holds_the_file_to_its_checksum(tmp_path, left, file_format):
    source = (qcow2_disk if file_format == "qcow2" else raw_disk)(tmp_path / "disk")
    digest = hashlib.sha256(source.read_bytes()).hexdigest()
    take(source, file_format, digest.upper())
    message = refusal(source, file_format, "0" * 64)
    assert message == f"disk is not the file that was meant: its SHA-256 is {digest}."


def test_it_leaves_what_was_renamed(tmp_path, folder):
    with taken_in(qcow2_disk(tmp_path / "disk.qcow2"), "qcow2", None, lambda done: None) as file:
        file.path.replace(folder / "mine")
    assert [path.name for path in folder.iterdir()] == ["mine"]


def test_a_raw_disk_has_whole_sectors(tmp_path, left):
    source = tmp_path / "disk.img"
    source.write_text("hello\n")
    assert refusal(source, "raw") == "disk.img is no raw disk: that has whole sectors, of 512 bytes each."


def test_what_is_wrong_is_told_of_the_file_and_not_of_its_copy(tmp_path, left):
    source = qcow2_disk(tmp_path / "disk.qcow2", megabytes=5)
    for length in (source.stat().st_size // 2, 100, 30):
        os.truncate(source, length)
        message = refusal(source)
        assert "disk.qcow2" in message
        assert ".part" not in message


# What would have qemu open another file, or is none that a guest starts from


def test_it_removes_what_another_left_that_was_killed(tmp_path, folder):
    folder.mkdir(parents=True)
    old, young, other = (folder / name for name in (".1.part", ".2.part", "old.qcow2"))
    for path in (old, young, other):
        path.touch()
    for path in (old, other):
        os.utime(path, (0, 0))
    take(qcow2_disk(tmp_path / "disk.qcow2"))
    assert sorted(folder.iterdir()) == [young, other]


def test_it_refuses_a_difference_to_another_file(tmp_path, left):
    base, source = qcow2_disk(tmp_path / "base.qcow2"), tmp_path / "disk.qcow2"
    qemu_img("create", "-f", "qcow2", "-b", base, "-F", "qcow2", source)
    assert "disk.qcow2 is the difference to another file" in refusal(source)


def test_it_refuses_a_backing_file_that_is_a_secret_of_this_machine(tmp_path, left):
    source = tmp_path / "disk.qcow2"
    qemu_img("create", "-f", "qcow2", "-u", "-b", "/etc/shadow", "-F", "raw", source, "3M")
    assert "'/etc/shadow'" in refusal(source)


def test_it_refuses_data_in_another_file_before_qemu_looks(tmp_path, left, monkeypatch):
    source = tmp_path / "disk.qcow2"
    qemu_img("create", "-f", "qcow2", "-o", f"data_file={tmp_path / 'data'}", source, "3M")
    monkeypatch.setattr(image_files, "_qemu_img", lambda *args, **kwargs: pytest.fail("qemu looked"))
    assert "keeps its data in another file" in refusal(source)


def test_it_refuses_an_encrypted_one(tmp_path, left):
    source = tmp_path / "disk.qcow2"
    qemu_img("create", "-f", "qcow2", source, "3M")
    with source.open("r+b") as disk:  # its crypt_method; to make a key takes qemu-img long, and fails now and then
        disk.seek(32)
        disk.write((1).to_bytes(4, "big"))
    assert "is encrypted" in refusal(source)


def test_it_refuses_one_that_is_cut_short(tmp_path, left):
    source = qcow2_disk(tmp_path / "disk.qcow2")
    with source.open("r+b") as content:
        content.truncate(1_500_000)
    assert "damaged or cut short" in refusal(source)


def test_it_refuses_an_empty_disk(tmp_path, left):
    source = tmp_path / "disk.qcow2"
    qemu_img("create", "-f", "qcow2", source, "0")
    assert refusal(source) == "disk.qcow2 is empty."


def test_it_refuses_a_header_that_lies(tmp_path, left):
    source = tmp_path / "disk.qcow2"
    source.write_bytes(b"QFI\xfb" + b"\x00" * 100_000)
    assert refusal(source).startswith("qemu-img info: ")


def test_it_never_guesses_a_format(tmp_path, left):
    raw, qcow2 = raw_disk(tmp_path / "raw.img"), qcow2_disk(tmp_path / "disk.qcow2")
    assert "is no qcow2 file. Say --format raw" in refusal(raw)
    assert refusal(qcow2, "raw") == "disk.qcow2 is a qcow2 file. Leave out --format raw."


def test_it_refuses_what_is_no_file(tmp_path, left):
    assert refusal(tmp_path) == f"{tmp_path} is no file."
    assert refusal(tmp_path / "gone") == f"{tmp_path / 'gone'} is no file."


# What goes wrong on this machine


def test_it_says_where_there_is_no_room(tmp_path, left, monkeypatch):
    source = qcow2_disk(tmp_path / "disk.qcow2")
    monkeypatch.setattr(image_files.shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(2, 1, 1))
    assert "has no room for disk.qcow2: 0.0 GB are free." in refusal(source)


def test_it_says_that_the_folder_cannot_be_made(tmp_path, settings):
    source = qcow2_disk(tmp_path / "disk.qcow2")
    settings.IMAGES_DIR = source / "images"
    assert refusal(source) == f"{settings.IMAGES_DIR}: Not a directory."


def test_it_says_that_qemu_img_is_missing(tmp_path, left, monkeypatch):
    source = qcow2_disk(tmp_path / "disk.qcow2")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "qemu-img is not installed here" in refusal(source)


def test_it_waits_no_longer_than_it_must(tmp_path, left, monkeypatch):
    def hang(command, **kwargs):
        raise subprocess.TimeoutExpired(command, kwargs["timeout"])

    source = qcow2_disk(tmp_path / "disk.qcow2")
    monkeypatch.setattr(image_files.subprocess, "run", hang)
    assert refusal(source) == "qemu-img info did not end within 60 s."
