"""Files of tensors: safetensors with a kind, a version and a checksum, written whole or not at all."""

import hashlib
from collections.abc import Mapping
from pathlib import Path

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from aaren.files import write_folder

VERSION = "1"


def fingerprint(tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None) -> str:
    """SHA-256 of names, dtypes, shapes and contents (and of metadata): equal exactly when all of these are."""
    digest = hashlib.sha256(repr(sorted((metadata or {}).items())).encode())
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)};".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def write_tensors(path: str | Path, kind: str, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """Writes a safetensors file. Raises OSError (full or read-only folder), leaving any older file as it was."""
    path = Path(path)
    write_folder(path.parent, {path.name: to_bytes(kind, tensors, metadata)})


def to_bytes(kind: str, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> bytes:
    """The content of such a file."""
    metadata = {"kind": kind, "version": VERSION, **metadata}
    metadata["checksum"] = fingerprint(tensors, metadata)
    return safetensors.torch.save(
        {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}, dict(metadata)
    )


def read_tensors(path: str | Path, kind: str) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors and metadata of a file that `write_tensors` wrote.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no such file, of another kind or version, truncated or altered.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{kind} file must exist, got {str(path)!r}")
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no mapping)
    except safetensors.SafetensorError as error:
        reason = str(error).splitlines()[0]
        raise ValueError(
            f"{str(path)!r} must be a whole safetensors file, got one that cannot be read ({reason})"
        ) from None
    if metadata.get("kind") != kind or metadata.get("version") != VERSION:
        got = f"kind {metadata.get('kind')!r}, version {metadata.get('version')!r}"
        raise ValueError(f"{str(path)!r} must be a file of kind {kind!r}, version {VERSION!r}, got {got}")
    checksum = metadata.pop("checksum", None)
    if checksum != fingerprint(tensors, metadata):
        raise ValueError(f"{str(path)!r} must be as it was written, got contents that do not match their checksum")
    return tensors, metadata
