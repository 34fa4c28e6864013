"""What every forecaster does in the same way, whether it is a network or not."""

from numbers import Integral
from typing import Any

import numpy as np

from aaren.data.series import Roles


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
    if stride < 1:
        raise ValueError(f"stride must be at least 1, got {stride}")
    start = min(context, rows) if start is None else start
    last = rows - horizon - 1
    if not 1 <= start <= last + 1:
        raise ValueError(
            f"X must have at least one row before the first forecast and {horizon} (the horizon) after it, "
            f"got {rows} rows and start {start}"
        )
    return np.arange(start - 1, last + 1, stride)


def as_given(X: Any, values: np.ndarray, times: np.ndarray, names: list[str]) -> Any:
    """A forecast (horizon, names): a DataFrame with its times if X is one, otherwise an array."""
    if not hasattr(X, "columns"):
        return values
    return type(X)(values, index=times, columns=names)
