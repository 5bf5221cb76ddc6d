"""Where a lab keeps its things: below AIWM_LAB, by default var/lab."""

import os
from hashlib import sha256
from pathlib import Path

_HERE = Path(__file__).resolve().parent


def lab_folder() -> Path:
    folder = os.environ.get("AIWM_LAB")
    return Path(folder).resolve() if folder else _HERE.parent / "var/lab"


def cached(stem: str, suffix: str, *sources: Path | str) -> Path:
    """The path of a built file, which is another one when its sources or their texts are. Its folder is made."""
    digest = sha256()
    for source in sources:
        digest.update(source.read_bytes() if isinstance(source, Path) else source.encode())
    path = lab_folder() / "cache" / f"{stem}-{digest.hexdigest()[:12]}{suffix}"
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def keep(built: Path, path: Path) -> None:
    """Put what was built at its cached path, whole or not at all, in place of those of older sources."""
    built.replace(path)
    stem = path.name.rpartition("-")[0]
    for other in path.parent.glob(f"{stem}-*{path.suffix}"):
        if other != path:
            other.unlink()
