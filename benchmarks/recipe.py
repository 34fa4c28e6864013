"""Cross-validation of the training recipe inside the training part of JapaneseVowels; the test part is not read.

Each of five folds is trained by `Classifier` on the other four, with its own held-out validation part for selection.
"""

import numpy as np
import torch

from aaren.data.labelled import load_labelled
from aaren.tasks.classify import Classifier
from aaren.train import Recipe

CHANGES = {
    "none": {},
    "dropout 0.2": {"dropout": 0.2},
    "dropout 0.3": {"dropout": 0.3},
    "weight decay 0.1": {"recipe": Recipe(weight_decay=0.1)},
    "learning rate 2e-3": {"recipe": Recipe(learning_rate=2e-3)},
}


def main() -> None:
    torch.set_num_threads(1)
    train = load_labelled("JapaneseVowels", "train")
    order = np.random.default_rng(0).permutation(len(train.cases))
    for change, arguments in CHANGES.items():
        for layer in ("aaren", "attention"):
            accuracy, log_loss = [], []
            for number, fold in enumerate(np.array_split(order, 5)):
                rest = np.setdiff1d(order, fold)
                classifier = Classifier(layer, seed=number, **arguments)
                classifier.fit([train.cases[i] for i in rest], train.labels[rest])
                p = classifier.predict_proba([train.cases[i] for i in fold])
                target = np.searchsorted(classifier.classes_, train.labels[fold])
                accuracy.append((p.argmax(axis=1) == target).mean())
                log_loss.append(-np.log(np.maximum(p[np.arange(len(target)), target], 1e-9)).mean())
            print(f"{change}: {layer} accuracy {np.mean(accuracy):.3f}, log loss {np.mean(log_loss):.3f}", flush=True)


if __name__ == "__main__":
    main()
