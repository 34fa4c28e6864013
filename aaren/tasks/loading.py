"""Saved estimators, whatever their kind."""

from pathlib import Path

from aaren.tasks.agent import Agent
from aaren.tasks.classify import Classifier
from aaren.tasks.control import DecisionAgent
from aaren.tasks.control_baselines import CloningAgent
from aaren.tasks.events import EventForecaster
from aaren.tasks.forecast import Forecaster
from aaren.tasks.saving import kind_of


def load_estimator(folder: str | Path) -> Classifier | Forecaster | EventForecaster | Agent:
    """The estimator that `save` wrote into the folder.

    Raises:
        FileNotFoundError: there is none.
        ValueError: the files are damaged, or of something else.
    """
    kind = kind_of(Path(folder))
    for estimator in (Forecaster, EventForecaster, DecisionAgent, CloningAgent):
        if kind == estimator.file_kind:
            return estimator.load(folder)
    return Classifier.load(folder)
