"""Pictures of event forecasts."""

from pathlib import Path

import numpy as np

from aaren.png import new_figure, write_png
from aaren.tasks.event_scores import ks_distance


def plot_calibration(passed: np.ndarray, path: Path) -> None:
    """Shares of events against the probabilities with which they had come, as PNG: a diagonal if forecasts are right.

    Args:
        passed: see `aaren.tasks.event_scores.passed`.
        path: file to write.

    Raises:
        ImportError: matplotlib is not installed.
        OSError: the folder cannot be written.
    """
    figure = new_figure(5, 5)
    axes = figure.subplots()
    places = np.linspace(0, 1, 201)
    shares = np.searchsorted(np.sort(passed), places, side="right") / len(passed)
    axes.plot([0, 1], [0, 1], color="black", linestyle="--", label="calibrated")
    axes.plot(places, shares, label=f"{len(passed):,} events, distance {ks_distance(passed):.3f}")
    axes.set(xlabel="forecast probability that the event has come", ylabel="share of events", aspect="equal")
    axes.grid(alpha=0.3)
    axes.legend(loc="upper left", fontsize=8)
    write_png(figure, path)
