"""Processes with known densities are what they say: time rescaling, and likelihoods against integrals."""

import itertools

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import kstest

from aaren.data.events import EventSequence
from aaren.data.processes import Poisson, SelfCorrecting, Sin

PROCESSES = [Poisson(2.0), Sin(5.0, 1.0), SelfCorrecting(1.0, 0.7)]


@pytest.mark.parametrize("process", PROCESSES)
def test_rescaled_times_are_exponential(process):
    sequences = process.simulate(150, 20.0, seed=0)
    passed = process.rescaled(sequences)
    assert len(passed) > 3000
    assert kstest(passed, "expon").pvalue > 0.01
    assert all(one.times.max() <= 20.0 and (one.start, one.end) == (0.0, 20.0) for one in sequences)


@pytest.mark.parametrize("process", PROCESSES)
def test_likelihoods_are_those_of_the_intensity(process):
    [sequence] = process.simulate(1, 6.0, seed=1)

    def intensity(time):
        history = sequence.times[sequence.times < time]
        return float(np.exp(process.log_intensity(np.append(history, time))[-1]))

    places = np.concatenate([[0.0], sequence.times, [6.0]])
    integral = sum(quad(intensity, a + 1e-12, b)[0] for a, b in itertools.pairwise(places))
    expected = sum(np.log(intensity(time)) for time in sequence.times) - integral
    assert process.log_likelihood(sequence) == pytest.approx(expected, abs=1e-6)


def test_a_likelihood_needs_the_time_of_observation():
    with pytest.raises(ValueError, match="sequence must start at 0 and end, got start None and end None"):
        Poisson().log_likelihood(EventSequence(np.array([1.0])))


def test_simulations_follow_their_seed():
    one, same, other = (Sin().simulate(2, 10.0, seed=seed) for seed in (0, 0, 1))
    assert all(np.array_equal(a.times, b.times) for a, b in zip(one, same, strict=True))
    assert not np.array_equal(one[0].times, other[0].times)
