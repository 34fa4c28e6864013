"""Files of trajectories: this library's `.npz`, D4RL's HDF5, Minari's data sets."""

import io
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from aaren.data.catalog import find, is_path, locate
from aaren.data.control_sets import COMPOSED
from aaren.data.environments import ENVIRONMENTS, Environment
from aaren.data.trajectories import Trajectory, check_trajectories, divide_episodes
from aaren.extras import require

STEPS = ("observations", "actions", "rewards", "terminations", "truncations")
D4RL = ("observations", "actions", "rewards", "terminals", "timeouts")


def load_trajectories(data: str | Path) -> list[Trajectory]:
    """A known set, two of them together, or a file in one of the known layouts.

    Args:
        data: a name in the catalogue, or NAME-medium-expert for the medium and the expert set of one environment; an
            `.npz` file with `observations`, `actions`, `rewards`, `terminations` and `truncations` of all steps in the
            order of time; an `.hdf5` file as D4RL has them; a folder of a Minari data set, or its `main_data.hdf5`.

    Raises:
        FileNotFoundError: no such set or file (names the places looked at).
        ImportError: h5py is not installed.
        ValueError: an unknown name, or a file that holds something else; trajectories without ends.
    """
    if str(data) in COMPOSED:
        return [one for part in COMPOSED[str(data)] for one in load_trajectories(part)]
    path = Path(data)
    if path.is_dir():
        inside = [path / "main_data.hdf5", path / "data" / "main_data.hdf5"]
        path = next((file for file in inside if file.is_file()), path)
        if path.is_dir():
            raise FileNotFoundError(f"data must hold main_data.hdf5 of a Minari data set, got the folder {str(path)!r}")
    elif not is_path(data):
        data_set = find(str(data))
        if data_set.task != "offline_rl":
            raise ValueError(f"data must be a set of trajectories, got {data_set.name!r}, a set for {data_set.task}")
        path = locate(data)
    elif not path.is_file():
        raise FileNotFoundError(
            f"data must be the name of a set of trajectories or an existing file, got {str(data)!r}"
        )
    read = _read_hdf5 if path.suffix in (".hdf5", ".h5") else _read_npz
    return check_trajectories(read(path), name="data")


def environment_of(data: str | Path) -> Environment | None:
    """The environment of a known set; None for others, whose names do not tell."""
    first = str(data).split("-")[0]
    return ENVIRONMENTS.get(first) if not is_path(data) else None


def _read_npz(path: Path) -> list[Trajectory]:
    def read() -> list[np.ndarray]:
        with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as file:
            return [file[name] for name in STEPS]

    return divide_episodes(*_reading(path, STEPS, read), name=repr(str(path)))


def _read_hdf5(path: Path) -> list[Any]:
    h5py = require("h5py", "rl")

    def read() -> list[Any]:
        with h5py.File(path, "r") as file:
            if D4RL[0] in file:
                return [file[name][:] for name in D4RL]
            names = sorted((name for name in file if name.startswith("episode_")), key=lambda name: int(name[8:]))
            return [{part: file[name][part][:] for part in STEPS[:3]} for name in names]

    content = _reading(path, ("observations, actions, rewards, terminals and timeouts, or episodes",), read)
    if content and isinstance(content[0], dict):
        return content
    return divide_episodes(*content, name=repr(str(path)))


def _reading(path: Path, names: tuple[str, ...], read: Callable[[], list[Any]]) -> list[Any]:
    """What `read` returns. Raises ValueError that says what the file must hold where it fails or returns nothing."""
    with path.open("rb"):  # a file that may not be read is another mistake
        pass
    try:
        content = read()
    except (OSError, ValueError, KeyError, TypeError, AttributeError, zipfile.BadZipFile, EOFError):
        content = []
    if not content:
        raise ValueError(f"{str(path)!r} must hold {', '.join(names)} of steps, got something else")
    return content
