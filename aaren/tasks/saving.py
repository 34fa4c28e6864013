"""A fitted estimator as a folder: weights in safetensors, the rest in JSON, never pickle."""

import json
from collections.abc import Mapping
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from aaren.files import write_folder
from aaren.tensor_files import read_tensors, to_bytes


def save_model(folder: str | Path, kind: str, config: Mapping[str, Any], weights: Mapping[str, Tensor]) -> None:
    """Writes `model.safetensors` and `config.json`; neither unless both could be written. Raises OSError."""
    text = json.dumps({**config, "kind": kind}, indent=2, default=plain)
    contents = {"model.safetensors": to_bytes(kind, weights, {"config": text}), "config.json": text.encode()}
    write_folder(folder, contents)


def load_model(folder: str | Path, kind: str) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Configuration and weights that `save_model` wrote.

    Raises:
        FileNotFoundError: there are none.
        ValueError: the files are damaged, of two models, or of another kind.
    """
    folder = Path(folder)
    if (folder / "model" / "model.safetensors").exists():
        raise FileNotFoundError(
            f"folder must hold model.safetensors, got {str(folder)!r}; try {str(folder / 'model')!r}"
        )
    tensors, metadata = read_tensors(folder / "model.safetensors", kind)
    try:
        config = json.loads((folder / "config.json").read_text())
    except ValueError:
        raise ValueError(f"{str(folder / 'config.json')!r} must be JSON, got something else") from None
    if config != json.loads(metadata["config"]):
        raise ValueError(f"config.json and model.safetensors in {str(folder)!r} must belong together, got two models")
    return config, tensors


def kind_of(folder: str | Path) -> str:
    """What `save_model` was told that a folder holds; "" if that cannot be read."""
    try:
        return str(json.loads((Path(folder) / "config.json").read_text())["kind"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def plain(value: Any) -> Any:
    """A number, array, path or settings, such as a grid search or a user gives, as JSON knows it."""
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    return asdict(value) if is_dataclass(value) and not isinstance(value, type) else str(value)
