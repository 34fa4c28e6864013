"""Files written whole or not at all."""

import errno
import json
import os
import tempfile
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any


def write_folder(folder: str | Path, contents: Mapping[str, bytes]) -> None:
    """Makes `folder` if need be and puts the files into it; none unless all could be written. Raises OSError."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for name in contents:
        if (folder / name).is_dir():
            raise IsADirectoryError(errno.EISDIR, "must be a file, got a folder", str(folder / name))
    temporary = {name: folder / f".{name}.{uuid.uuid4().hex}.tmp" for name in contents}
    try:
        for name, content in contents.items():
            _write_through(temporary[name], content)
        for name, path in temporary.items():
            path.replace(folder / name)
    finally:
        for path in temporary.values():
            path.unlink(missing_ok=True)


def _write_through(path: Path, content: bytes) -> None:
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def check_writable(folder: Path) -> None:
    """Makes `folder` if need be. Raises OSError unless a file can be written there, so that it is known beforehand."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise OSError(f"folder for results must be writable, got {str(folder)!r} ({error.strerror})") from None


def read_json_lines(path: Path) -> list[dict[str, Any]]:
    """The records of a file of one JSON object a line.

    Raises:
        OSError: it cannot be read.
        ValueError: a line is something else.
    """
    records = []
    for number, line in enumerate(path.read_text().splitlines(), start=1):
        try:
            record = json.loads(line)
        except ValueError:
            record = None
        if not isinstance(record, dict):
            raise ValueError(f"line {number} of {str(path)!r} must be a JSON object, got {line[:60]!r}")
        records.append(record)
    return records


def write_json_lines(path: Path, records: Sequence[dict[str, Any]]) -> None:
    """Writes a file of one JSON object a line, whole or not at all. Raises OSError."""
    write_folder(path.parent, {path.name: "".join(json.dumps(record) + "\n" for record in records).encode()})
