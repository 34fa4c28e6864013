"""Pictures of forecasts."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from aaren.data.series import Series
from aaren.png import new_figure, write_png

PANELS = 8


def plot_forecast(series: Series, forecast: np.ndarray, path: Path, *, quantiles: Sequence[float], rows: int) -> None:
    """The last rows of a series and the forecast after them, a panel for each channel (the first 8), as PNG.

    Args:
        series: what was forecast.
        forecast: (horizon, channels, 1 + quantiles), the mean first.
        path: file to write.
        quantiles: probabilities of the forecast's quantiles; a band reaches from the first to the last.
        rows: how many of the last rows are shown.

    Raises:
        ImportError: matplotlib is not installed.
        OSError: the folder cannot be written.
    """
    shown = min(len(series.names), PANELS)
    figure = new_figure(10, 1 + 2 * shown)
    past, coming = series[-rows:], series.following(len(forecast))
    for number, axes in enumerate(figure.subplots(shown, squeeze=False)[:, 0]):
        axes.plot(past.labels(), past.values[:, number], color="black", label="observed")
        if len(quantiles) > 1:
            band = forecast[:, number, 1], forecast[:, number, -1]
            axes.fill_between(coming, *band, alpha=0.3, label=f"quantiles {quantiles[0]:g} to {quantiles[-1]:g}")
        axes.plot(coming, forecast[:, number, 0], label="forecast")
        axes.set_ylabel(series.names[number])
        axes.grid(alpha=0.3)
    figure.axes[0].legend(loc="best", fontsize=8)
    more = f", the first {shown} of {len(series.names)} channels" if len(series.names) > shown else ""
    figure.suptitle(f"forecast of {len(forecast)} rows{more}")
    write_png(figure, path)
