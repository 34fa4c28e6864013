"""Classification of sequences: the estimator `Classifier`."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.base import ClassifierMixin
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from aaren.data.labelled import LabelledBatch, check_cases, check_labels, collate, hold_out
from aaren.export.one_token import Deployment
from aaren.models.classifier import SequenceClassifier
from aaren.shapes import unless_empty
from aaren.stream import KeyedStream, Stream
from aaren.tasks.classify_deploy import deploy_classifier
from aaren.tasks.estimator import NetworkEstimator
from aaren.train import Recipe, fit

PRESETS: dict[str, dict[str, Any]] = {
    "small": {"d_model": 64, "nhead": 4, "dim_feedforward": 128, "num_layers": 2, "recipe": Recipe()},
    "paper": {"d_model": 128, "nhead": 8, "dim_feedforward": 256, "num_layers": 3, "recipe": Recipe(updates=5000)},
}
"""Arguments of `Classifier`, the same for every layer. `paper` has the sizes of Feng et al.'s base code."""


FLOAT32 = float(np.finfo(np.float32).eps)


class Classifier(ClassifierMixin, NetworkEstimator):
    """Classifies sequences, at their end or after every sample of them.

    Args:
        layer: a name in `LAYERS`.
        d_model, nhead, dim_feedforward, num_layers, dropout: size of the model, see `SequenceClassifier`.
        recipe: how it is trained.
        validation: share of each class held out of the training data for model selection and early stopping.
        seed: of the weights, the validation part, the batches and the dropout.
        checkpoint: a file in which training is kept at each validation, to go on from if it is interrupted.
        progress: show a progress bar on standard error.

    Attributes:
        classes_: the class names, sorted, of the kind that `fit` was given.
        channels_: numbers in a sample.
        model_: the network, with the weights of the best validation loss.
        training_: what training did, see `aaren.train.Fitted` (not after `load`).
        validation_accuracy_: of those weights, on the part held out.

    X is an array (cases, channels, time) or a list of arrays (channels, time_i), as in aeon. Prototype of the protocol:
    Wu et al. 2023 with the defects that `docs/classification.md` lists removed.
    """

    file_kind = "aaren classifier"

    def __init__(
        self,
        layer: str = "aaren",
        *,
        d_model: int = 64,
        nhead: int = 4,
        dim_feedforward: int = 128,
        num_layers: int = 2,
        dropout: float = 0.1,
        recipe: Recipe = Recipe(),  # noqa: B008 (frozen)
        validation: float = 0.2,
        seed: int = 0,
        checkpoint: str | Path | None = None,
        progress: bool = False,
    ):
        self.layer = layer
        self.d_model = d_model
        self.nhead = nhead
        self.dim_feedforward = dim_feedforward
        self.num_layers = num_layers
        self.dropout = dropout
        self.recipe = recipe
        self.validation = validation
        self.seed = seed
        self.checkpoint = checkpoint
        self.progress = progress

    def fit(self, X: Any, y: Any) -> "Classifier":
        """Trains on cases X with labels y.

        Raises:
            ValueError: bad arguments, see `check_cases` and `check_labels`; a checkpoint of another run.
            OSError: the checkpoint cannot be written.
        """
        self._check_layer()
        if not 0 < self.validation < 1:
            raise ValueError(f"validation must lie between 0 and 1, got {self.validation}")
        if self.seed < 0:
            raise ValueError(f"seed must be at least 0, got {self.seed}")
        cases = check_cases(X)
        labels = check_labels(y, cases)
        classes, target = np.unique(labels, return_inverse=True)
        train, held = hold_out(target, self.validation, self.seed)
        samples = np.concatenate([cases[i] for i in train], axis=1).astype(np.float64)
        mean, scale = samples.mean(axis=1), samples.std(axis=1)
        if any(case.dtype == np.float64 for case in cases):
            lost = (FLOAT32 * np.abs(mean) > 1e-3 * scale) & (scale > 1e-9 * np.abs(mean))
            if lost.any():
                which = int(lost.argmax())
                raise ValueError(
                    f"X must have digits that float32 can hold, got a mean of {mean[which]:g} and a spread of "
                    f"{scale[which]:g} in channel {which}; subtract the mean first"
                )
        scale = np.where(scale > 1e-6 * np.abs(mean), scale, 1.0)  # a constant channel differs by rounding only
        model = self._build(cases[0].shape[0], len(classes))
        model.standardise(torch.from_numpy(mean), torch.from_numpy(scale))

        size = self.recipe.batch_size
        batches_in_epoch = -(-len(train) // size)

        def batch(number: int) -> LabelledBatch:
            epoch, position = divmod(number, batches_in_epoch)
            order = np.random.default_rng((self.seed, epoch)).permutation(train)
            chosen = order[position * size : (position + 1) * size]
            return collate([cases[i] for i in chosen], target[chosen])

        def validate(model: nn.Module, device: torch.device) -> float:
            chosen = collate([cases[i] for i in held], target[held]).to(device)
            return _loss(model, chosen).item()

        checkpoint = None if self.checkpoint is None else Path(self.checkpoint)
        training = fit(
            model,
            batch,
            _loss,
            validate,
            self.recipe,
            seed=self.seed,
            checkpoint=checkpoint,
            run="" if checkpoint is None else self._run([labels.tolist(), *cases]),
            progress=self.progress,
        )
        self.classes_ = classes
        self.channels_ = cases[0].shape[0]
        self.model_ = model
        self.training_ = training
        self.validation_accuracy_ = float(self.score([cases[i] for i in held], labels[held]))
        return self

    @torch.inference_mode()
    def predict_proba(self, X: Any) -> np.ndarray:
        """Class probabilities (cases, classes), classes in the order of `classes_`."""
        self._check_fitted()
        cases = check_cases(X, self.channels_)
        device = next(self.model_.parameters()).device
        parts = []
        for start in range(0, len(cases), 64):
            chosen = cases[start : start + 64]
            parts.append(_at_end(self.model_, collate(chosen, [0] * len(chosen)).to(device)).softmax(dim=-1))
        return torch.cat(parts).double().cpu().numpy()

    def predict(self, X: Any) -> np.ndarray:
        """Most probable classes (cases,)."""
        probabilities = self.predict_proba(X)
        return self.classes_[probabilities.argmax(axis=1)]

    def stream(self, batch_size: int = 1, *, dtype: torch.dtype = torch.float64) -> Stream:
        """A live stream: `push(sample)` gives the class probabilities of all samples so far, in constant memory (with
        the layer `attention` in growing memory). Equal to `predict_proba` of the prefix."""
        self._check_fitted()
        return Stream(self.model_, batch_size, dtype=dtype, readout=_softmax)

    def keyed_stream(self, *, dtype: torch.dtype = torch.float64) -> KeyedStream:
        """Many live streams, by key."""
        self._check_fitted()
        return KeyedStream(self.model_, dtype=dtype, readout=_softmax)

    def deployment(self, dtype: torch.dtype = torch.float64) -> Deployment:
        """The one-token call as `aaren.export` takes it; `dtype` is the precision of accumulating sums.

        Raises:
            ValueError: the state of the layer grows.
        """
        self._check_fitted()
        return deploy_classifier(self.model_, self.classes_, dtype)

    def _learned(self) -> dict[str, Any]:
        return {
            "classes": self.classes_.tolist(),
            "channels": self.channels_,
            "validation_accuracy": self.validation_accuracy_,
        }

    def _recall(self, learned: Mapping[str, Any]) -> nn.Module:
        self.classes_ = np.array(learned["classes"])
        self.channels_, self.validation_accuracy_ = learned["channels"], learned["validation_accuracy"]
        return self._build(self.channels_, len(self.classes_))

    def _build(self, channels: int, classes: int) -> SequenceClassifier:
        with torch.random.fork_rng():
            torch.manual_seed(int(self.seed))
            return SequenceClassifier(
                channels,
                classes,
                d_model=self.d_model,
                nhead=self.nhead,
                dim_feedforward=self.dim_feedforward,
                num_layers=self.num_layers,
                layer=self.layer,
                dropout=self.dropout,
            )


def _at_end(model: nn.Module, batch: LabelledBatch) -> Tensor:
    """Logits after the last sample of each case."""
    logits, _ = model(batch.x, padding_mask=unless_empty(batch.padding_mask))
    last = (~batch.padding_mask).sum(dim=1) - 1
    return logits[torch.arange(len(last), device=logits.device), last]


def _loss(model: nn.Module, batch: LabelledBatch) -> Tensor:
    return cross_entropy(_at_end(model, batch), batch.target)


def _softmax(logits: Tensor) -> Tensor:
    return logits.softmax(dim=-1)
