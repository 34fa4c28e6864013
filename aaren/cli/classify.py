"""`aaren classify`: train and measure one classifier."""

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Literal

from aaren.cli.results import check_results, checkpoint, remove_checkpoints
from aaren.comparison import Comparison, Metric
from aaren.files import check_writable

Preset = Literal["small", "paper"]

CLASSIFY = Comparison(
    task="classify",
    rows=("data",),
    column="layer",
    metrics=(Metric("accuracy", "test accuracy", higher_is_better=True, averaged=True),),
)
"""How results of `Classify` are read."""


@dataclass(frozen=True)
class Classify:
    """Train a classifier on a data set's training part and measure it on its test part, once.

    The model is selected on a validation part cut from the training part. Writes OUT/model (for `aaren stream` and
    `Classifier.load`) and OUT/result.json. Interrupted with Ctrl-C, the same command goes on where it was.

    Example: aaren classify --data JapaneseVowels --layer aaren --out results/vowels
    """

    data: str
    """name in the UEA or UCR archive, or a folder with one *_TRAIN.ts and one *_TEST.ts"""
    out: Path
    """folder for results"""
    layer: str = "aaren"
    """aaren, aaren_decay, aaren_gated, attention, gru, lstm, mingru or minlstm"""
    preset: Preset = "small"
    """size and training: small (a minute on one core) or paper (the published sizes)"""
    seed: int = 0
    """of weights, validation part, batches and dropout"""
    updates: int | None = None
    """most updates of the weights; by default the preset's"""

    modules: ClassVar[tuple[str, ...]] = ("aaren.tasks.classify", "aeon.datasets.tsc_datasets", "sklearn.metrics")
    """what `run` imports and takes long to"""

    def run(self, progress: bool = True) -> None:
        """Trains, measures, writes; `progress` shows a bar meanwhile."""
        import numpy as np
        import torch

        from aaren.bench import Cost, environment, stream_cost
        from aaren.data.labelled import load_train_and_test
        from aaren.files import write_folder
        from aaren.layers.table import find_layer
        from aaren.tasks.classify import PRESETS, Classifier
        from aaren.train import Recipe

        find_layer(self.layer)
        train, test = load_train_and_test(self.data)
        check_writable(self.out)
        check_results(self.out, self.settings())
        arguments: dict[str, Any] = dict(PRESETS[self.preset])
        if self.updates is not None:
            arguments["recipe"] = replace(arguments["recipe"], updates=self.updates)
        classifier = Classifier(
            self.layer, seed=self.seed, checkpoint=checkpoint(self.out), progress=progress, **arguments
        )
        # A first update in every process loads libraries and kernels: no cost of this model.
        brief: dict[str, Any] = arguments | {"recipe": Recipe(updates=1)}
        Classifier(self.layer, **brief).fit(train.cases, train.labels)
        with Cost() as cost:
            classifier.fit(train.cases, train.labels)
        accuracy = float(classifier.score(test.cases, test.labels))
        classifier.save(self.out / "model")
        samples = torch.from_numpy(np.concatenate(test.cases, axis=1).T)
        result = self.settings() | {
            "accuracy": accuracy,
            "validation_accuracy": classifier.validation_accuracy_,
            "parameters": sum(p.numel() for p in classifier.model_.parameters()),
            "updates": classifier.training_.updates,
            "best_update": classifier.training_.best_update,
            "train_seconds": classifier.training_.seconds,
            "peak_memory_bytes": cost.peak_bytes,
            **stream_cost(classifier.stream(), samples),
            **environment(),
        }
        write_folder(self.out, {"result.json": json.dumps(result, indent=2).encode()})
        remove_checkpoints(self.out)
        print(
            f"{self.layer} on {self.data}, preset {self.preset}, seed {self.seed}: test accuracy {accuracy:.3f} "
            f"(validation {classifier.validation_accuracy_:.3f}), {result['parameters']:,} parameters, "
            f"{result['updates']} updates in {result['train_seconds']:.1f} s"
        )

    def settings(self) -> dict[str, Any]:
        """What a result must agree with to be this command's."""
        same = {name: getattr(self, name) for name in ("data", "layer", "preset", "seed")}
        return {"task": "classify", **same, "most_updates": self.updates}  # a result has those made as `updates`
