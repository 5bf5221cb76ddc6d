"""libvirt's own schemas, against which what we build is held."""

import os
from functools import cache
from pathlib import Path

import pytest
from lxml import etree

FOLDER = Path("/usr/share/libvirt/schemas")


@cache
def _schema(name: str) -> etree.RelaxNG:
    return etree.RelaxNG(etree.parse(FOLDER / f"{name}.rng"))


def faults_of(xml: str, schema: str) -> list[str]:
    """What libvirt's schema of this name says against it. Skips where libvirt is not installed, but never in CI."""
    if not FOLDER.is_dir():
        message = f"{FOLDER} is missing: install libvirt-daemon or libvirt0 to hold XML against libvirt's schemas"
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)
    relaxng = _schema(schema)
    relaxng.validate(etree.fromstring(xml))
    return [str(entry) for entry in relaxng.error_log]
