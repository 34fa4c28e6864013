"""Writes a model in a format of small devices, after checking that it does what the model does."""

import re
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from aaren.export.c_library import CLibrary
from aaren.export.c_source import c_source
from aaren.export.check import Push, check_same
from aaren.export.executorch_file import ExecutorchStream, executorch_bytes
from aaren.export.one_token import Deployment
from aaren.export.onnx_file import onnx_bytes
from aaren.extras import require
from aaren.files import check_writable, write_folder


@dataclass(frozen=True)
class Exported:
    """A file that was written."""

    path: Path
    bytes: int
    state_bytes: int
    """of one stream"""
    difference: float
    """the largest of any output from PyTorch's in 1,000 carried steps, see `aaren.export.check.TOLERANCE`"""
    memory: dict[str, int]
    """further sizes that the format tells, in bytes"""


@dataclass(frozen=True)
class _Written:
    content: bytes
    pushes: tuple[tuple[int, Push], ...]
    """streams to check: rows, and what advances them"""
    memory: dict[str, int]


def export_model(deployment: Deployment, path: str | Path, format: str) -> Exported:  # noqa: A002 (the word for it)
    """Writes `path`, unless it differs from the model.

    Args:
        deployment: the model, see `Classifier.deployment`, `Forecaster.deployment` and `aaren.export.one_token`.
        path: file to write.
        format: one of `FORMATS`.

    Raises:
        FileNotFoundError: there is no C compiler to check a program in C with.
        ImportError: the packages of the format are not installed.
        OSError: the folder cannot be written.
        ValueError: an unknown format, a model that the format cannot hold, or a file that would give other outputs.
    """
    path = Path(path)
    if format not in FORMATS:
        raise ValueError(f"format must be one of {', '.join(FORMATS)}, got {format!r}")
    check_writable(path.parent)
    if path.is_dir():
        raise ValueError(f"path must be a file, got the folder {str(path)!r}")
    written = FORMATS[format](deployment, path.stem)
    difference = max(check_same(deployment, push, rows=rows) for rows, push in written.pushes)
    write_folder(path.parent, {path.name: written.content})
    state = sum(leaf.numel() * leaf.element_size() for leaf in deployment.state.values())
    return Exported(path, len(written.content), state, difference, written.memory)


def _onnx(deployment: Deployment, name: str) -> _Written:
    runtime = require("aaren_runtime", "export")
    content = onnx_bytes(deployment)
    with tempfile.NamedTemporaryFile(suffix=".onnx") as file:
        file.write(content)
        file.flush()
        sessions = {rows: runtime.Session(file.name, rows) for rows in (1, 3)}
    names = [port.name for port in deployment.inputs]

    def pusher(rows: int) -> Push:
        def push(inputs):
            given = dict(zip(names[1:], inputs[1:], strict=True))
            return list(sessions[rows].push(inputs[0], **given).values())

        return push

    return _Written(content, tuple((rows, pusher(rows)) for rows in sessions), {})


def _executorch(deployment: Deployment, name: str) -> _Written:
    content = executorch_bytes(deployment)
    return _Written(content, ((1, ExecutorchStream(content, deployment).push),), {})


def _c(deployment: Deployment, name: str) -> _Written:
    name = re.sub(r"\W", "_", name, flags=re.ASCII)
    name = name if re.match(r"[A-Za-z_]", name) else f"model_{name}"
    source = c_source(deployment, name)
    library = CLibrary(source, name, deployment)
    sizes = {"flash": source.flash_bytes, "scratch": source.scratch_bytes}
    return _Written(source.text.encode(), ((1, library.push),), sizes)


FORMATS: dict[str, Callable[[Deployment, str], _Written]] = {"onnx": _onnx, "executorch": _executorch, "c": _c}
"""What makes a file of each format."""

SUFFIXES = {"onnx": ".onnx", "executorch": ".pte", "c": ".c"}
