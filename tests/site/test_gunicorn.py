"""How gunicorn serves the site."""

import runpy
from pathlib import Path

from gunicorn.config import Config  # type: ignore[import-untyped]

CONFIG = Path(__file__).parents[2] / "gunicorn.conf.py"


def test_it_knows_all_of_its_settings(monkeypatch, tmp_path):
    """One that it does not know it passes over without a word."""
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path))
    said = runpy.run_path(str(CONFIG))
    own = {name for name, value in said.items() if not name.startswith("_") and name.islower()}
    imported = {"os", "shutil", "tempfile", "count"}
    assert own - imported - set(Config().settings) == set()
    assert said["control_socket_disable"] is True
