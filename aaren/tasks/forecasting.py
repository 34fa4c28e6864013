"""What every forecaster does in the same way, whether it is a network or not."""

import warnings
from collections.abc import Sequence
from dataclasses import replace
from numbers import Integral
from typing import Any, NamedTuple

import numpy as np

from aaren.data.series import Kind, Roles, Series, read_series


class Training(NamedTuple):
    """Series with their validation parts at the end."""

    series: list[Series]
    lengths: list[int]
    """rows of the training part of each"""

    @property
    def parts(self) -> list[Series]:
        """The training parts."""
        return [one[:length] for one, length in zip(*self, strict=True)]


def check_arguments(horizon: int, context: int, roles: Any, validation: int | float) -> None:
    """Raises ValueError if one of the arguments that all forecasters have is none."""
    check_whole("horizon", horizon, 1)
    check_whole("context", context, 2)
    if validation <= 0 or (validation >= 1 and validation != int(validation)):
        raise ValueError(f"validation must be a share below 1 or a number of rows, got {validation}")
    if not isinstance(roles, Roles):
        raise ValueError(f"roles must be aaren.data.series.Roles, got {roles!r}")


def check_whole(name: str, value: Any, least: int) -> None:
    """Raises ValueError unless the value is a whole number, and large enough."""
    if not isinstance(value, Integral) or value < least:
        raise ValueError(f"{name} must be a whole number of at least {least}, got {value}")


def read_training(X: Any, roles: Roles, validation: int | float, horizon: int, context: int) -> Training:
    """The series, or the list of series, that a forecaster is fitted to.

    Raises:
        ValueError: none, different columns or kinds of times, a series that is too short, a channel that is constant or
            never observed in the training part; and see `read_series`.
    """
    if isinstance(X, list) and not X:
        raise ValueError("X must have a series, got an empty list")
    series = [read_series(one, roles) for one in (X if isinstance(X, list) else [X])]
    step = float(np.median([one.step for one in series]))
    series = [replace(one, step=step) for one in series]
    for one in series[1:]:
        if one.kind != series[0].kind:
            raise ValueError(
                f"all series must have the same columns, with dates or without, got {series[0].kind} and {one.kind}"
            )
    lengths = [len(one) - held_out(len(one), validation, horizon) for one in series]
    training = Training(series, lengths)
    for number, name in enumerate(series[0].names):
        check_channel(name, [one.values[:, number] for one in training.parts], context)
    return training


def read_one(X: Any, roles: Roles, kind: Kind) -> Series:
    """One series of the kind that a forecaster was fitted to. Raises ValueError; see `read_series`."""
    if isinstance(X, list):
        raise ValueError("X must be one series, got a list; call once for each")
    return read_series(X, roles, kind)


def check_channel(name: str, parts: Sequence[np.ndarray], window: int) -> None:
    """Refuses a channel from which nothing can be learned; warns of long runs of missing values.

    Args:
        name: of the channel.
        parts: its values in the training part of each series.
        window: rows that forecasts look back.

    Raises:
        ValueError: it is missing throughout, or constant.
    """
    values = np.concatenate(parts)
    observed = values[~np.isnan(values)]
    if len(observed) == 0:
        raise ValueError(f"channel {name!r} must have values in the training part, got none in {len(values)} rows")
    if np.ptp(observed) <= 1e-9 * np.abs(observed).max():
        raise ValueError(
            f"channel {name!r} must vary in the training part, got {observed[0]:g} in all rows; leave it out"
        )
    for part in parts:
        run, row = longest_run(np.isnan(part))
        if run > window:
            warnings.warn(
                f"channel {name!r} is missing for {run} rows from row {row} on, longer than the {window} rows that "
                f"forecasts look back; there they are guesses",
                stacklevel=4,
            )


def longest_run(flags: np.ndarray) -> tuple[int, int]:
    """Length and start of the longest run of True."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], flags, [False]]).astype(np.int8)))
    if len(edges) == 0:
        return 0, 0
    lengths = edges[1::2] - edges[::2]
    longest = int(lengths.argmax())
    return int(lengths[longest]), int(edges[2 * longest])


def held_out(rows: int, validation: int | float, horizon: int) -> int:
    """Rows of the validation part. Raises ValueError if too few are left on either side."""
    held = round(validation * rows) if validation < 1 else int(validation)
    if held < horizon + 1 or rows - held < horizon + 2:
        raise ValueError(
            f"X must have more than {horizon} rows (the horizon) in its training and in its validation part, "
            f"got {rows - held} and {held} of {rows}; shorten horizon, or change validation"
        )
    return held


def backtest_origins(rows: int, start: int | None, stride: int, horizon: int, context: int) -> np.ndarray:
    """Rows after which a backtest forecasts: the first forecast is of row `start`, None = `context`.

    Raises:
        ValueError: there is no row before the first forecast, or fewer than `horizon` rows after it; stride is below 1.
    """
    check_whole("stride", stride, 1)
    start = min(context, rows) if start is None else start
    last = rows - horizon - 1
    if not 1 <= start <= last + 1:
        raise ValueError(
            f"X must have at least one row before the first forecast and {horizon} (the horizon) after it, "
            f"got {rows} rows and start {start}"
        )
    return np.arange(start - 1, last + 1, stride)


def as_given(X: Any, values: np.ndarray, times: Any, names: list[str]) -> Any:
    """A forecast (horizon, names): a DataFrame with its times if X is one, otherwise an array."""
    if not hasattr(X, "columns"):
        return values
    return type(X)(values, index=times, columns=names)
