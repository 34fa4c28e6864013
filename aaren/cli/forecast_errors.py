"""Errors of a forecaster by step and by channel, beside those of simple forecasts: as JSON and as tables."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from aaren.report import Section
    from aaren.tasks.backtest import Backtest

STEPS = (1, 2, 3, 6, 12, 24, 48, 96, 192, 336, 720)
"""Rows ahead whose errors are told."""


def error_summary(
    errors: "Backtest", simple: "Mapping[str, Backtest]", channels: tuple[str, ...], spread: np.ndarray
) -> dict[str, Any]:
    """What a result tells of errors beside their means.

    Args:
        errors: of the forecaster.
        simple: of simple forecasts of the same rows.
        channels: names.
        spread: (channels,) unit of the errors in units of the data.

    Returns:
        `steps`: of some numbers of rows ahead `mse`, `mae` and, as `skill_NAME`, the share of the mean squared error of
        each simple forecast that the forecaster saves; `channels`: of each the mean absolute errors in the units of the
        data, of the forecaster (`mae`) and of each simple forecast (`mae_NAME`). None stands for what was not observed.
    """
    shown = sorted({*(step for step in STEPS if step < len(errors.mse_by_horizon)), len(errors.mse_by_horizon)})
    steps = [
        {
            "step": step,
            "mse": _number(errors.mse_by_horizon[step - 1]),
            "mae": _number(errors.mae_by_horizon[step - 1]),
            **{
                f"skill_{name}": _skill(errors.mse_by_horizon[step - 1], other.mse_by_horizon[step - 1])
                for name, other in simple.items()
            },
        }
        for step in shown
    ]
    units = {"mae": errors.mae_by_channel * spread}
    units |= {f"mae_{name}": other.mae_by_channel * spread for name, other in simple.items()}
    return {
        "steps": steps,
        **{f"skill_{name}": _skill(errors.mse, other.mse) for name, other in simple.items()},
        "channels": {
            channel: {name: _number(values[i]) for name, values in units.items()} for i, channel in enumerate(channels)
        },
    }


def error_sections(result: Mapping[str, Any], mse: float, mae: float) -> "list[Section]":
    """The tables of what `error_summary` put into a result, with the means of the same errors; `errors_of` says whose
    they are."""
    from aaren.report import Section

    skills = [name for name in result["steps"][0] if name.startswith("skill_")]
    mean = {"step": "mean", "mse": mse, "mae": mae, **{name: result[name] for name in skills}}
    steps = [["rows ahead", "MSE", "MAE", *(f"skill against {name.removeprefix('skill_')}" for name in skills)]]
    for entry in (*result["steps"], mean):
        shares = ["–" if entry[name] is None else f"{entry[name]:.0%}" for name in skills]
        steps.append([str(entry["step"]), _text(entry["mse"]), _text(entry["mae"]), *shares])
    names = list(next(iter(result["channels"].values())))
    channels = [["channel", *(name.replace("_", " of ").replace("mae", "MAE") for name in names)]]
    channels += [[channel, *(_text(of[name]) for name in names)] for channel, of in result["channels"].items()]
    note = "In units of each channel's standard deviation in the training part. Skill: share of the MSE that is saved."
    return [
        Section(f"errors by rows ahead, test part, {result['errors_of']}", steps, note),
        Section(f"mean absolute error in the units of the data, test part, {result['errors_of']}", channels),
    ]


def _skill(error: float, other: float) -> float | None:
    return _number(1 - error / other) if other > 0 else None


def _number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def _text(value: float | None) -> str:
    return "–" if value is None else f"{value:#.4g}"
