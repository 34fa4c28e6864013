"""Models in ONNX, run by `aaren_runtime`: the same results as the streams of this package."""

import json

import numpy as np
import onnx
import pandas
import pytest
import torch
from aaren_runtime import KeyedSession, Session
from onnx.external_data_helper import set_external_data

from aaren import Encoder, EventForecaster, Forecaster
from aaren.data.series import Roles
from aaren.export.check import largest_difference
from aaren.export.files import export_model
from aaren.export.int8 import round_weights
from aaren.export.one_token import deploy_layer
from aaren.export.onnx_file import onnx_bytes
from aaren.train import Recipe

pytestmark = pytest.mark.unchecked


def pusher(session, deployment):
    names = [port.name for port in deployment.inputs]
    return lambda inputs: list(session.push(inputs[0], **dict(zip(names[1:], inputs[1:], strict=True))).values())


def same(state, other):
    equal = (np.array_equal(leaf, other[name], equal_nan=leaf.dtype.kind == "f") for name, leaf in state.items())
    return state.keys() == other.keys() and all(equal)


@pytest.fixture(scope="session")
def vowels(classifier, tmp_path_factory):
    path = tmp_path_factory.mktemp("onnx") / "vowels.onnx"
    export_model(classifier.deployment(), path, "onnx")
    return path


@pytest.fixture(scope="session")
def samples():
    return (5 + 3 * np.random.default_rng(1).normal(size=(40, 2))).astype(np.float32)


@pytest.mark.parametrize("rows", [1, 5])
def test_every_layer_is_the_same_in_onnx(encoder, rows, tmp_path):
    deployment = deploy_layer(encoder)
    path = tmp_path / "layer.onnx"
    path.write_bytes(onnx_bytes(deployment))
    push = pusher(Session(path, rows), deployment)
    assert largest_difference(deployment, push, rows=rows, steps=100) < 2e-6


@pytest.mark.parametrize("layer", ["aaren", "aaren_decay", "mingru", "minlstm"])
def test_in_double_precision_it_is_the_same_to_rounding(layer, tmp_path):
    """Of the layers whose operators ONNX Runtime has in double precision (GRU, LSTM and Softplus it has not)."""
    deployment = deploy_layer(Encoder(2, 16, 2, 32, layer=layer).eval().double())
    (tmp_path / "layer.onnx").write_bytes(onnx_bytes(deployment))
    push = pusher(Session(tmp_path / "layer.onnx"), deployment)
    assert largest_difference(deployment, push, steps=100) < 1e-12


def test_the_file_has_plain_operators_and_says_what_it_is(vowels):
    model = onnx.load(vowels)
    assert {node.domain for node in model.graph.node} <= {"", "ai.onnx"}
    assert not {"Loop", "Scan", "If"} & {node.op_type for node in model.graph.node}
    assert not model.functions
    said = json.loads(model.metadata_props[0].value)
    assert (said["task"], said["about"]) == ("classification", {"classes": ["high", "low"]})
    assert said["versions"].keys() == {"aaren", "torch", "python"}
    assert all(not node.metadata_props and not node.doc_string for node in model.graph.node)


def test_a_classifier_streams_as_here(classifier, vowels, samples):
    session, stream = Session(vowels), classifier.stream()
    for sample in samples:
        got = session.push(sample)["probabilities"]
        np.testing.assert_allclose(got, stream.push(sample), atol=1e-6)
    assert (session.steps, session.batch_size, session.nbytes) == (40, 1, stream.nbytes)
    assert session.task == "classification"
    assert session.about["classes"] == ["high", "low"]
    assert [(port.name, port.shape) for port in session.outputs] == [("probabilities", (2,))]
    assert "state.positions" in {leaf.name for leaf in session.leaves}


def test_a_forecaster_streams_as_here(forecaster, rows, tmp_path):
    done = export_model(forecaster.deployment(), tmp_path / "load.onnx", "onnx")
    assert done.bytes == (tmp_path / "load.onnx").stat().st_size
    assert done.difference < 1e-6
    session, stream = Session(done.path), forecaster.stream(static=[2.0])
    for row, future, inputs in rows:
        given = {name: value for name, value in inputs.items() if name != "values"}
        got = session.push(inputs["values"], **given | {"time": np.datetime64(row["date"])})["forecast"]
        np.testing.assert_allclose(got, stream.push(row, future=future), atol=1e-4)
    with pytest.raises(ValueError, match="time must be later than that of the row before"):
        session.push(rows[0][2]["values"], **{n: v for n, v in rows[0][2].items() if n != "values"})
    with pytest.raises(
        ValueError, match=r"time must be dates such as 2024-03-01, or seconds since 1970, got \['noon'\]"
    ):
        session.push(inputs["values"], **given | {"time": "noon"})
    with pytest.raises(ValueError, match="known must be finite, got"):
        session.push(inputs["values"], **given | {"known": [np.nan]})


def test_rows_of_a_batch_and_resets(vowels, classifier, samples):
    session, stream = Session(vowels, 3), classifier.stream(3)
    for number in range(10):
        batch = samples[number : number + 3]
        if number == 5:
            session.reset([1])
            stream.reset([1])
        np.testing.assert_allclose(session.push(batch)["probabilities"], stream.push(batch), atol=1e-6)
    session.reset()
    assert session.steps == 0
    np.testing.assert_allclose(
        session.push(samples[:3])["probabilities"], classifier.stream(3).push(samples[:3]), atol=1e-6
    )


def test_keyed_streams_are_as_here(vowels, classifier, samples, tmp_path):
    session, stream = KeyedSession(vowels), classifier.keyed_stream()
    random = np.random.default_rng(0)
    for number in range(20):
        keys = [str(key) for key in random.choice(6, size=3, replace=False)]
        tokens = dict.fromkeys(keys, samples[number])
        got, expected = session.push(tokens), stream.push(tokens)
        for key in keys:
            np.testing.assert_allclose(got[key]["probabilities"], expected[key], atol=1e-6)
        if number == 12:
            gone = keys[0]
            session.drop(gone)
            stream.drop(gone)
            assert gone not in session
    assert set(session.keys) == set(stream.keys)
    assert len(session) == len(stream)
    session.snapshot(tmp_path / "keyed.npz")
    again = KeyedSession(vowels)
    again.restore(tmp_path / "keyed.npz")
    tokens = dict.fromkeys(session.keys, samples[0]) | {"new": samples[1]}
    for key, outputs in session.push(tokens).items():
        np.testing.assert_array_equal(outputs["probabilities"], again.push({key: tokens[key]})[key]["probabilities"])
    assert session.push({}) == {}
    assert session.nbytes > 0
    with pytest.raises(KeyError):
        session.drop(["never"])
    with pytest.raises(ValueError, match="tokens must map keys to tokens, got list"):
        session.push([samples[0]])  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="must have a value for every key pushed, got none for 'a'"):
        session.push({"a": samples[0]}, elapsed={})
    session.push({(1, 2): samples[0]})
    with pytest.raises(ValueError, match=r"keys must be strings or numbers to be saved, got \(1, 2\)"):
        session.snapshot(tmp_path / "keyed.npz")


def test_snapshots_go_on_exactly_and_belong_to_their_model(vowels, samples, tmp_path):
    session = Session(vowels)
    for sample in samples[:20]:
        session.push(sample)
    session.snapshot(tmp_path / "state.npz")
    again = Session(vowels, 4)
    again.restore(tmp_path / "state.npz")
    assert (again.steps, again.batch_size) == (20, 1)
    np.testing.assert_array_equal(session.push(samples[20])["probabilities"], again.push(samples[20])["probabilities"])
    other = tmp_path / "other.onnx"
    other.write_bytes(onnx_bytes(deploy_layer(Encoder(1, 8, 2, 8).eval())))
    with pytest.raises(ValueError, match="must be a snapshot of this model, got one of another"):
        Session(other).restore(tmp_path / "state.npz")
    with pytest.raises(ValueError, match="must be a snapshot of kind 'aaren keyed session'"):
        KeyedSession(vowels).restore(tmp_path / "state.npz")


def test_bytes_for_weights_make_a_small_file_of_the_same_outputs(tmp_path):
    deployment = deploy_layer(Encoder(2, 64, 4, 128).eval())
    whole = export_model(deployment, tmp_path / "whole.onnx", "onnx")
    small = export_model(round_weights(deployment), tmp_path / "small.onnx", "onnx")
    assert small.bytes < 0.4 * whole.bytes
    assert small.difference < 1e-6


@pytest.mark.parametrize(
    ("x", "message"),
    [
        ([1.0], r"x must have shape \(1, 2\), got \(1, 1\)"),
        ([1.0, np.inf], "x must be finite, got"),
        ([1.0, np.nan], "x must be finite, got"),
        (["a", "b"], "x must be numbers, got"),
        ([1.0, 2j], "x must be numbers, got"),
    ],
)
def test_bad_samples_leave_the_state_as_it_was(vowels, x, message):
    session = Session(vowels)
    session.push([1.0, 2.0])
    before, steps = session.state, session.steps
    with pytest.raises(ValueError, match=message):
        session.push(x)
    assert session.steps == steps
    assert same(session.state, before)


def test_other_bad_arguments(vowels, tmp_path):
    session = Session(vowels, 2)
    with pytest.raises(ValueError, match=r"x must have shape \(2, 2\), got \(2,\)"):
        session.push([1.0, 2.0])
    with pytest.raises(ValueError, match="inputs must be x, got 'y'"):
        session.push([[1.0, 2.0]] * 2, y=1)
    with pytest.raises(ValueError, match="batch_size must be at least 1, got 0"):
        Session(vowels, 0)
    with pytest.raises(ValueError, match="format must be one of onnx, executorch, c, got 'tflite'"):
        export_model(None, tmp_path / "x", "tflite")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="path must be a file, got the folder"):
        export_model(None, tmp_path, "onnx")  # type: ignore[arg-type]


class _Malicious:
    """Writes a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


def test_bad_model_files_are_refused_in_one_line(vowels, tmp_path):
    content, path = vowels.read_bytes(), tmp_path / "bad.onnx"

    def refused(data):
        path.write_bytes(data)
        with pytest.raises(ValueError, match="must be") as caught:
            Session(path)
        assert "\n" not in str(caught.value)
        return str(caught.value)

    for size in (0, 1, 100, len(content) // 2, len(content) - 10):
        refused(content[:size])
    torch.save({"x": _Malicious(tmp_path / "executed")}, tmp_path / "pickle.onnx")
    refused((tmp_path / "pickle.onnx").read_bytes())
    assert not (tmp_path / "executed").exists()
    model = onnx.load(vowels)
    said = json.loads(model.metadata_props[0].value)
    [output], leaf = said["outputs"], said["state"][0]
    for wrong in (
        *({**said, "format": 99}, {**said, "inputs": []}, {"task": "x"}, [1]),
        *({**said, "outputs": [{**output, **change}]} for change in ({"dtype": "float64"}, {"shape": [7]})),
        *({**said, "outputs": outputs} for outputs in ([], [output, output])),
        {**said, "state": [leaf, *said["state"]]},
        {**said, "inputs": [{**said["inputs"][0], "missing": "yes"}]},
    ):
        onnx.helper.set_model_props(model, {"aaren": json.dumps(wrong)})
        refused(model.SerializeToString())
    onnx.helper.set_model_props(model, {"aaren": json.dumps({**said, "format": 99})})
    assert "must be 1, got 99; export it again" in refused(model.SerializeToString())
    onnx.helper.set_model_props(model, {"other": "x"})
    assert "got an ONNX file of something else" in refused(model.SerializeToString())
    with pytest.raises(FileNotFoundError, match="model must be a file that aaren exported"):
        Session(tmp_path / "none.onnx")


@pytest.mark.parametrize("place", ["secret.bin", "{folder}/secret.bin", "../{name}/secret.bin", "*/_ORT_MEM_ADDR_/*"])
def test_a_file_whose_weights_lie_in_others_is_refused(vowels, tmp_path, monkeypatch, place):
    monkeypatch.chdir(tmp_path)
    model = onnx.load(vowels)
    weight = next(one for one in model.graph.initializer if len(one.raw_data) > 500)
    (tmp_path / "secret.bin").write_bytes(weight.raw_data)
    set_external_data(weight, place.format(folder=tmp_path, name=tmp_path.name))
    weight.ClearField("raw_data")
    (tmp_path / "names.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(ValueError, match="must be a whole ONNX file"):
        Session(tmp_path / "names.onnx")


def test_numbers_that_overflow_are_refused(forecaster, rows, tmp_path):
    session = Session(export_model(forecaster.deployment(), tmp_path / "load.onnx", "onnx").path)
    given = {name: value for name, value in rows[0][2].items() if name != "values"}
    before = session.state
    for large in (1e300, -1e18):
        with pytest.raises(ValueError, match="inputs must be of the size of the training data, got some that overflow"):
            session.push([large, 0.0], **given)
        assert same(session.state, before)
    assert np.isfinite(session.push(rows[0][2]["values"], **given)["forecast"]).all()


def test_resets_take_masks_and_name_rows_that_are_not_there(vowels, samples):
    session, again = Session(vowels, 3), Session(vowels, 3)
    for one in (session, again):
        one.push(samples[:3])
    session.reset([True, False, True])
    again.reset([0, 2])
    for name, leaf in session.state.items():
        np.testing.assert_array_equal(leaf, again.state[name])
    for rows in ([3], [-4], [1.5], [True]):
        with pytest.raises(ValueError, match="rows must be"):
            session.reset(np.array(rows))


def test_rows_left_out_are_asked_for_with_a_freq(table, tmp_path):
    roles = Roles("date", freq="1h")
    forecaster = Forecaster(horizon=2, context=8, roles=roles, recipe=Recipe(updates=1)).fit(table[["date", "wind"]])
    session = Session(export_model(forecaster.deployment(), tmp_path / "wind.onnx", "onnx").path)
    session.push([1.0], time="2024-03-01 10:00")
    several = Session(tmp_path / "wind.onnx", 2)
    several.push([[1.0], [1.0]], time=["2024-03-01 10:00"] * 2)
    with pytest.raises(ValueError, match="time must be one step, 3600, later, got 1800"):
        several.push([[1.0], [1.0]], time=["2024-03-01 11:00", "2024-03-01 10:30"])
    with pytest.raises(ValueError, match="time must be one step, 3600, later, got 7200; push rows left out as NaN"):
        session.push([1.0], time="2024-03-01 12:00")
    assert session.push([np.nan], time="2024-03-01 11:00")["forecast"].shape == (2, 1)
    for wrong in ("NaT", np.timedelta64(1, "h"), True, "20240301", "17", ["1700000000"]):
        with pytest.raises(ValueError, match="time must be"):
            session.push([1.0], time=wrong)


def test_keyed_snapshots_that_do_not_fit_are_refused(vowels, samples, tmp_path):
    session, path = KeyedSession(vowels), tmp_path / "keyed.npz"
    session.push({"a": samples[0], "b": samples[1]})
    session.snapshot(path)
    arrays = dict(np.load(path))
    said = json.loads(str(arrays.pop("about")))
    for keys in (["a"], ["a", "a"], ["a", ["b"]], None, 5):
        np.savez(path, about=np.array(json.dumps(said | {"keys": keys})), **arrays)
        with pytest.raises(ValueError, match="must name each of its streams once, got the keys"):
            session.restore(path)
    assert set(session.keys) == {"a", "b"}


def test_bad_snapshots_are_refused_in_one_line(vowels, samples, tmp_path):
    session, path = Session(vowels), tmp_path / "state.npz"
    session.push(samples[0])
    session.snapshot(path)
    content = path.read_bytes()
    altered = bytearray(content)
    altered[content.rindex(b"NUMPY") + 200] ^= 1  # within the last array
    before = session.state
    for data in (b"", content[:100], content[:-30], bytes(altered), b"no zip"):
        path.write_bytes(data)
        with pytest.raises(ValueError, match="must be a snapshot of kind 'aaren session'"):
            session.restore(path)
    np.savez(path, about=np.array([_Malicious(tmp_path / "executed")], dtype=object))
    with pytest.raises(ValueError, match="must be a snapshot of kind 'aaren session'"):
        session.restore(path)
    assert not (tmp_path / "executed").exists()
    assert same(session.state, before)
    with pytest.raises(FileNotFoundError, match="aaren session must be a file"):
        session.restore(tmp_path / "none.npz")


def test_a_full_disk_leaves_the_older_snapshot(vowels, samples, tmp_path, monkeypatch):
    session, path = Session(vowels), tmp_path / "state.npz"
    session.snapshot(path)
    before = path.read_bytes()
    session.push(samples[0])

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space left"):
        session.snapshot(path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_keyed_tokens_are_given_once_and_by_key(vowels):
    keyed = KeyedSession(vowels)
    with pytest.raises(ValueError, match="inputs must be given once, got x twice"):
        keyed.push({"a": [1.0, 2.0]}, x={"a": [50.0, 50.0]})
    with pytest.raises(ValueError, match="y must map keys to values, got int"):
        keyed.push({"a": [1.0, 2.0]}, y=5)  # type: ignore[arg-type]
    assert len(keyed) == 0


def test_whole_numbers_are_asked_for_where_they_are_meant(tmp_path):
    events = EventForecaster("gru", d_model=8, nhead=2, num_layers=1, recipe=Recipe(updates=1))
    events.fit([(np.arange(6.0), np.arange(6) % 3)] * 5)
    session = Session(export_model(events.deployment(), tmp_path / "events.onnx", "onnx").path)
    for mark in (1.9, np.nan, 1e300, 2**70, "a", None):
        with pytest.raises(ValueError, match="mark must be"):
            session.push(1.0, mark=mark)
    assert session.steps == 0
    first, second = session.push(1.0, mark=1.0), Session(tmp_path / "events.onnx").push(1.0, mark=np.int32(1))
    np.testing.assert_array_equal(first["probabilities"], second["probabilities"])


def test_steps_of_microseconds_are_drawn_as_far_apart_as_they_are(tmp_path):
    wave = np.sin(np.arange(200.0))
    for dates, step in ((False, 1e-6), (True, 1e-3)):
        times = np.arange(200) * step
        when = pandas.to_datetime(times, unit="s") if dates else times
        forecaster = Forecaster(horizon=2, context=8, roles=Roles("when"), recipe=Recipe(updates=1))
        forecaster.fit(pandas.DataFrame({"when": when, "a": wave}))
        export_model(forecaster.deployment(), tmp_path / "a.onnx", "onnx")


def test_data_far_from_zero_need_double_precision():
    far = 1e6 + np.random.default_rng(0).normal(size=(200, 1))
    forecaster = Forecaster(horizon=2, context=8, recipe=Recipe(updates=1)).fit(far)
    with pytest.raises(ValueError, match="state must be float64 for data with a mean of 1e\\+06"):
        forecaster.deployment(torch.float32)
    forecaster.deployment(torch.float64)
