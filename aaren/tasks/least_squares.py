"""Forecasters that are linear in a window, fitted in closed form."""

import abc
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from aaren.models.statistics import FLOOR
from aaren.tasks.baseline import Baseline, pieces

STRENGTHS = 10.0 ** np.arange(-6, 3)
"""Strengths of ridge that the validation part chooses from, in units of the mean square of a row in the windows."""


class Moments(NamedTuple):
    """All that least squares needs to know of features, the last a constant, and what follows, for several maps."""

    features: np.ndarray
    """(maps, K, K) sums of products of features"""
    mixed: np.ndarray
    """(maps, K, steps) of features and what follows"""
    squares: np.ndarray
    """(maps,) sums of squares of what follows"""

    @classmethod
    def zeros(cls, maps: int, features: int, steps: int) -> "Moments":
        return cls(np.zeros((maps, features, features)), np.zeros((maps, features, steps)), np.zeros(maps))

    def add(self, features: np.ndarray, after: np.ndarray) -> None:
        """Counts features (maps, n, K) and what follows them (maps, n, steps)."""
        self.features[:] += features.swapaxes(1, 2) @ features
        self.mixed[:] += features.swapaxes(1, 2) @ after
        self.squares[:] += (after**2).sum(axis=(1, 2))

    def ridge(self, strength: float) -> np.ndarray:
        """The map (maps, K, steps) of least squares plus a penalty on the weights of all features but the last."""
        size = self.features.shape[-1]
        penalty = np.eye(size)
        penalty[-1, -1] = 0
        scale = np.trace(self.features[:, :-1, :-1], axis1=1, axis2=2) / (size - 1)
        matrix = self.features + strength * scale[:, None, None] * penalty
        matrix[:, np.arange(size), np.arange(size)] += (
            matrix.diagonal(axis1=1, axis2=2) == 0
        )  # nothing observed: 0 then
        return np.linalg.solve(matrix, self.mixed)

    def errors(self, weights: np.ndarray) -> np.ndarray:
        """(maps,) sums of squared errors of maps (maps, K, steps)."""
        return self.squares + (weights * (self.features @ weights - 2 * self.mixed)).sum(axis=(1, 2))


def best_ridge(
    train: Moments, held: Moments, then: Callable[[np.ndarray], np.ndarray] = lambda weights: weights
) -> tuple[np.ndarray, np.ndarray]:
    """Ridge regression with the strength, among `STRENGTHS`, of the least error on a held-out part.

    Args:
        train: what is fitted.
        held: of the held-out part.
        then: what is done with the weights before they are judged.

    Returns:
        Weights (maps, K, steps), zero if none is better; strengths (maps,).
    """
    weights = np.zeros_like(held.mixed)
    chosen, least = np.zeros_like(held.squares), held.squares.copy()
    for strength in STRENGTHS:
        with np.errstate(over="ignore", invalid="ignore"):  # an unstable iteration: not chosen
            candidate = then(train.ridge(strength))
            errors = held.errors(candidate)
        better = errors < least
        weights[better], chosen[better], least[better] = candidate[better], strength, errors[better]
    return weights, chosen


class _LeastSquares(Baseline):
    """A linear map of features of the window, by ridge regression of a strength chosen on the validation part.

    Attributes:
        weights_: (maps, context + 1, horizon): of the rows of a window, the oldest first, and of a last feature.
        strength_: (maps,) of ridge, among `STRENGTHS`; 0 if the validation part preferred no forecast but the mean.
    """

    _shared: bool  # one map for all channels, or one for each

    @abc.abstractmethod
    def _features(self, windows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Features (n, channels, context + 1) of windows, and the level (n, channels, 1) that is added to what follows
        from them."""

    def _steps(self) -> int:
        """How many rows after a window the regression looks at."""
        return self.horizon

    def _ahead(self, weights: np.ndarray) -> np.ndarray:
        """Weights (maps, context + 1, horizon) from those of `_steps` rows."""
        return weights

    def _learn(self, values: list[np.ndarray], lengths: list[int]) -> None:
        steps, pairs = self._steps(), list(zip(values, lengths, strict=True))
        if max(lengths) < self.context + steps:
            raise ValueError(
                f"X must have at least {self.context + steps} rows in its training part (the context and {steps} to "
                f"forecast), got {max(lengths)}; shorten context or horizon, or change validation"
            )
        train = self._moments([(one, range(self.context - 1, length - steps)) for one, length in pairs], steps)
        held = self._moments([(one, range(length - 1, len(one) - self.horizon)) for one, length in pairs], self.horizon)
        self.weights_, self.strength_ = best_ridge(train, held, self._ahead)

    def _forecast(self, windows: np.ndarray) -> np.ndarray:
        features, level = self._features(windows)
        return np.matmul(features.swapaxes(0, 1), self.weights_).swapaxes(0, 1) + level

    def _moments(self, parts: Sequence[tuple[np.ndarray, range]], steps: int) -> Moments:
        """Sums over the windows that end at the given rows of each series."""
        channels, size = parts[0][0].shape[1], self.context + 1
        maps = 1 if self._shared else channels
        moments = Moments.zeros(maps, size, steps)
        for values, ends in parts:
            windows = self._windows(values)
            for some in pieces(np.array(ends, dtype=int), channels * (size + steps)):
                features, level = self._features(windows[some])
                after = values[some[:, None] + 1 + np.arange(steps)].transpose(0, 2, 1) - level
                features, after = (
                    array.reshape(1, -1, array.shape[-1]) if self._shared else array.swapaxes(0, 1)
                    for array in (features, after)
                )
                moments.add(features, after)
        return moments


class Linear(_LeastSquares):
    """A linear map of the window, less its mean and over its standard deviation, shared by all channels.

    The model of Zeng et al. 2023 (DLinear) in closed form, with the window's normalisation of Liu et al. 2022.
    """

    _shared = True

    def _features(self, windows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        # The map of the normalised window times its deviation; so the error is in units of the training part.
        level = windows.mean(axis=-1, keepdims=True)
        deviation = np.sqrt(windows.var(axis=-1, keepdims=True) + FLOOR)
        return np.concatenate([windows - level, deviation], axis=-1), level


class Autoregression(_LeastSquares):
    """The next row as a linear map of the window, for each channel, iterated over the horizon.

    Attributes:
        coefficients_: (channels, context) of the rows of a window, the latest first.
    """

    _shared = False

    def _steps(self) -> int:
        return 1

    def _features(self, windows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        one = np.ones_like(windows[..., :1])
        return np.concatenate([windows, one], axis=-1), np.zeros_like(one)

    def _ahead(self, weights: np.ndarray) -> np.ndarray:
        channels, size, _ = weights.shape
        # Each row as a map of the window and 1: those of the window are its parts, the later follow one by one.
        rows = np.zeros((channels, self.context + self.horizon, size))
        rows[:, : self.context, : self.context] = np.eye(self.context)
        for row in range(self.horizon):
            seen = rows[:, row : row + self.context]
            rows[:, row + self.context] = (weights[:, :-1].swapaxes(1, 2) @ seen)[:, 0]
            rows[:, row + self.context, -1] += weights[:, -1, 0]
        return rows[:, self.context :].swapaxes(1, 2)

    @property
    def coefficients_(self) -> np.ndarray:
        return self.weights_[:, -2::-1, 0]
