"""A file from an address to its place: whole and verified, or not at all."""

import sys
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path

from aaren.extras import require


def fetch(address: str, file: Path, sha256: str | None = None) -> None:
    """Downloads `address` to `file` by way of a temporary file beside it; tells of it on standard error.

    Args:
        sha256: what the content must have; None = unknown, anything is taken.

    Raises:
        ImportError: pooch is not installed.
        OSError: no connection, no such address, a download that broke off, no room.
        ValueError: another checksum.
    """
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn

    pooch = require("pooch", "tasks")
    pooch.get_logger().setLevel("WARNING")  # it would repeat what is said here
    sys.stderr.write(f"downloading {address}\n")
    file.parent.mkdir(parents=True, exist_ok=True)
    columns = TextColumn(file.name), BarColumn(), DownloadColumn()
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        downloader = pooch.HTTPDownloader(progressbar=_Bar(bar), chunk_size=1 << 16)
        try:
            pooch.retrieve(address, sha256, file.name, file.parent, downloader=downloader)
        except OSError:
            raise
        except ValueError:
            raise ValueError(f"download must have the SHA-256 {sha256}, got another file from {address}") from None


def fetch_members(address: str, folder: Path, names: Sequence[str], sha256: str | None = None) -> None:
    """Downloads a zip archive and puts the files called `names` into `folder`.

    Raises:
        ImportError, OSError, ValueError: as `fetch` does; OSError also for what is no archive or lacks a file.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as temporary:
        archive = Path(temporary) / "archive.zip"
        fetch(address, archive, sha256)
        try:
            with zipfile.ZipFile(archive) as opened:
                extracted = [Path(opened.extract(name, temporary)) for name in names]
        except (zipfile.BadZipFile, KeyError) as error:
            raise OSError(f"{address} must be a zip archive with {', '.join(names)}, got {error}") from None
        folder.mkdir(exist_ok=True)
        for file in extracted:
            file.replace(folder / file.name)


class _Bar:
    """What pooch tells how far it is."""

    total = 0  # bytes, set by pooch; 0 where the server does not say

    def __init__(self, bar):
        self.bar = bar
        self.task = bar.add_task("", total=None)

    def update(self, count: int) -> None:
        self.bar.update(self.task, advance=count, total=self.total or None)

    def reset(self) -> None:
        self.bar.reset(self.task)

    def close(self) -> None:
        pass
