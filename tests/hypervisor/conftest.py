"""Real hypervisors: two nodes for a session. Skipped where there can be none, but never with CI set."""

import os
import sys
from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path

import pytest

from lab import bootsector, guest, packages
from lab.node import Node
from tests.hypervisor.fixtures import backend, here, lab_site, labs, push_images, stubborn_guest
from tests.processes.fixtures import migrated, site_of

__all__ = ["backend", "here", "lab_site", "labs", "migrated", "push_images", "site_of", "stubborn_guest"]

HERE = Path(__file__).parent
# What a node does is the same on every database; these see that its rows are, too, and what becomes of them. Whose a
# task is when workers are killed or sleep, tests/tasks and tests/processes see on each.
ON_EVERY_ENGINE = {"test_failures_records.py"}

if find_spec("libvirt") is None:
    if os.environ.get("CI"):
        raise RuntimeError("libvirt-python is not installed: `make .venv/.libvirt` installs it.")
    collect_ignore_glob = ["test_*.py"]
    sys.stderr.write(
        f"{'!' * 100}\nNOT RUN: {HERE.name}, for want of libvirt-python (`make .venv/.libvirt`)\n{'!' * 100}\n"
    )


def pytest_collection_modifyitems(items):
    for item in items:
        if HERE in item.path.parents and item.path.name not in ON_EVERY_ENGINE:
            item.add_marker(pytest.mark.one_engine)


@pytest.fixture(scope="session")
def lab_packages():
    try:
        packages.install()
    except packages.Unavailable as e:
        if os.environ.get("CI"):
            raise
        pytest.skip(f"NOT TESTED: {e}")


@pytest.fixture(scope="session")
def lab_nodes(lab_packages, tmp_path_factory):
    """Two nodes that run. A test that stops one starts it again, and leaves no domain behind."""
    with ExitStack() as left:
        nodes = [Node(name, tmp_path_factory.mktemp(name), mortal=True) for name in ("lab-a", "lab-b")]
        for node in nodes:
            left.callback(node.remove)
            node.start()
        yield nodes


@pytest.fixture(scope="session")
def boot_sector(lab_packages, tmp_path_factory):
    """A qcow2 whose guest is up at once, and knows of no seed."""
    return bootsector.build(tmp_path_factory.mktemp("images") / "bootsector.qcow2")


@pytest.fixture(scope="session")
def tiny_linux(lab_packages):
    """A qcow2 whose guest believes its seed, shows it at port 80, and is up in seconds. It stays in the lab's cache."""
    return guest.tiny()
