"""`EventForecaster`: against processes with known densities, and against itself in its other modes."""

import itertools
import json
import os
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.base import clone

from aaren.data.events import EventSequence, collate_events
from aaren.data.processes import Poisson, SelfCorrecting, Sin
from aaren.layers.table import LAYERS
from aaren.models.event_model import EventModel
from aaren.tasks import event_training
from aaren.tasks.event_training import Likelihood, pieces
from aaren.tasks.events import EventForecaster
from aaren.train import Recipe

BRIEF = Recipe(updates=30, validate_every=10)
SIZES: dict[str, Any] = {"d_model": 16, "nhead": 2, "dim_feedforward": 16, "num_layers": 1, "mixture": 3}


def marked(count=24, events=20, seed=0):
    """ "tick" after short gaps, "tock" after long ones, which take turns; some events at the same time."""
    random = np.random.default_rng(seed)
    sequences = []
    for _ in range(count):
        long = (np.arange(events) + random.integers(2)) % 2 == 1
        gaps = np.where(long, 4.0, 0.5) * random.lognormal(0, 0.3, events)
        gaps[random.random(events) < 0.05] = 0.0
        times = 100.0 + np.cumsum(gaps)
        sequences.append(EventSequence(times, np.where(long, "tock", "tick"), 100.0, float(times[-1] + 1.0)))
    return sequences


@pytest.fixture(scope="module")
def fitted():
    recipe = Recipe(updates=150, validate_every=50, learning_rate=3e-3)
    return EventForecaster("aaren_decay", **SIZES, recipe=recipe, chunk=16).fit(marked())


@pytest.mark.unchecked  # which takes ten times as long
@pytest.mark.parametrize(
    ("process", "end"), [(Poisson(2.0), 20.0), (Sin(5.0, 1.0), 20.0), (SelfCorrecting(1.0, 1.0), 30.0)]
)
def test_likelihoods_approach_the_truth_and_forecasts_are_calibrated(process, end):
    train, test = process.simulate(300, end, seed=1), process.simulate(150, end, seed=2)
    sizes: dict[str, Any] = {"d_model": 32, "nhead": 4, "dim_feedforward": 64, "num_layers": 1, "mixture": 4}
    recipe = Recipe(updates=400, batch_size=32, learning_rate=3e-3)
    model = EventForecaster("aaren", **sizes, recipe=recipe).fit(train)
    scores = model.evaluate(test)
    truth = -sum(map(process.log_likelihood, test)) / scores.events
    assert truth - 0.02 < scores.nll < truth + 0.05
    assert scores.ks < 0.05
    assert model.score(test) == -scores.nll
    futures = model.sample([EventSequence(np.empty(0), None, 0.0, 0.0)], 200, duration=end, seed=3)[0]
    counts, true = ([len(one.times) for one in some] for some in (futures, process.simulate(2000, end, seed=4)))
    assert np.mean(counts) == pytest.approx(np.mean(true), rel=0.1)
    assert np.std(counts) == pytest.approx(np.std(true), rel=0.35)


def test_marks_and_gaps_are_learned(fitted):
    test = marked(10, seed=1)
    scores = fitted.evaluate(test)
    assert scores.accuracy > 0.9  # by chance 0.5
    gaps = np.concatenate([one.gaps for one in test])
    assert scores.mae < 0.5 * np.abs(gaps - np.median(gaps)).mean()
    assert scores.nll == pytest.approx(scores.nll_time + scores.nll_mark)
    assert scores.events == 200


def test_scores_are_in_the_units_of_the_data():
    minutes = [one._replace(times=60 * one.times, start=60 * one.start, end=60 * one.end) for one in marked()]
    hours = EventForecaster(**SIZES, recipe=BRIEF).fit(marked()).evaluate(marked(5, seed=1))
    some = [one._replace(times=60 * one.times, start=60 * one.start, end=60 * one.end) for one in marked(5, seed=1)]
    same = EventForecaster(**SIZES, recipe=BRIEF).fit(minutes).evaluate(some)
    assert same.rmse == pytest.approx(60 * hours.rmse, rel=1e-3)
    assert same.nll_time == pytest.approx(hours.nll_time + np.log(60), abs=1e-3)
    assert same.nll_mark == pytest.approx(hours.nll_mark, abs=1e-3)


@pytest.mark.parametrize("layer", sorted(LAYERS))
def test_streams_are_the_batch(layer):
    model = EventForecaster(layer, **SIZES, recipe=Recipe(updates=3), chunk=7).fit(marked(6))
    [sequence] = marked(1, seed=3)
    stream, keyed = model.stream(start=100.0), model.keyed_stream()
    keyed.begin("a", 100.0)
    nothing = sequence._replace(times=np.empty(0), marks=np.empty(0, str), end=100.0)
    assert stream.forecast.median() == pytest.approx(model.predict([nothing]).median()[0])
    for number, (time, mark) in enumerate(zip(sequence.times, sequence.marks, strict=True), start=1):
        live, other = stream.push(time, mark), keyed.push({"a": (time, mark)})["a"]
        prefix = sequence._replace(times=sequence.times[:number], marks=sequence.marks[:number], end=None)
        whole = model.predict([prefix])
        for now in (time, time + 0.7, time + 30):
            for one in (live, other, stream.forecast):
                np.testing.assert_allclose(one.median(now), whole.median(now)[0], rtol=1e-5)
                np.testing.assert_allclose(one.mean(now), whole.mean(now)[0], rtol=1e-5)
            np.testing.assert_allclose(live.intensity(now), whole.intensity(now)[0], rtol=1e-4)
        np.testing.assert_allclose(live.mark_probabilities, whole.mark_probabilities[0], rtol=1e-4, atol=1e-6)
        assert live.mark == whole.mark[0]
    if LAYERS[layer](2).constant_state:
        assert stream.nbytes == model.stream().nbytes


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_stream_goes_on_from_a_history(fitted, dtype, tmp_path):
    [sequence] = marked(1, seed=12)
    begin = sequence._replace(times=sequence.times[:12], marks=sequence.marks[:12], end=None)
    resumed, whole = fitted.stream(begin, dtype=dtype), fitted.stream(start=100.0, dtype=dtype)
    for time, mark in zip(sequence.times[:12], sequence.marks[:12], strict=True):
        whole.push(time, mark)
    assert float(resumed.forecast.mean()) == pytest.approx(float(whole.forecast.mean()), rel=1e-4)
    time, mark = sequence.times[12], sequence.marks[12]
    assert float(resumed.push(time, mark).mean()) == pytest.approx(float(whole.push(time, mark).mean()), rel=1e-4)
    assert resumed.nbytes == whole.nbytes
    later = begin._replace(end=float(begin.times[-1]) + 6.0)
    waiting = fitted.stream(later, dtype=dtype)
    assert float(waiting.forecast.mean()) == pytest.approx(float(fitted.predict([later]).mean()[0]), rel=1e-4)
    with pytest.raises(ValueError, match="until when there was no event"):
        waiting.push(later.end - 3.0, "tick")
    assert fitted.stream(later).push(later.end, "tick").latest == later.end
    keyed = fitted.keyed_stream(dtype=dtype)
    keyed.push({"other": (1.0, "tock"), "one more": (1.0, "tock")})
    keyed.put("waiting", waiting)
    for _ in range(2):
        assert float(keyed.forecast("waiting").mean()) == pytest.approx(float(waiting.forecast.mean()), rel=1e-5)
        with pytest.raises(ValueError, match=r"event of 'waiting': time must not be before .* until when there was no"):
            keyed.push({"waiting": (later.end - 3.0, "tick")})
        keyed.snapshot(tmp_path / "keyed")
        keyed = fitted.keyed_stream(dtype=dtype)
        keyed.restore(tmp_path / "keyed")
    keyed.put("me", resumed)
    time, mark = sequence.times[13], sequence.marks[13]
    both = [keyed.push({"me": (time, mark)})["me"], resumed.push(time, mark)]
    assert float(both[0].mean()) == pytest.approx(float(both[1].mean()), rel=1e-5)
    with pytest.raises(ValueError, match="stream must have had an event or a start, got neither"):
        keyed.put("nobody", fitted.stream())
    resumed.reset()
    assert float(resumed.forecast.mean()) == float(fitted.stream(start=100.0, dtype=dtype).forecast.mean())
    with pytest.raises(ValueError, match=r"start must be that of the history, got 3\.0"):
        fitted.stream(begin, start=3.0)


def test_what_has_passed_without_an_event_is_given(fitted):
    forecast = fitted.predict([marked(1)[0]])
    end = forecast.now[0]
    assert forecast.median() > end
    assert forecast.median(end + 50) > end + 50
    assert forecast.survival(end) == pytest.approx(1.0)
    later = forecast.quantile(0.3)
    assert forecast.survival(later) == pytest.approx(0.7)
    with pytest.raises(ValueError, match="time must be finite and not before the latest event"):
        forecast.survival(0.0)
    with pytest.raises(ValueError, match=r"probability must be a number between 0 and 1, got 1\.0"):
        forecast.quantile(1.0)


def test_before_now_nothing_has_come(fitted):
    [sequence] = marked(1)
    forecast = fitted.predict([sequence])  # observed for 1.0 after its last event
    early, late = forecast.now - 0.5, forecast.now + 0.5
    assert forecast.density(early) == [0.0]
    assert forecast.survival(early) == [1.0]
    assert forecast.density(late) > 0
    assert forecast.survival(late) < 1
    assert forecast.density(early, now=forecast.latest) > 0


def test_intensities_are_those_of_the_forecast_before_each_time(fitted):
    [sequence] = marked(1, seed=4)
    times = np.concatenate([[100.0], sequence.times[:3] + 0.1, sequence.times[-1:] + 2.0])
    for time, got in zip(times, fitted.intensity(sequence, times), strict=True):
        before = sequence.times < time
        prefix = sequence._replace(times=sequence.times[before], marks=sequence.marks[before], end=float(time))
        assert got == pytest.approx(fitted.predict([prefix]).intensity(time)[0], rel=1e-4)
    with pytest.raises(ValueError, match="times must not be before the start, 100, got 99"):
        fitted.intensity(sequence, [99.0])
    with pytest.raises(ValueError, match="times must be after the first event"):
        fitted.intensity(sequence._replace(start=None), [100.0])


def test_futures_continue_the_history(fitted):
    history = marked(2, seed=5)
    futures = fitted.sample(history, 3, events=4, seed=1)
    assert [len(some) for some in futures] == [3, 3]
    for one, some in zip(history, futures, strict=True):
        for future in some:
            assert len(future.times) == len(future.marks) == 4
            assert future.start == one.end <= future.times[0]
            assert set(future.marks) <= {"tick", "tock"}
    again = fitted.sample(history, 3, events=4, seed=1)
    for one, other in zip(itertools.chain(*futures), itertools.chain(*again), strict=True):
        assert np.array_equal(one.times, other.times)
    with pytest.raises(ValueError, match="futures must have at most 2 events, got more"):
        fitted.sample(history, duration=50.0, most=2)
    with pytest.raises(ValueError, match="events or duration must be given, got both or neither"):
        fitted.sample(history)


def test_forecasts_of_a_stream_and_of_a_key_at_any_times(fitted):
    stream, keyed = fitted.stream(), fitted.keyed_stream()
    keyed.begin("b", 4.0)
    forecast = stream.push(5.0, "tick")
    keyed.push({"a": (5.0, "tick")})
    times = np.array([[5.5, 6.0], [7.0, 50.0]])
    for name in ("mean", "median", "survival", "density"):
        many = getattr(forecast, name)(times)
        assert many.shape == (2, 2)
        np.testing.assert_allclose(many[1, 0], getattr(forecast, name)(7.0))
        np.testing.assert_allclose(getattr(keyed.forecast("a"), name)(times), many, rtol=1e-5)
    assert ("b" in keyed, len(keyed), keyed.keys) == (True, 2, ["b", "a"])
    assert float(keyed.forecast("b").median()) == float(fitted.stream(start=4.0).forecast.median())
    with pytest.raises(KeyError):
        keyed.forecast("c")
    two = fitted.predict(marked(2))
    grid = two.latest + np.linspace(1.5, 9, 7)[:, None]
    assert two.density(grid).shape == (7, 2)
    np.testing.assert_allclose(two.density(grid)[3, 1], two.density(grid[3])[1])
    with pytest.raises(ValueError, match=r"time must be a number or of shape \(\.\.\., 2\), got \(3,\)"):
        two.density(np.ones(3))
    with pytest.raises(ValueError, match="probability must be a number between 0 and 1"):
        two.quantile([0.1, 0.9])


def test_one_step_of_a_grid_is_no_tie():
    """Gaps of 1 and 3 in turn: after a 3 comes an event one step later, not half a step on average."""
    sequences = [np.cumsum(np.tile([1.0, 3.0], 30)[i % 2 :]) for i in range(20)]
    model = EventForecaster("gru", **SIZES, recipe=Recipe(updates=200, learning_rate=5e-3)).fit(sequences)
    forecast = model.predict([np.array([0.0, 1.0, 4.0, 5.0, 8.0]), np.array([0.0, 3.0, 4.0, 7.0, 8.0])])
    np.testing.assert_allclose(forecast.median(), [9.0, 11.0], atol=0.15)
    assert forecast.survival(8.7)[0] > 0.9


def test_a_new_mark_is_read_but_cannot_be_scored(fitted):
    [sequence] = marked(1, seed=6)
    strange = sequence._replace(marks=np.where(np.arange(20) == 7, "boom", sequence.marks))
    assert np.isfinite(fitted.predict([strange]).median()).all()
    assert np.isfinite(fitted.stream().push(3.0, "boom").median())
    with pytest.raises(ValueError, match=r"X\[0\] must have marks of the vocabulary, got 'boom' for event 7"):
        fitted.score([strange])
    with pytest.raises(ValueError, match=r"X\[0\] must have marks of the vocabulary"):
        EventForecaster(marks=["tick"], recipe=BRIEF).fit(marked())
    known = np.array(["boom", "tick", "tock"], dtype=object)
    named = EventForecaster(**SIZES, marks=known, recipe=BRIEF).fit(marked())
    assert np.isfinite(named.score([strange]))


def test_a_single_long_sequence_trains_in_chunks(monkeypatch):
    random = np.random.default_rng(0)
    longest, original = 0, EventModel.encode

    def spy(self, x, *arguments, **options):
        nonlocal longest
        longest = max(longest, x.shape[1])
        return original(self, x, *arguments, **options)

    monkeypatch.setattr(EventModel, "encode", spy)
    times = np.cumsum(random.exponential(size=5_000))
    model = EventForecaster(**SIZES, recipe=Recipe(updates=12, validate_every=6), chunk=64).fit([times])
    assert longest == 64
    assert model.evaluate([times]).nll < 1.2  # of the true process 1.0
    assert model.evaluate([times]).events == 4_999


def test_memory_reaches_back_over_chunks():
    model = EventForecaster("gru", **SIZES, recipe=Recipe(updates=2), chunk=8).fit(marked(4))
    [sequence] = marked(1, seed=8)
    whole = model.passed([sequence])
    for chunk in (3, 50):
        model.set_params(chunk=chunk)
        np.testing.assert_allclose(model.passed([sequence]), whole, rtol=1e-4, atol=1e-5)


def test_a_stretch_that_is_not_the_first_is_trained_at_its_own_positions():
    model = EventForecaster("aaren", **SIZES, recipe=Recipe(updates=2)).fit(marked(4))
    [tokens] = model._part(marked(1, seed=11)).tokens
    whole = Likelihood(model.model_.eval(), 64)
    parts = Likelihood(model.model_, 4)
    with torch.no_grad():
        loss = whole(collate_events(pieces([tokens], [1.0], 64, [0])))
        some = [parts(collate_events([stretch])) for stretch in pieces([tokens], [1.0], 4, [0])]
    for name in ("time", "mark", "survival", "events"):
        total = sum(float(getattr(one, name)) for one in some)
        assert total == pytest.approx(float(getattr(loss, name)), rel=1e-4), name


def test_ties_are_calibrated_as_if_drawn_within_the_resolution():
    """Half of all gaps are zero: their probabilities are drawn, not all the largest possible one."""
    random = np.random.default_rng(0)
    sequences = [np.cumsum(random.integers(0, 2, 100) * random.uniform(0.5, 1.0, 100)) for _ in range(20)]
    model = EventForecaster(**SIZES, recipe=Recipe(updates=100, validate_every=50)).fit(sequences)
    passed = model.passed(sequences[:5])
    assert model.evaluate(sequences[:5]).ks < 0.2  # with the largest for each tie at least 0.5
    assert len(np.unique(passed)) > 0.9 * len(passed)


def test_a_snapshot_of_another_kind_changes_nothing(fitted, tmp_path):
    stream, keyed = fitted.stream(), fitted.keyed_stream()
    stream.push(3.0, "tick")
    keyed.push({"a": (3.0, "tick")})
    stream.tokens.snapshot(tmp_path / "tokens")
    keyed.tokens.snapshot(tmp_path / "many", note='[["a", "b"]]')
    stream.push(4.0, "tock")
    before = stream.forecast.median(), keyed.push({"a": (5.0, "tock")})["a"].median()
    with pytest.raises(ValueError, match="must be a snapshot of a stream of events, got another"):
        stream.restore(tmp_path / "tokens")
    with pytest.raises(ValueError, match="must be a snapshot of streams of events, got another"):
        keyed.restore(tmp_path / "many")
    assert stream.forecast.median() == before[0]
    with pytest.raises(ValueError, match="time must not be before that of the latest event, 5, got 4"):
        keyed.push({"a": (4.0, "tick")})


def test_save_load_snapshot_and_clone(fitted, tmp_path):
    fitted.save(tmp_path / "model")
    loaded = EventForecaster.load(tmp_path / "model")
    test = marked(3, seed=9)
    assert loaded.evaluate(test) == fitted.evaluate(test)
    assert loaded.get_params() == {**fitted.get_params(), "checkpoint": None}
    copy: Any = clone(fitted)
    assert copy.get_params() == fitted.get_params()
    stream, again = fitted.stream(), loaded.stream()
    keyed, other = fitted.keyed_stream(), loaded.keyed_stream()
    stream.push(3.0, "tick")
    keyed.push({"a": (3.0, "tick"), 7: (9.0, "tock")})
    stream.snapshot(tmp_path / "one")
    keyed.snapshot(tmp_path / "many")
    again.restore(tmp_path / "one")
    other.restore(tmp_path / "many")
    assert again.push(4.0, "tock").median() == stream.push(4.0, "tock").median()
    assert other.push({7: (9.5, "tick")})[7].median() == keyed.push({7: (9.5, "tick")})[7].median()
    other.drop("a")
    assert other.keys == [7]
    stream.reset()
    with pytest.raises(ValueError, match="a stream must have an event or a start before it forecasts"):
        _ = stream.forecast


def test_an_epoch_is_every_event_once(monkeypatch):
    seen = []
    original = event_training.collate_events
    monkeypatch.setattr(event_training, "collate_events", lambda some: seen.append(list(some)) or original(some))
    lengths = [50, 7, 23, 90]
    sequences = [EventSequence(np.arange(1.0, n + 1), None, 0.0, n + 1.0) for n in lengths]
    recipe = Recipe(updates=60, batch_size=3, validate_every=60)
    EventForecaster(**SIZES, recipe=recipe, chunk=10).fit(sequences, X_validation=[np.arange(3.0)])
    counts: dict[tuple[int, int], int] = {}
    stretches = [one for batch in seen for one in batch if len(one.tokens) in lengths]
    assert all(one.last - one.first <= 10 for one in stretches)
    events = sum(one.last - one.first for one in stretches)
    for one in stretches:
        for event in range(one.first, one.last):
            counts[len(one.tokens), event] = counts.get((len(one.tokens), event), 0) + 1
    assert len(counts) == sum(lengths)
    assert max(counts.values()) - min(counts.values()) <= 1
    assert events > 5 * sum(lengths)


def test_training_resumes_exactly(tmp_path):
    arguments = {**SIZES, "chunk": 8, "checkpoint": tmp_path / "checkpoint"}
    whole = EventForecaster(**{**arguments, "checkpoint": None}, recipe=BRIEF).fit(marked(6))
    EventForecaster(**arguments, recipe=BRIEF).fit(marked(6))  # from the checkpoint at its end
    resumed = EventForecaster(**arguments, recipe=BRIEF).fit(marked(6))
    assert all(torch.equal(a, b) for a, b in zip(whole.model_.parameters(), resumed.model_.parameters(), strict=True))
    with pytest.raises(ValueError, match="checkpoint must be of this run"):
        EventForecaster(**arguments, recipe=BRIEF).fit(marked(7))


@pytest.mark.unchecked  # as types are checked here
@pytest.mark.parametrize(
    ("event", "message"),
    [
        ((1.0, "tick"), "time must not be before that of the latest event, 5, got 1"),
        ((float("nan"), "tick"), "time must be a finite number, got nan"),
        ((10**400, "tick"), "time must be a finite number, got 1000"),
        ((1e40, "tick"), r"time must not be more than 1e\+30 after the latest event, got 1e\+40"),
        ((6.0, None), "mark must be given for this model, got None"),
        ((6.0, 1.5), "mark must be a string or a whole number, got 1.5"),
        ((6.0, 1), "marks must be strings, as in training, got 1"),
    ],
)
def test_bad_events_leave_streams_as_they_were(fitted, event, message):
    stream, keyed = fitted.stream(), fitted.keyed_stream()
    stream.push(5.0, "tick")
    keyed.push({"a": (5.0, "tick")})
    before = stream.forecast.median()
    with pytest.raises(ValueError, match=message):
        stream.push(*event)
    with pytest.raises(ValueError, match=f"event of 'a': {message}"):
        keyed.push({"b": (1.0, "tick"), "a": event})
    assert stream.forecast.median() == before
    assert keyed.keys == ["a"]


@pytest.mark.unchecked  # as types are checked here
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"layer": "aren"}, "layer must be one of"),
        ({"chunk": 0}, "chunk must be a whole number of at least 1, got 0"),
        ({"validation": 1.5}, "validation must lie between 0 and 1, got 1.5"),
        ({"periods": [0.0]}, "periods must be above 0"),
        ({"mixture": 0}, "mixture must be a whole number of at least 1, got 0"),
        ({"seed": 1.5}, "seed must be a whole number of at least 0, got 1.5"),
    ],
)
def test_bad_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        EventForecaster(**arguments).fit(marked(3))


def test_what_cannot_be_learned_from_is_refused():
    with pytest.raises(ValueError, match="X must have two events at different times in a training sequence, got none"):
        EventForecaster().fit([[1.0], [2.0, 2.0]])
    with pytest.raises(ValueError, match="marks must be None for events without marks"):
        EventForecaster(marks=["a"]).fit([[1.0, 2.0]])
    with pytest.raises(ValueError, match="EventForecaster must be fitted first"):
        EventForecaster().predict([[1.0]])


def test_one_event_forecasts_but_cannot_be_scored(fitted):
    one = [(np.array([3.0]), np.array(["tick"]))]
    assert fitted.predict(one).median() > 3.0
    with pytest.raises(ValueError, match="X must have an event after the first of a sequence, got none to forecast"):
        fitted.score(one)


def test_files_of_other_models_are_refused(fitted, tmp_path):
    fitted.save(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, "marked": False}))
    with pytest.raises(ValueError, match="must belong together, got two models"):
        EventForecaster.load(tmp_path)


def test_equal_gaps_on_a_grid_are_scored_as_they_were_trained():
    """Differences of times like 0.1, 0.2, 0.4 differ in their last digits, and more in float32."""
    random = np.random.default_rng(0)
    sequences = [np.cumsum(0.1 * random.choice([1, 1, 1, 2, 3, 5], 60)) for _ in range(20)]
    model = EventForecaster(**SIZES, recipe=Recipe(updates=60, validate_every=20)).fit(sequences)
    assert model.training_.best_update > 0
    part = model._part(sequences[:4])
    batch = collate_events(pieces(part.tokens, part.tails, 512, [0] * 4))
    with torch.no_grad():
        trained = Likelihood(model.model_.eval(), 512)(batch).loss.item()
    assert model.evaluate(sequences[:4]).nll == pytest.approx(trained, abs=1e-4)


def test_sequences_without_an_event_are_trained_on():
    quiet = [EventSequence(np.empty(0), np.empty(0, str), 0.0, 5.0)] * 40
    recipe = Recipe(updates=3, batch_size=4, validate_every=1)
    model = EventForecaster(**SIZES, recipe=recipe).fit([*marked(4), *quiet], X_validation=marked(2))
    assert model.evaluate([*quiet, *marked(2)]).events == 40


def test_one_future_of_one_sequence_begins_after_its_end():
    times = np.arange(20.0)
    model = EventForecaster(**SIZES, recipe=Recipe(updates=5)).fit([times, times])
    late = EventSequence(times, None, None, 22.0)
    assert model.predict([late]).median() >= 22.0
    [[future]] = model.sample([late], events=2)
    assert len(future.times) == 2
    assert future.times[0] >= 22.0


def test_a_held_out_part_must_have_an_event_to_forecast():
    with pytest.raises(ValueError, match="X must have a held-out event to forecast"):
        EventForecaster(**SIZES, recipe=BRIEF).fit([[1.0, 2.0]] * 3, X_validation=[[1.0], [2.0]])
    with pytest.raises(ValueError, match=r"X\[0\] must have no time longer than 1e\+30 without an event"):
        EventForecaster(**SIZES, recipe=BRIEF).fit([[1.0, 1e39]])


def test_sequences_of_unequal_lengths_are_forecast_as_each_alone(fitted):
    whole = marked(1, seed=10)[0]._replace(end=None)
    both = [whole._replace(times=whole.times[:7], marks=whole.marks[:7]), whole]
    together = fitted.predict(both).median()
    alone = [fitted.predict([one]).median()[0] for one in both]
    np.testing.assert_allclose(together, alone, rtol=1e-6)


def test_the_end_of_a_history_is_not_rounded(fitted):
    times, marks = np.array([-8.1, -7.3, -0.7]), np.array(["tick", "tock", "tick"])
    for end in np.random.default_rng(0).uniform(0, 10, 20):
        assert fitted.predict([EventSequence(times, marks, None, end)]).now == end


def test_more_events_than_a_future_may_have_are_refused_at_once(fitted):
    with pytest.raises(ValueError, match="events must be at most `most`, 2, got 5; raise most"):
        fitted.sample(marked(1), events=5, most=2)


@pytest.mark.unchecked
def test_training_in_mixed_precision():
    code = """
import numpy as np
from aaren.tasks.events import EventForecaster
from aaren.train import Recipe
X = [np.cumsum(gaps) for gaps in np.random.default_rng(0).exponential(size=(20, 30))]
sizes = {"d_model": 16, "nhead": 2, "dim_feedforward": 16, "num_layers": 1, "recipe": Recipe(updates=60)}
for layer in ("aaren", "aaren_decay", "lstm"):
    assert EventForecaster(layer, **sizes).fit(X).evaluate(X).nll < 1.3
"""
    subprocess.run([sys.executable, "-c", code], env=os.environ | {"ACCELERATE_MIXED_PRECISION": "bf16"}, check=True)
