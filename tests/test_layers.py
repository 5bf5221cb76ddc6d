"""Each package imports only those below it. The sources are read, not run, so that no import hides in a function."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
# From the top down: each may import those after it.
ORDER = ["aiwm_site", "snapshots", "resources", "nodes", "accounts", "tasks", "common"]
# The bottom: importable from anywhere, importing none of the above.
BOTTOM = "vmbackends"


def imports_of(source: str, package: str) -> Iterator[str]:
    """Every module that this source of a package names in an import, wherever the import stands."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            yield base
            yield from (f"{base}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
            function = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if function in ("import_module", "import_string", "__import__"):
                yield str(node.args[0].value)


def faults_of(source: str, package: str) -> list[str]:
    """What this source, a module of `package` (dotted), imports and must not."""
    top = package.partition(".")[0]
    forbidden = ORDER if top == BOTTOM else ORDER[: ORDER.index(top)]
    faults = []
    for name in imports_of(source, package):
        parts = name.split(".")
        if parts[0] in forbidden:
            faults.append(f"{package} imports {name}")
        if parts[0] in ("libvirt", "libvirt_qemu", "libvirt_lxc", "libvirtaio") and not is_or_below(
            package, "vmbackends.libvirt"
        ):
            faults.append(f"{package} imports {name}")
        if top == BOTTOM and (is_or_below(name, "django.db") or parts[0] == "rest_framework"):
            faults.append(f"{package} imports {name}")
        if parts[0] == "tests":
            faults.append(f"{package} imports {name}")
    return sorted(set(faults))


def is_or_below(name: str, parent: str) -> bool:
    return name == parent or name.startswith(f"{parent}.")


def sources() -> list[Path]:
    return [
        path
        for package in [*ORDER, BOTTOM]
        for path in sorted((ROOT / package).rglob("*.py"))
        if "migrations" not in path.parts
    ]


@pytest.mark.parametrize("path", sources(), ids=lambda path: str(path.relative_to(ROOT)))
def test_it_imports_only_what_is_below(path):
    package = ".".join(path.relative_to(ROOT).parent.parts)
    assert faults_of(path.read_text(encoding="utf-8"), package) == []


def test_it_knows_every_package():
    packages = {path.parent.name for path in ROOT.glob("*/__init__.py")} - {"tests", "bench", "lab"}
    assert packages == {*ORDER, BOTTOM}


@pytest.mark.parametrize(
    ("package", "source"),
    [
        ("common", "import tasks"),
        ("common", "import tasks.models as models"),
        ("tasks", "from accounts.models import User"),
        ("accounts", "from nodes import models"),
        ("nodes", "def later():\n    from resources.models import VirtualMachine"),
        ("nodes", "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import resources.models"),
        ("resources", "try:\n    import snapshots\nexcept ImportError:\n    pass"),
        ("snapshots", "from aiwm_site import errors"),
        ("tasks.management.commands", "from ....accounts import models"),
        ("tasks", "import importlib\nimportlib.import_module('resources.handlers')"),
        ("tasks", "from django.utils.module_loading import import_string\nimport_string('resources.handlers.X')"),
        ("vmbackends", "from common.errors import DomainError"),
        ("vmbackends", "from django.db import models"),
        ("vmbackends", "from django import db"),
        ("vmbackends.libvirt", "import rest_framework.views"),
        ("vmbackends", "import libvirt"),
        ("resources", "import libvirt"),
        ("nodes", "from tests.factories import NodeFactory"),
    ],
)
def test_it_would_see_an_import_that_goes_up(package, source):
    assert faults_of(source, package)


@pytest.mark.parametrize(
    ("package", "source"),
    [
        ("aiwm_site", "from snapshots import urls\nfrom common import ids\nfrom vmbackends import get_backend"),
        ("resources", "from nodes.models import Node\nfrom . import states\nfrom .models import VirtualMachine"),
        ("vmbackends.libvirt", "import libvirt\nfrom ..base import Backend\nfrom django.conf import settings"),
        ("common", "from django.db import models"),
        ("resources", "'import snapshots'  # a text and a comment: from aiwm_site import urls"),
    ],
)
def test_it_lets_imports_go_down(package, source):
    assert faults_of(source, package) == []
