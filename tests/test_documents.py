"""What the documents say of the project, held against it."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def test_the_readme_names_each_setting():
    settings = set(re.findall(r'env\.\w+\(\s*"([A-Z_]+)"', (ROOT / "aiwm_site/settings.py").read_text()))
    rows = re.findall(r"^\| (`[A-Z_`, ]+) \|", (ROOT / "README.md").read_text(), re.MULTILINE)
    told = {name for row in rows for name in re.findall(r"[A-Z_]+", row)}
    assert len(settings) > 40
    assert settings - told == {"DEBUG"}, "which is no setting of a production"
    assert told <= settings


def test_contributing_tells_where_each_folder_is():
    folders = {path.parent.relative_to(ROOT).parts[0] for path in ROOT.glob("*/*.py")} | {"templates", "docs"}
    told = set(re.findall(r"^(\w+)/ ", (ROOT / "CONTRIBUTING.md").read_text(), re.MULTILINE))
    assert folders <= told
