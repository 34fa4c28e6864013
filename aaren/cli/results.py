"""Results and checkpoints in a folder."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def check_results(folder: Path, settings: Mapping[str, Any]) -> None:
    """Raises ValueError if the folder has a result of other settings, or one that cannot be read: it is not
    overwritten."""
    file = folder / "result.json"
    if not file.exists():
        return
    try:
        old = json.loads(file.read_text())
    except ValueError:
        old = None
    if not isinstance(old, dict):
        raise ValueError(f"{str(file)!r} must be a result of this command, got something else; choose another folder")
    if other := {name: old.get(name) for name, value in settings.items() if old.get(name) != value}:
        raise ValueError(
            f"out must be a new folder or one of the same settings, got results with {other} in {str(folder)!r}"
        )


def checkpoint(folder: Path) -> Path:
    """Where an interrupted run is kept: each version of the code goes on from its own only."""
    from aaren.bench import commit

    return folder / f"checkpoint-{commit()}.safetensors"


def remove_checkpoints(folder: Path) -> None:
    """Removes those of all versions."""
    for file in folder.glob("checkpoint-*.safetensors"):
        file.unlink()
