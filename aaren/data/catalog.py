"""The data sets that are known by name, and where their files are: on this machine or at a public address."""

import difflib
import importlib.util
import os
from collections.abc import Iterable
from pathlib import Path

from aaren.data.classification_sets import CLASSIFICATION, UEA_DOWNLOAD
from aaren.data.control_sets import CONTROL
from aaren.data.download import fetch, fetch_members
from aaren.data.event_sets import EVENTS
from aaren.data.forecasting_sets import FORECASTING
from aaren.data.sets import DataSet

CATALOG = {data_set.name: data_set for data_set in (*FORECASTING, *CLASSIFICATION, *EVENTS, *CONTROL)}
"""The paper's sets, or what there is of them, and stand-ins for the others, by name."""


def find(name: str) -> DataSet:
    """The set of this name. Raises ValueError on an unknown one, with names near it."""
    if name not in CATALOG:
        hint = near_names(name, CATALOG) or "`aaren data list` has them all"
        raise ValueError(f"data must be the name of a data set, got {name!r}; {hint}")
    return CATALOG[name]


def near_names(name: str, known: Iterable[str]) -> str:
    """A question that offers up to three names like `name`; "" if there is none."""
    lower = {candidate.lower(): candidate for candidate in known}
    near = [lower[match] for match in difflib.get_close_matches(name.lower(), lower, n=3)]
    return f"did you mean {', '.join(near)}?" if near else ""


def is_path(data: str | Path) -> bool:
    """Whether this is meant as a path: no name of a set has a separator or a suffix."""
    return "/" in str(data) or os.sep in str(data) or bool(Path(data).suffix)


def folders(task: str) -> list[Path]:
    """Where the files of a task's sets are looked for, in this order.

    $AAREN_DATA/TASK; for classification what ships with aeon; the user's cache, where downloads go.
    """
    places = [_cache(task)]
    if task == "classification" and (aeon := importlib.util.find_spec("aeon")) and aeon.origin:
        places.insert(0, Path(aeon.origin).parent / "datasets" / "data")
    if os.environ.get("AAREN_DATA"):
        places.insert(0, Path(os.environ["AAREN_DATA"]) / task)
    return places


def at_hand(data_set: DataSet) -> list[Path]:
    """A set's files on this machine, [] unless complete: training and test part (classification), else one."""
    if data_set.task == "classification":
        found = [_first_file(data_set.task, [file]) for file in data_set.files]
    else:
        found = [_first_file(data_set.task, data_set.files)]
    return [file for file in found if file is not None] if None not in found else []


def locate(data: str | Path, split: str | None = None) -> Path:
    """The file of a data set; downloaded into the user's cache if it is not at hand.

    Args:
        data: a name in the catalogue, a path of a file, or of a folder of `.ts` files (classification).
        split: "train" or "test" for classification, None for other tasks.

    Raises:
        FileNotFoundError: no such path, or a set that is neither at hand nor downloadable (names the places looked at).
        ImportError: pooch is not installed.
        ValueError: an unknown name (before any network access; names near ones), a split that the task does not have,
            a download with another checksum than is known.
    """
    if split not in (None, "train", "test"):
        raise ValueError(f"split must be 'train', 'test' or None, got {split!r}")
    if split is not None and Path(data).is_dir():
        return locate_part(data, split)
    if is_path(data):
        return _path(Path(data)) if split is None else locate_part(data, split)
    data_set = find(str(data))
    if (data_set.task == "classification") != (split is not None):
        form = "'train' or 'test'" if split is None else "None"
        raise ValueError(f"split must be {form} for {data_set.name!r}, a set for {data_set.task}, got {split!r}")
    return _locate_series(data_set) if split is None else locate_part(data_set.name, split)


def locate_part(data: str | Path, split: str) -> Path:
    """The `.ts` file of the "train" or "test" part: of any set in the UEA and UCR archives, or in a folder.

    Raises: as `locate` does, but nothing is known here of names outside the catalogue.
    """
    if Path(data).is_dir():
        return _only_file(Path(data), split)
    if is_path(data):
        raise FileNotFoundError(f"data must be a data set's name or an existing folder of .ts files, got {str(data)!r}")
    name = str(data)
    files = {part: f"{name}/{name}_{part.upper()}.ts" for part in ("train", "test")}
    if file := _first_file("classification", [files[split]]):
        return file
    known = CATALOG.get(name)
    address, sha256 = (known.download, known.download_sha256) if known else (None, None)
    address = address or UEA_DOWNLOAD.format(name=name)
    target = _cache("classification") / name
    try:
        fetch_members(address, target, [Path(file).name for file in files.values()], sha256)
    except OSError as error:
        raise _not_found(name, "classification", [files[split]], error) from None
    return target / Path(files[split]).name


def _locate_series(data_set: DataSet) -> Path:
    if file := _first_file(data_set.task, data_set.files):
        return file
    if data_set.download is None:
        raise _not_found(data_set.name, data_set.task, data_set.files, "it is published at no address of its own")
    file = _cache(data_set.task) / data_set.download.rsplit("/", 1)[-1]
    try:
        fetch(data_set.download, file, data_set.download_sha256)
    except OSError as error:
        raise _not_found(data_set.name, data_set.task, data_set.files, error) from None
    return file


def _cache(task: str) -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "aaren" / task


def _first_file(task: str, alternatives: Iterable[str]) -> Path | None:
    candidates = [folder / file for folder in folders(task) for file in alternatives]
    return next((file for file in candidates if file.is_file()), None)


def _path(path: Path) -> Path:
    if not path.is_file():
        raise FileNotFoundError(f"data must be a data set's name or an existing file, got {str(path)!r}")
    return path


def _only_file(folder: Path, split: str) -> Path:
    files = sorted(folder.glob(f"*_{split.upper()}.ts"))
    if len(files) != 1:
        raise FileNotFoundError(f"{str(folder)!r} must hold one file *_{split.upper()}.ts, got {len(files)}")
    return files[0]


def _not_found(name: str, task: str, files: Iterable[str], reason: object) -> FileNotFoundError:
    looked = ", ".join(str(folder / file) for folder in folders(task) for file in files)
    why = f"{type(reason).__name__}: {reason}" if isinstance(reason, Exception) else reason
    hint = "" if os.environ.get("AAREN_DATA") else "; $AAREN_DATA may name a folder of your own"
    if name in CATALOG and (stand_in := CATALOG[name].stand_in):
        hint += f"; a set like it is {stand_in!r}"
    return FileNotFoundError(
        f"data set {name!r} must be at hand or downloadable, got none in {looked} and no download ({why}){hint}"
    )
