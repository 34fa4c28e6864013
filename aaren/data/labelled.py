"""Labelled sequences: checks, the UEA archive's `.ts` files through aeon, batches. Knows no model."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from aaren.data.catalog import is_path, locate_part, near_names
from aaren.extras import require
from aaren.shapes import PaddingMask


class LabelledSequences(NamedTuple):
    """Cases (channels, time_i), which may differ in length, and a label for each."""

    cases: list[np.ndarray]
    labels: np.ndarray


class LabelledBatch(NamedTuple):
    """Cases with time before channels, padded at the end to the longest."""

    x: Float[Tensor, "B T C"]
    padding_mask: PaddingMask
    target: Int[Tensor, "B"]

    def to(self, device: torch.device) -> "LabelledBatch":
        return LabelledBatch(*(x.to(device) for x in self))


def check_cases(X: Any, channels: int | None = None) -> list[np.ndarray]:
    """X as a list of arrays (channels, time_i), float64 if they are, else float32.

    Args:
        X: array (cases, channels, time), or a sequence of arrays (channels, time_i): the convention of aeon.
        channels: how many there must be; None = as many as the first case has.

    Raises:
        ValueError: no cases, another shape, unequal numbers of channels, NaN or infinity (naming case and channel).
    """
    if isinstance(X, np.ndarray) and X.dtype != object and X.ndim != 3:
        raise ValueError(f"X must have shape (cases, channels, time), got {X.shape}")
    if not isinstance(X, Sequence | np.ndarray) or isinstance(X, str):
        raise ValueError(f"X must be an array or a list of arrays (channels, time), got {type(X).__name__}")
    if len(X) == 0:
        raise ValueError("X must have at least one case, got none")
    cases = []
    for number, case in enumerate(X):
        try:
            case = np.asarray(case)
            case = case if case.dtype == np.float64 else case.astype(np.float32)
        except (TypeError, ValueError):
            raise ValueError(f"X must hold numbers, got something else in case {number}") from None
        if case.ndim != 2 or 0 in case.shape:
            raise ValueError(
                f"X must have cases of shape (channels, time), neither 0, got {case.shape} in case {number}"
            )
        channels = channels or case.shape[0]
        if case.shape[0] != channels:
            raise ValueError(f"X must have {channels} channels in every case, got {case.shape[0]} in case {number}")
        with np.errstate(over="ignore"):
            bad = np.argwhere(~np.isfinite(case.astype(np.float32)))
        if len(bad):
            channel, time = bad[0]
            raise ValueError(
                f"X must be finite, got {case[channel, time]} in case {number}, channel {channel}, time {time}"
            )
        cases.append(case)
    return cases


def check_labels(y: Any, cases: Sequence[np.ndarray]) -> np.ndarray:
    """y as an array with a label for each case.

    Raises:
        ValueError: another length, fewer than two classes, labels that are not all strings or all whole numbers.
    """
    labels = np.asarray(y)
    if labels.ndim != 1 or len(labels) != len(cases):
        raise ValueError(f"y must have one label for each of the {len(cases)} cases, got shape {labels.shape}")
    if labels.dtype == object and all(isinstance(label, str) for label in labels):
        labels = labels.astype(str)
    if labels.dtype.kind not in "Ubiuf" or (labels.dtype.kind == "f" and not (labels == np.round(labels)).all()):
        raise ValueError(f"y must hold strings only or whole numbers only, got others in an array of {labels.dtype}")
    if len(classes := np.unique(labels)) < 2:
        raise ValueError(f"y must have at least two classes, got only {classes.tolist()[0]!r}")
    return labels


def hold_out(labels: np.ndarray, fraction: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Indices of a training and a validation part; about `fraction` of each class in the latter, never all of it.

    Raises:
        ValueError: no class can spare a case.
    """
    random = np.random.default_rng(seed)
    held = []
    for label in np.unique(labels):
        members = random.permutation(np.flatnonzero(labels == label))
        spare = len(members) - 1
        held.extend(members[: min(spare, max(round(fraction * len(members)), 1))])
    if not held:
        raise ValueError(
            f"y must have a class with two cases to hold one out for validation, got {len(labels)} classes"
        )
    return np.setdiff1d(np.arange(len(labels)), held), np.sort(held)


def collate(cases: Sequence[np.ndarray], target: Sequence[int] | np.ndarray) -> LabelledBatch:
    """A batch of cases of any lengths."""
    longest = max(case.shape[1] for case in cases)
    x = np.zeros((len(cases), longest, cases[0].shape[0]), dtype=np.float32)
    mask = np.ones((len(cases), longest), dtype=bool)
    for row, case in enumerate(cases):
        x[row, : case.shape[1]] = case.T
        mask[row, : case.shape[1]] = False
    return LabelledBatch(torch.from_numpy(x), torch.from_numpy(mask), torch.as_tensor(np.asarray(target)))


def load_labelled(data: str | Path, split: str) -> LabelledSequences:
    """The "train" or "test" part of a data set.

    Args:
        data: a name in the UEA or UCR archive, or a folder with one `NAME_TRAIN.ts` and `NAME_TEST.ts`. A name is
            looked up in the order of `aaren.data.catalog.locate` and downloaded last.
        split: "train" or "test".

    Raises:
        FileNotFoundError: no such folder, or a set that could not be found or downloaded (names the places looked at).
        ImportError: aeon is not installed, or pooch where a set must be downloaded.
        ValueError: an unknown name (before any network access; names near ones), or an unreadable file.
    """
    if split not in ("train", "test"):
        raise ValueError(f"split must be 'train' or 'test', got {split!r}")
    check_data(data)
    return _read(locate_part(data, split))


def load_train_and_test(data: str | Path) -> tuple[LabelledSequences, LabelledSequences]:
    """Both parts of a data set, see `load_labelled`.

    Raises:
        ValueError: also if the test part has other channels or a class that the training part has not.
    """
    train, test = load_labelled(data, "train"), load_labelled(data, "test")
    try:
        check_cases(test.cases, train.cases[0].shape[0])
    except ValueError as error:
        raise ValueError(f"test part of {str(data)!r}: {error}") from None
    if strange := sorted(set(test.labels.tolist()) - set(train.labels.tolist())):
        raise ValueError(f"test part of {str(data)!r} must have classes of the training part, got {strange[0]!r} too")
    return train, test


def check_data(data: str | Path) -> None:
    """Raises FileNotFoundError on a folder that is not there, ValueError on a name that is in neither archive, with
    names near it. Reads nothing."""
    name = str(data)
    if Path(data).is_dir():
        return
    if is_path(data):
        raise FileNotFoundError(f"data must be a data set's name or an existing folder of .ts files, got {name!r}")
    archives = require("aeon.datasets.tsc_datasets", "tasks")
    known = sorted({*archives.multivariate, *archives.univariate})
    if name not in known:
        hint = near_names(name, known) or "see timeseriesclassification.com for names"
        raise ValueError(f"data must be the name of a UEA or UCR data set or a folder, got {name!r}; {hint}")


def _read(file: Path) -> LabelledSequences:
    load = require("aeon.datasets", "tasks").load_from_ts_file
    try:
        X, y = load(str(file))
    except Exception as error:  # aeon raises many kinds
        raise ValueError(f"{str(file)!r} must be a readable .ts file with class labels, got {_first(error)}") from None
    if len(X) == 0:
        raise ValueError(f"{str(file)!r} must be a readable .ts file with class labels, got no case")
    try:
        cases = [case.astype(np.float32) for case in check_cases(X)]
        return LabelledSequences(cases, check_labels(y, cases))
    except ValueError as error:
        raise ValueError(f"{str(file)!r}: {error}") from None


def _first(error: Exception) -> str:
    """Kind and first line of an error from elsewhere."""
    return f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
