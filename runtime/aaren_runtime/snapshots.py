"""Files of arrays: NumPy's .npz without pickle, with a kind, written whole or not at all."""

import io
import json
import os
import tokenize
import uuid
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

ABOUT = "about"

DAMAGED = (
    *(ValueError, KeyError, EOFError, AttributeError, OSError),
    *(RuntimeError, zipfile.BadZipFile, zlib.error),  # of versions and methods of zip files
    *(tokenize.TokenError, MemoryError, OverflowError),  # of the heads of arrays
)
"""What reading a file that is no such file raises."""


def write_arrays(path: str | Path, kind: str, arrays: Mapping[str, np.ndarray], metadata: Mapping[str, Any]) -> None:
    """Writes the file. Raises OSError (full or read-only folder), leaving any older one as it was."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    content = io.BytesIO()
    parts: dict[str, Any] = {**arrays, ABOUT: np.array(json.dumps({"kind": kind, **metadata}))}
    np.savez(content, **parts)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(content.getvalue())
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def read_arrays(path: str | Path, kind: str) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Arrays and metadata of a file that `write_arrays` wrote.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no such file, of another kind, truncated or altered; nothing in it is executed.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{kind} must be a file, got {str(path)!r}, which is none")
    try:
        with zipfile.ZipFile(path) as archive:  # reads every part and its checksum; .npy is never pickle here
            if archive.testzip() is not None:
                raise ValueError("a part is damaged")
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        if not all(isinstance(array, np.ndarray) for array in arrays.values()):
            raise ValueError("a part is no array")
        metadata = json.loads(str(arrays.pop(ABOUT)))
        if metadata.get("kind") != kind:
            raise ValueError(f"its kind is {metadata.get('kind')!r}")
    except DAMAGED as error:
        raise ValueError(f"{str(path)!r} must be a snapshot of kind {kind!r}, got another file ({error})") from None
    return arrays, metadata
