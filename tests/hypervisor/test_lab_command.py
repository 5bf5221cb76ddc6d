"""`python -m lab`, and what the lab says where there can be none."""

import fcntl
import hashlib
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from lab import packages, site
from lab.__main__ import NAMES, main
from lab.node import Node
from lab.places import cached, keep


def lab(folder, command):
    env = {**os.environ, "AIWM_LAB": str(folder)}
    done = subprocess.run([sys.executable, "-m", "lab", command], env=env, capture_output=True, text=True, check=True)
    return done.stdout


def test_up_starts_two_nodes_that_run_until_down(lab_packages, tmp_path):
    try:
        said = lab(tmp_path, "up")
        assert said.count("  running\n") == 2
        assert said.count("qemu+unix:///system?socket=/run/aiwm-lab/") == 2
        assert "(VLAN 100)" in said
        assert lab(tmp_path, "status") == said
        assert lab(tmp_path, "up") == said
    finally:
        lab(tmp_path, "down")
    assert lab(tmp_path, "status") == "".join(f"{name}  off\n" for name in NAMES)
    assert list(tmp_path.iterdir()) == []


def test_it_says_where_there_can_be_no_lab(monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert main(["up"]) == "The lab needs root: it makes namespaces, bridges and virtual machines."


def test_a_built_image_gives_way_when_its_source_is_another(monkeypatch, tmp_path):
    monkeypatch.setenv("AIWM_LAB", str(tmp_path / "lab"))
    source = tmp_path / "source"
    source.write_text("one")
    first = cached("image", ".qcow2", source)
    assert cached("image", ".qcow2", source) == first
    assert first.parent.is_dir()
    first.touch()
    source.write_text("two")
    second = cached("image", ".qcow2", source)
    assert second != first
    built = tmp_path / "built"
    built.touch()
    keep(built, second)
    assert list(first.parent.iterdir()) == [second]


def test_nothing_is_lacking_once_it_is_installed(lab_packages):
    assert packages.missing() == []


def test_it_says_first_that_its_port_is_taken(lab_packages, monkeypatch, tmp_path):
    monkeypatch.setenv("AIWM_LAB", str(tmp_path))
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        said = main(["serve", "--port", str(port)])
    assert said.startswith(f"Port {port} cannot be had: Address already in use.")
    assert f"`make lab PORT={port + 1}`" in said
    assert list(tmp_path.iterdir()) == []


def test_it_names_a_port_that_there_is_not(monkeypatch, tmp_path):
    monkeypatch.setenv("AIWM_LAB", str(tmp_path))
    assert main(["serve", "--port", "70000"]) == "There is no port 70000: they are from 1 to 65535."


def test_ctrl_c_is_no_fault(monkeypatch):
    def interrupted():
        raise KeyboardInterrupt

    monkeypatch.setattr(packages, "install", interrupted)
    assert main(["up"]).startswith("Stopped.")


def test_it_takes_no_site_away_that_is_served(lab_packages, monkeypatch, tmp_path):
    monkeypatch.setenv("AIWM_LAB", str(tmp_path))
    (tmp_path / "site").mkdir()
    with (tmp_path / "site/lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        said = main(["down"])
    assert said == "The lab's site is served by another process. Stop that first, with Ctrl-C."
    assert (tmp_path / "site").exists()
    assert main(["down"]) is None
    assert not (tmp_path / "site").exists()


@pytest.fixture
def images(monkeypatch, tmp_path):
    """The folder of images of a site whose `_do` imports; `imported` is what it has imported."""
    monkeypatch.setenv("AIWM_LAB", str(tmp_path))
    folder = tmp_path / "site/images"
    folder.mkdir(parents=True)
    monkeypatch.setattr(site, "_do", lambda *arguments: keep_image(folder, Path(arguments[3])))
    return folder


def keep_image(folder, file):
    for old in folder.iterdir():
        old.unlink()
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    (folder / f"image-debian-12-{digest[:12]}.qcow2").write_text(file.name)


def kept(folder):
    return [path.read_text() for path in folder.iterdir()]


@pytest.fixture
def files(tmp_path):
    files = [tmp_path / name for name in ("older", "newer", "theirs")]
    for file in files:
        file.write_text(file.name)
    return files


def test_a_start_brings_the_lab_s_image_up_to_date(images, files):
    for file in files[:2]:
        site._keep_image(file)
        assert kept(images) == [file.name]


def test_a_start_keeps_the_image_that_an_operator_has_imported(images, files, capsys):
    older, newer, theirs = files
    site._keep_image(older)
    keep_image(images, theirs)
    for file in (older, newer):
        site._keep_image(file)
    assert kept(images) == ["theirs"]
    assert "debian-12 is an image of your own here, and stays." in capsys.readouterr().out
    for old in images.iterdir():
        old.unlink()
    site._keep_image(newer)
    assert kept(images) == ["newer"]


def test_an_image_of_before_there_was_a_record_is_the_lab_s(images, files):
    keep_image(images, files[0])
    site._keep_image(files[1])
    assert kept(images) == ["newer"]


def test_a_start_that_is_ended_as_it_imports_is_followed_by_one_that_does(images, files, monkeypatch):
    def ended(*_):
        raise KeyboardInterrupt

    site._keep_image(files[0])
    with monkeypatch.context() as patched:
        patched.setattr(site, "_do", ended)
        with pytest.raises(KeyboardInterrupt):
            site._keep_image(files[1])
    assert kept(images) == ["older"]
    site._keep_image(files[1])
    assert kept(images) == ["newer"]


def test_a_site_knows_its_nodes_by_their_hypervisors_and_leaves_lost_ones_alone(monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("AIWM_LAB", str(tmp_path))
    monkeypatch.delenv("VM_BACKEND_OPTIONS", raising=False)  # of the tests' mock
    nodes = [Node(f"lab-{n}", tmp_path / f"lab-{n}") for n in (1, 2)]
    (tmp_path / "site").mkdir()
    site._manage("migrate", "--verbosity=0")
    site._manage("seed_demo", "--verbosity=0")
    assert site._names(nodes) == ["lab-1", "lab-2"]
    change = "from nodes.models import Node; Node.objects.filter(name='lab-1').update(name='alpha'); "
    change += "Node.objects.filter(name='lab-2').update(lost=True)"
    site._manage("shell", "--no-imports", "--command", change)
    capsys.readouterr()
    assert site._names(nodes) == ["alpha"]
    assert capsys.readouterr().out == "lab-2 is marked lost, and left alone.\n"


def test_the_site_of_a_shell_with_a_productions_settings_is_the_labs_own(monkeypatch, tmp_path):
    monkeypatch.setenv("AIWM_LAB", str(tmp_path))
    monkeypatch.setenv("DATABASE_URL_FILE", "/etc/aiwm/database_url")
    monkeypatch.setenv("IMAGES_DIR", "/srv/images")
    monkeypatch.setenv("SSL_REDIRECT", "1")
    monkeypatch.setenv("SECRET_KEY_FILE", "/etc/aiwm/secret_key")
    monkeypatch.setenv("SWEEP_SECONDS", "5")
    environment = site._environment()
    assert environment["DATABASE_URL"] == f"sqlite:///{tmp_path}/site/aiwm.sqlite3"
    assert environment["IMAGES_DIR"] == f"{tmp_path}/site/images"
    assert environment["SWEEP_SECONDS"] == "5"
    assert not {"DATABASE_URL_FILE", "SSL_REDIRECT", "SECRET_KEY_FILE"} & environment.keys()


def test_a_shell_that_reads_its_environment_file_leaves_a_productions_settings(monkeypatch, tmp_path):
    monkeypatch.setenv("AIWM_LAB", str(tmp_path))
    file = tmp_path / "env"
    file.write_text(site._for_shells())
    shell = ["bash", "-c", f"set -a; . {file}; set +a; env -0"]
    theirs = {**os.environ, "SSL_REDIRECT": "1", "SECRET_KEY_FILE": "/etc/aiwm/secret_key", "IMAGES_DIR": "/srv"}
    said = subprocess.run(shell, env=theirs, capture_output=True, text=True, check=True).stdout
    found = dict(line.partition("=")[::2] for line in said.split("\0"))
    assert not {"SSL_REDIRECT", "SECRET_KEY_FILE"} & found.keys()
    assert found["IMAGES_DIR"] == f"{tmp_path}/site/images"
