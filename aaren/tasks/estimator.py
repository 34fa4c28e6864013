"""What estimators of all tasks have in common: a network, trained by a recipe and kept in a folder."""

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import numpy as np
from sklearn.base import BaseEstimator
from torch import nn

from aaren.layers.table import find_layer
from aaren.tasks.saving import load_model, plain, save_model
from aaren.train import Recipe

Estimator = TypeVar("Estimator", bound="NetworkEstimator")


class NetworkEstimator(BaseEstimator, ABC):
    """Base of `Classifier`, `Forecaster`, `EventForecaster` and `DecisionAgent`.

    Attributes:
        model_: the network, once fitted.
    """

    file_kind: ClassVar[str]
    """what a folder of it says it holds"""

    layer: str
    recipe: Any
    model_: Any

    def save(self, folder: str | Path) -> None:
        """Writes `model.safetensors` and `config.json`; neither unless both could be written. Raises OSError."""
        self._check_fitted()
        arguments = {name: getattr(self, name) for name in self._get_param_names()} | {"checkpoint": None}
        save_model(folder, self.file_kind, {"arguments": arguments, **self._learned()}, self.model_.state_dict())

    @classmethod
    def load(cls: type[Estimator], folder: str | Path) -> Estimator:
        """One that `save` wrote.

        Raises:
            FileNotFoundError: there is none.
            ValueError: the files are damaged, or of something else.
        """
        config, weights = load_model(folder, cls.file_kind)
        self = cls(**cls._arguments({name: tuples(value) for name, value in config["arguments"].items()}))
        model: Any = self._recall(config)
        try:
            model.load_state_dict(weights)
        except RuntimeError as error:
            reason = " ".join(str(error).split())
            raise ValueError(
                f"folder must hold the weights of such a model, got others in {folder}: {reason}"
            ) from None
        self.model_ = model.eval()
        return self

    @abstractmethod
    def _learned(self) -> dict[str, Any]:
        """What `fit` learned beside the weights, as JSON knows it."""

    @abstractmethod
    def _recall(self, learned: Mapping[str, Any]) -> nn.Module:
        """Takes it back, and returns a network for the weights."""

    @classmethod
    def _arguments(cls, saved: dict[str, Any]) -> dict[str, Any]:
        """Arguments as they were before JSON."""
        return saved | {"recipe": saved["recipe"] and Recipe(**saved["recipe"])}

    def _recipe(self) -> Any:
        return self.recipe

    def _run(self, data: Iterable[Any]) -> str:
        """What a checkpoint must agree with: the arguments and the data, arrays and others."""
        digest = hashlib.sha256()
        for one in data:
            numbers = isinstance(one, np.ndarray) and not one.dtype.hasobject
            digest.update(repr((one.shape, one.dtype.str)).encode() + one.tobytes() if numbers else repr(one).encode())
        arguments = {n: getattr(self, n) for n in self._get_param_names() if n not in ("checkpoint", "progress")}
        run = arguments | {"recipe": asdict(self._recipe()), "data": digest.hexdigest()}
        return json.dumps(run, sort_keys=True, default=plain)

    def _check_layer(self) -> None:
        """Raises ValueError if there is no such layer, or what trains it is no recipe."""
        if not isinstance(self.layer, str):
            raise ValueError(f"layer must be a name in LAYERS, got {self.layer!r}")
        find_layer(self.layer)
        self._check_recipe()

    def _check_recipe(self) -> None:
        """Raises ValueError if it is none."""
        if not isinstance(self._recipe(), Recipe):
            raise ValueError(f"recipe must be an aaren.train.Recipe, got {self.recipe!r}")

    def _check_fitted(self) -> None:
        if not hasattr(self, "model_"):
            name = type(self).__name__
            raise ValueError(f"{name} must be fitted first, got one without a model; call fit or load(folder)")


def tuples(value: Any) -> Any:
    """Lists, which JSON makes of tuples, as tuples again."""
    return tuple(map(tuples, value)) if isinstance(value, list) else value
