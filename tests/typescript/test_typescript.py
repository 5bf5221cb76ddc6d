"""Types for TypeScript are generated from the OpenAPI document, and a frontend's code compiles against them."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
PROGRAMS = Path(sys.executable).parent

pytestmark = [pytest.mark.processes, pytest.mark.one_engine]


def run(folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    """Node is that of the virtual environment."""
    environment = {**os.environ, "PATH": f"{PROGRAMS}:{os.environ['PATH']}"}
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300, check=False
    )


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of this folder with its packages, and the types of the API as it is."""
    from aiwm_site.schema import CachedGenerator

    folder = tmp_path_factory.mktemp("typescript")
    for name in ("package.json", "package-lock.json", ".npmrc", "tsconfig.json", "guide.tsx", "shapes.ts"):
        shutil.copy(HERE / name, folder)
    installed = run(folder, "npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts")
    assert installed.returncode == 0, installed.stderr
    (folder / "openapi.json").write_text(json.dumps(CachedGenerator().get_schema(public=True), default=str))
    (folder / "generated").mkdir()
    generated = run(folder, "npx", "openapi-typescript", "openapi.json", "--output", "generated/api.d.ts")
    assert generated.returncode == 0, generated.stderr
    return folder


def test_a_frontends_code_compiles(project: Path) -> None:
    compiled = run(project, "npx", "tsc", "--noEmit", "--project", ".")
    assert compiled.returncode == 0, compiled.stdout


def test_it_would_be_seen_if_the_types_were_others(project: Path) -> None:
    types = project / "generated" / "api.d.ts"
    right = types.read_text()
    types.write_text(right.replace("errorMessage?: string", "errorText?: string"))
    try:
        compiled = run(project, "npx", "tsc", "--noEmit", "--project", ".")
    finally:
        types.write_text(right)
    assert compiled.returncode != 0
    assert "errorMessage" in compiled.stdout
