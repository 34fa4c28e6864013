"""Forecasters of events without a network, against what is known of their processes."""

from typing import Any

import numpy as np
import pytest
from scipy import stats

from aaren.data.events import EventSequence
from aaren.data.processes import Poisson
from aaren.tasks.event_baselines import PoissonEvents, RenewalEvents


def test_poisson_is_the_truth_of_a_poisson_process():
    process = Poisson(2.0)
    train, test = process.simulate(200, 20.0, seed=1), process.simulate(200, 20.0, seed=2)
    model: Any = PoissonEvents().fit(train)
    scores = model.evaluate(test)
    assert model.rate_ == pytest.approx(2.0, rel=0.05)
    assert scores.nll == pytest.approx(-sum(map(process.log_likelihood, test)) / scores.events, abs=0.002)
    assert scores.ks < 0.03
    assert model.score(test) == -scores.nll
    forecast = model.predict(test[:2])
    assert forecast.mean() == pytest.approx(forecast.now + 1 / model.rate_)
    assert forecast.median() == pytest.approx(forecast.now + np.log(2) / model.rate_)
    assert forecast.intensity(forecast.now + 3) == pytest.approx(model.rate_)
    assert forecast.survival(forecast.now) == pytest.approx(1.0)
    assert forecast.density(forecast.now + 1) == pytest.approx(model.rate_ * np.exp(-model.rate_))


def test_renewal_is_the_truth_of_log_normal_gaps():
    random = np.random.default_rng(0)
    train, test = ([np.cumsum(random.lognormal(1.0, 0.5, 200)) for _ in range(40)] for _ in range(2))
    gaps = np.concatenate([np.diff(times) for times in test])
    scores = RenewalEvents().fit(train).evaluate(test)
    assert scores.nll == pytest.approx(-stats.lognorm.logpdf(gaps, 0.5, scale=np.e).mean(), abs=0.01)
    assert scores.ks < 0.02
    assert PoissonEvents().fit(train).evaluate(test).nll > scores.nll + 0.3


def chains(count, seed):
    """Marks that mostly take turns, "c" now and then."""
    random = np.random.default_rng(seed)
    sequences = []
    for _ in range(count):
        marks = np.where(np.arange(50) % 2 == 0, "a", "b")
        marks[random.random(50) < 0.1] = "c"
        sequences.append((np.arange(50.0) + random.uniform(0, 0.5, 50), marks))
    return sequences


def test_marks_by_frequency_and_by_chain():
    train, test = chains(20, 0), chains(10, 1)
    frequency, chain = PoissonEvents().fit(train).evaluate(test), RenewalEvents().fit(train).evaluate(test)
    marks = np.concatenate([marks[1:] for _, marks in test])
    assert frequency.accuracy == pytest.approx(max((marks == mark).mean() for mark in "ab"), abs=0.05)
    assert chain.accuracy > 0.8
    assert chain.nll_mark < frequency.nll_mark - 0.3
    table = RenewalEvents().fit(train).predict([(np.array([1.0]), np.array(["a"]))]).mark_probabilities
    assert table.sum() == pytest.approx(1.0)
    assert table[0, 1] > 0.8


def test_marks_never_seen_are_possible_if_they_are_named():
    named = RenewalEvents(marks=["a", "b", "c", "z"]).fit(chains(5, 0))
    test = [(np.array([1.0, 2.0, 3.0]), np.array(["a", "z", "z"]))]
    assert np.isfinite(named.score(test))
    with pytest.raises(ValueError, match=r"X\[0\] must have marks of the vocabulary, got 'z' for event 1"):
        RenewalEvents().fit(chains(5, 0)).score(test)


def test_events_at_the_same_time_are_finite():
    times = np.repeat(np.arange(1.0, 30.0), 2)
    for model in (PoissonEvents(), RenewalEvents()):
        assert np.isfinite(model.fit([times]).score([times]))
    with pytest.raises(ValueError, match="X must have two events at different times"):
        RenewalEvents().fit([[2.0, 2.0]])


def test_time_without_an_event_is_scored():
    train = Poisson(1.0).simulate(50, 20.0)
    for model in (PoissonEvents(), RenewalEvents()):
        model.fit(train)
        short, long = (model.score([EventSequence(np.array([1.0]), None, 0.0, end)]) for end in (1.0, 9.0))
        assert long < short - 3


@pytest.mark.parametrize("share", [0.1, 0.5])
def test_renewal_learns_how_often_events_come_at_the_same_time(share):
    random = np.random.default_rng(0)

    def draw():
        gaps = np.where(random.random((100, 100)) < share, 0.0, random.lognormal(0, 1, (100, 100)))
        return [*gaps.cumsum(axis=1)]

    model, test = RenewalEvents().fit(draw()), draw()
    scores = model.evaluate(test)
    gaps = np.diff(test).ravel()
    logs = np.log(gaps, where=gaps > 0, out=np.zeros_like(gaps))
    above = np.log(1 - share) - logs - 0.5 * logs**2 - 0.5 * np.log(2 * np.pi)
    truth = -np.where(gaps > 0, above, np.log(share / model.resolution_)).mean()
    assert scores.nll == pytest.approx(truth, abs=0.03)
    assert scores.ks < 0.02


def test_what_rounding_makes_of_a_time_is_a_tie():
    times = np.array([0.1 + 0.2, 0.3, 1.0, 1.5, 2.0])
    assert 1e-3 < RenewalEvents().fit([np.sort(times)]).resolution_ < 0.5
