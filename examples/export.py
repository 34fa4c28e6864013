"""A classifier from training to a device: export, then a stream without PyTorch's hand in it.

Run it with: python examples/export.py (needs the extras `tasks` and `export`, and a C compiler for the last part)
"""

import tempfile
from pathlib import Path

import numpy as np

from aaren import Classifier, Session
from aaren.export.files import export_model
from aaren.export.int8 import round_weights
from aaren.train import Recipe

random = np.random.default_rng(0)
time = np.arange(40)
labels = np.array(["slow", "fast"] * 30)
cases = [
    np.sin(time * (0.3 if label == "slow" else 0.6) + random.uniform(0, 6))[None] + 0.2 * random.normal(size=(1, 40))
    for label in labels
]
classifier = Classifier(d_model=32, nhead=4, recipe=Recipe(updates=60)).fit(cases, labels)

with tempfile.TemporaryDirectory() as folder:
    # One ONNX file: scaling, network and softmax, with the state among its inputs and outputs.
    onnx = export_model(classifier.deployment(), Path(folder) / "waves.onnx", "onnx")
    session, stream = Session(onnx.path), classifier.stream()
    for sample in cases[0].T:
        probabilities = session.push(sample)["probabilities"]
        assert np.allclose(probabilities, stream.push(sample), atol=1e-5)
    best = int(probabilities.argmax())
    print(f"{session.about['classes'][best]} with {probabilities[best]:.2f}; state {session.nbytes} bytes")

    # The same in C, for a microcontroller, with a byte for each weight of a matrix.
    c = export_model(round_weights(classifier.deployment()), Path(folder) / "waves.c", "c")
    print(f"in C: {c.memory['flash']:,} bytes of constants, {c.state_bytes + c.memory['scratch']:,} bytes of memory")
