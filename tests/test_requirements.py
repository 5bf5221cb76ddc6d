"""What is pinned can be installed where the README says that all this runs: with Debian 12's Python, 3.11.2."""

import re
from importlib import metadata
from pathlib import Path

import pytest
from packaging.specifiers import SpecifierSet

ROOT = Path(__file__).resolve().parent.parent
OLDEST = "3.11.2"


@pytest.mark.parametrize("lock", sorted(ROOT.glob("requirements*.txt")), ids=lambda lock: lock.name)
def test_each_takes_the_oldest_python(lock):
    pins = re.findall(r"^([\w.-]+)==([^\s;]+)", lock.read_text(), re.MULTILINE)
    assert pins
    newer = {name: wants for name, version in pins if not SpecifierSet(wants := wanted(name, version)).contains(OLDEST)}
    assert newer == {}, f"Keep them lower in pyproject.toml: {newer}"


def wanted(name: str, version: str) -> str:
    """The versions of Python that a package says it takes. One that is not installed here has no say."""
    try:
        package = metadata.distribution(name)
    except metadata.PackageNotFoundError:
        return ""
    assert package.version == version, f"{name} is installed as {package.version}: run make install-dev"
    return package.metadata.get("Requires-Python") or ""
