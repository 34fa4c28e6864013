import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.model_selection import cross_val_score
from synthetic import waves

from aaren.layers.table import LAYERS
from aaren.tasks.classify import PRESETS, Classifier
from aaren.train import Recipe

QUICK = {"d_model": 16, "nhead": 2, "dim_feedforward": 32, "num_layers": 1}
BRIEF = Recipe(updates=120, learning_rate=5e-3, validate_every=20, warmup=10)


def classifier(layer="aaren", **more):
    return Classifier(layer, **{**QUICK, "recipe": BRIEF, **more})


@pytest.fixture(scope="module")
def fitted():
    return classifier().fit(*waves())


@pytest.mark.parametrize("layer", sorted(LAYERS))
def test_every_layer_learns_and_streams(layer):
    X, y = waves(seed=1)
    model = classifier(layer).fit(*waves())
    assert model.score(X, y) > 0.8  # the most frequent class: 0.5
    stream = model.stream()
    for t in range(X[0].shape[1]):
        pushed = stream.push(X[0][:, t]).numpy()
        np.testing.assert_allclose(pushed, model.predict_proba([X[0][:, : t + 1]])[0], atol=1e-5)


def test_padding_and_batching_do_not_matter(fitted):
    X, _ = waves(cases=70, seed=2)
    together = fitted.predict_proba(X)
    alone = np.concatenate([fitted.predict_proba([case]) for case in X])
    np.testing.assert_allclose(together, alone, atol=1e-5)
    np.testing.assert_allclose(together.sum(axis=1), 1.0, atol=1e-6)


def test_class_names_are_kept():
    X, _ = waves()
    for labels in (np.arange(60) % 3, np.array(["b", "a"] * 30), np.array([True, False] * 30)):
        model = classifier(recipe=Recipe(updates=2, validate_every=1)).fit(X, labels)
        assert model.classes_.dtype.kind == labels.dtype.kind
        assert set(model.predict(X)) <= set(labels)


def test_manners_of_scikit_learn(fitted):
    copy = clone(fitted)
    assert copy.get_params() == fitted.get_params()
    assert not hasattr(copy, "model_")
    X, y = waves(cases=30)
    scores = cross_val_score(
        classifier(recipe=Recipe(updates=5, validate_every=5)), np.stack([c[:, :10] for c in X]), y, cv=2
    )
    assert scores.shape == (2,)
    assert "Classifier(" in repr(fitted)


@pytest.mark.unchecked
def test_numbers_of_numpy_as_arguments(tmp_path):
    X, y = waves()
    model = classifier(d_model=np.int64(16), seed=np.int64(1), checkpoint=tmp_path / "c", recipe=Recipe(updates=2))
    model.fit(X, y).save(tmp_path / "model")
    assert Classifier.load(tmp_path / "model").seed == 1


def test_mixed_precision_training_leaves_a_plain_model(tmp_path):
    code = f"""
import numpy as np
from synthetic import waves
from aaren.tasks.classify import Classifier
from aaren.train import Recipe
X, y = waves()
for layer in ("aaren", "gru"):
    model = Classifier(layer, d_model=16, nhead=2, dim_feedforward=32, recipe=Recipe(updates=5)).fit(X, y)
    model.save({str(tmp_path / "model")!r})
    assert np.array_equal(Classifier.load({str(tmp_path / "model")!r}).predict_proba(X), model.predict_proba(X))
"""
    env = os.environ | {"ACCELERATE_MIXED_PRECISION": "bf16", "PYTHONPATH": str(Path(__file__).parent.parent)}
    subprocess.run([sys.executable, "-c", code], env=env, check=True)


def test_same_seed_same_model_and_the_test_of_another():
    X, y = waves()
    brief = Recipe(updates=10, validate_every=5)
    a, b, c = (classifier(seed=seed, recipe=brief).fit(X, y).predict_proba(X) for seed in (0, 0, 1))
    assert np.array_equal(a, b)
    assert not np.array_equal(a, c)


def test_scaling_is_that_of_the_training_part():
    # A validation part with other statistics must not reach the scaling.
    X, y = waves()
    model = classifier(recipe=Recipe(updates=1, validate_every=1)).fit(X, y)
    from aaren.data.labelled import check_cases, hold_out

    train, _ = hold_out(np.searchsorted(model.classes_, y), 0.2, 0)
    samples = np.concatenate([check_cases(X)[i] for i in train], axis=1)
    np.testing.assert_allclose(model.model_.mean.numpy(), samples.mean(axis=1), rtol=1e-5)
    np.testing.assert_allclose(model.model_.scale.numpy(), samples.std(axis=1), rtol=1e-5)


def test_a_constant_channel_is_no_trouble():
    X, y = waves()
    X = [np.concatenate([case, np.full((1, case.shape[1]), 0.1)]) for case in X]
    model = classifier().fit(X, y)
    assert model.score(X, y) > 0.8
    assert model.model_.scale[-1] == 1.0  # 0.1 is not exact in float32: its deviation is rounding, not 0


def test_save_and_load(fitted, tmp_path):
    X, _ = waves(seed=3)
    fitted.save(tmp_path / "model")
    assert sorted(path.name for path in (tmp_path / "model").iterdir()) == ["config.json", "model.safetensors"]
    loaded = Classifier.load(tmp_path / "model")
    assert np.array_equal(loaded.predict_proba(X), fitted.predict_proba(X))
    assert loaded.get_params() == fitted.get_params()
    assert loaded.classes_.tolist() == fitted.classes_.tolist()


def test_a_damaged_model_is_refused(fitted, tmp_path):
    with pytest.raises(FileNotFoundError, match="must exist"):
        Classifier.load(tmp_path / "nowhere")
    folder = tmp_path / "model"
    fitted.save(folder)
    weights, config = (folder / "model.safetensors").read_bytes(), (folder / "config.json").read_text()
    (folder / "model.safetensors").write_bytes(weights[:1000])
    with pytest.raises(ValueError, match="must be a whole safetensors file"):
        Classifier.load(folder)
    (folder / "model.safetensors").write_bytes(weights)
    (folder / "config.json").write_text("{")
    with pytest.raises(ValueError, match=r"config.json' must be JSON"):
        Classifier.load(folder)
    (folder / "config.json").write_text(json.dumps(json.loads(config) | {"channels": 4}))
    with pytest.raises(ValueError, match="must belong together"):
        Classifier.load(folder)
    (folder / "config.json").unlink()
    with pytest.raises(FileNotFoundError):
        Classifier.load(folder)


def test_a_failed_save_leaves_nothing(fitted, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space left"):
        fitted.save(tmp_path / "model")
    assert list((tmp_path / "model").iterdir()) == []


def test_training_goes_on_from_its_checkpoint(tmp_path, monkeypatch):
    X, y = waves()
    expected = classifier(seed=5).fit(X, y)
    file = tmp_path / "checkpoint"
    interrupted = classifier(seed=5, checkpoint=file)
    from aaren.tasks import classify

    calls = iter(range(10**6))

    def loss(*arguments):
        if next(calls) == 70:  # updates and validations
            raise KeyboardInterrupt
        return original(*arguments)

    original = classify._loss
    monkeypatch.setattr(classify, "_loss", loss)
    with pytest.raises(KeyboardInterrupt):
        interrupted.fit(X, y)
    assert not hasattr(interrupted, "model_")
    monkeypatch.setattr(classify, "_loss", original)
    assert file.exists()
    with pytest.raises(ValueError, match="checkpoint must be of this run"):
        classifier(seed=6, checkpoint=file).fit(X, y)
    with pytest.raises(ValueError, match="checkpoint must be of this run"):
        classifier("gru", seed=5, checkpoint=file).fit(X, y)
    with pytest.raises(ValueError, match="checkpoint must be of this run"):
        classifier(seed=5, checkpoint=file).fit(X, y[::-1])
    resumed = interrupted.fit(X, y)
    assert np.array_equal(resumed.predict_proba(X), expected.predict_proba(X))
    assert resumed.training_ == expected.training_
    again = interrupted.fit(X, y)  # a finished run: nothing is trained anew
    assert np.array_equal(again.predict_proba(X), expected.predict_proba(X))


def test_many_streams(fitted):
    X, _ = waves(seed=4)
    keyed = fitted.keyed_stream()
    for t in range(5):
        pushed = keyed.push({number: case[:, t] for number, case in enumerate(X)})
    expected = fitted.predict_proba([case[:, :5] for case in X])
    np.testing.assert_allclose(np.stack([pushed[number].numpy() for number in range(len(X))]), expected, atol=1e-5)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda m: Classifier("arren").fit(*waves()), "layer must be one of aaren, .* did you mean 'aaren'"),
        (lambda m: Classifier(validation=1.5).fit(*waves()), "validation must lie between 0 and 1, got 1.5"),
        (lambda m: Classifier().fit(waves()[0], ["a"] * 60), "y must have at least two classes"),
        (lambda m: Classifier().fit(waves()[0], ["a", "b"]), "y must have one label for each of the 60 cases"),
        (lambda m: Classifier(seed=-1).fit(*waves()), "seed must be at least 0, got -1"),
        (
            lambda m: Classifier(dict).fit(*waves()),  # pyright: ignore[reportArgumentType]
            "layer must be a name in LAYERS",
        ),
        (
            lambda m: Classifier(recipe=100).fit(*waves()),  # pyright: ignore[reportArgumentType]
            "recipe must be an aaren.train.Recipe, got 100",
        ),
        (
            lambda m: Classifier().fit(waves()[0], None),
            r"y must have one label for each of the 60 cases, got shape \(\)",
        ),
        (lambda m: Classifier(nhead=7).fit(*waves()), "d_model must be a positive multiple of nhead"),
        (lambda m: Classifier().predict(waves()[0]), "Classifier must be fitted first"),
        (lambda m: Classifier().stream(), "Classifier must be fitted first"),
        (lambda m: m.predict([np.zeros((4, 9))]), "X must have 3 channels in every case, got 4 in case 0"),
        (lambda m: m.stream().push([0.0, np.nan, 0.0]), "x must be finite"),
        (lambda m: m.stream().push([0.0, 0.0]), r"x must have shape \(batch, time >= 1, 3\)"),
    ],
)
@pytest.mark.unchecked
def test_bad_input_names_the_argument(fitted, call, message):
    with pytest.raises(ValueError, match=message) as error:
        call(fitted)
    assert "\n" not in str(error.value)


def test_presets_are_arguments():
    for preset in PRESETS.values():
        assert set(preset) <= set(Classifier().get_params())


def test_digits_that_float32_would_lose_are_not_lost_silently():
    X, y = waves()
    far = [np.asarray(case, dtype=np.float64) + 5e6 for case in X]
    with pytest.raises(
        ValueError, match=r"X must have digits that float32 can hold, got a mean of 5e\+06 .* channel 0"
    ):
        classifier(recipe=Recipe(updates=1)).fit(far, y)
    constant = [np.concatenate([case, np.full_like(case[:1], 5e6)]) for case in far]
    near = [case - np.array([[5e6]] * len(case[:-1]) + [[0.0]]) for case in constant]
    classifier(recipe=Recipe(updates=1)).fit(near, y)
