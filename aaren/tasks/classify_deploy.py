"""A classifier as it is exported."""

import numpy as np
import torch
from torch import Tensor

from aaren.export.one_token import Deployment, ModelStep, Port
from aaren.models.classifier import SequenceClassifier


def deploy_classifier(model: SequenceClassifier, classes: np.ndarray, dtype: torch.dtype) -> Deployment:
    """Samples in, class probabilities out.

    Args:
        model: the network.
        classes: their names.
        dtype: precision of accumulating sums.

    Raises:
        ValueError: the state of the model grows.
    """
    mean, scale = model.mean.numpy(force=True), model.scale.numpy(force=True)

    def draw(random: np.random.Generator, rows: int, number: int) -> list[np.ndarray]:
        return [(mean + scale * random.normal(size=(rows, len(mean)))).astype(np.float32)]

    return Deployment(
        ModelStep(model, dtype, _softmax),
        (Port("x", (len(mean),), torch.float32, "sample, in the units of the data"),),
        (Port("probabilities", (len(classes),), torch.float32, "of each class, given all samples so far"),),
        draw,
        "classification",
        {"classes": classes.tolist()},
    )


def _softmax(logits: Tensor) -> Tensor:
    return logits.softmax(dim=-1)
