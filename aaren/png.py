"""Pictures as files."""

import io
from pathlib import Path
from typing import Any

from aaren.extras import require
from aaren.files import write_folder


def new_figure(width: int | float, height: int | float) -> Any:
    """An empty matplotlib figure of so many inches. Raises ImportError if matplotlib is not installed."""
    require("matplotlib.backends.backend_agg", "tasks")
    return require("matplotlib.figure", "tasks").Figure(figsize=(width, height), layout="constrained")


def write_png(figure: Any, path: Path) -> None:
    """Raises OSError if the folder cannot be written."""
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=120)
    write_folder(path.parent, {path.name: content.getvalue()})
