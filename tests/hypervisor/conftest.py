"""Real hypervisors: two nodes for a session. Skipped where there can be none, but never with CI set."""

import os
from contextlib import ExitStack
from pathlib import Path

import pytest

from lab import bootsector, guest, packages
from lab.node import Node
from tests.hypervisor.fixtures import here, lab_site, labs, push_images, stubborn_guest
from tests.processes.fixtures import migrated, site_of

__all__ = ["here", "lab_site", "labs", "migrated", "push_images", "site_of", "stubborn_guest"]

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items):
    """One process at a time runs them: they measure in seconds what guests do, on a machine with few cores."""
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.hypervisor)
            item.add_marker(pytest.mark.xdist_group("hypervisor"))


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
