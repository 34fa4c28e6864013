"""Phases of day, week and year."""

from collections.abc import Sequence

import numpy as np

from aaren.data.series import Series

DAY = 86_400.0
CYCLES = {"day": DAY, "week": 7 * DAY, "year": 365.2425 * DAY}
"""Seconds of what a calendar repeats."""


def cycles_of(series: Series) -> tuple[str, ...]:
    """The cycles of the calendar that the series shows: longer than two steps, and at least twice in it."""
    span = series.times[-1] - series.times[0]
    return tuple(n for n, period in CYCLES.items() if series.dated and 2 * series.step < period and 2 * period <= span)


def calendar(times: np.ndarray, cycles: Sequence[str]) -> np.ndarray:
    """(time, 2 · cycles): sine and cosine of the phase in each cycle."""
    monday = 4 * DAY  # 1970-01-05
    phases = [2 * np.pi * ((times - monday) % CYCLES[name]) / CYCLES[name] for name in cycles]
    waves = [wave(phase) for phase in phases for wave in (np.sin, np.cos)]
    return np.stack(waves, axis=1) if waves else np.empty((len(times), 0))
