"""Results in a folder."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def check_results(folder: Path, settings: Mapping[str, Any]) -> None:
    """Raises ValueError if the folder has a result of other settings: it is not overwritten."""
    file = folder / "result.json"
    if not file.exists():
        return
    old = json.loads(file.read_text())
    if other := {name: old.get(name) for name, value in settings.items() if old.get(name) != value}:
        raise ValueError(
            f"out must be a new folder or one of the same settings, got results with {other} in {str(folder)!r}"
        )
