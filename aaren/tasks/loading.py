"""Saved estimators, whatever their kind."""

from pathlib import Path

from aaren.tasks.classify import Classifier
from aaren.tasks.forecast import KIND, Forecaster
from aaren.tasks.saving import kind_of


def load_estimator(folder: str | Path) -> Classifier | Forecaster:
    """The estimator that `save` wrote into the folder.

    Raises:
        FileNotFoundError: there is none.
        ValueError: the files are damaged, or of something else.
    """
    return Forecaster.load(folder) if kind_of(Path(folder)) == KIND else Classifier.load(folder)
