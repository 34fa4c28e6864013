"""The density of the next event: PyTorch's own mixture and numerical integrals are the oracles."""

import math
from dataclasses import replace

import pytest
import torch
from torch.distributions import Categorical, LogNormal, MixtureSameFamily
from torch.testing import assert_close

from aaren.models.next_event import NextEvent

RESOLUTION, LONGEST = 1e-3, 1e12


@pytest.fixture
def coming():
    random = torch.Generator().manual_seed(0)
    weight, location, spread, marks = (torch.randn(5, 3, generator=random, dtype=torch.float64) for _ in range(4))
    return NextEvent(weight.log_softmax(-1), location, 0.3 + spread.abs(), marks, RESOLUTION, LONGEST)


@pytest.fixture
def mixture(coming):
    return MixtureSameFamily(Categorical(logits=coming.log_weight), LogNormal(coming.location, coming.spread))


def grid(points=200_001, low=-20.0, high=20.0):
    return torch.linspace(low, high, points, dtype=torch.float64).exp()[:, None]


def test_density_survival_and_mean_are_those_of_the_mixture(coming, mixture):
    time = torch.tensor([0.01, 0.3, 1.0, 5.0, 80.0], dtype=torch.float64)
    assert_close(coming.log_density(time), mixture.log_prob(time))
    assert_close(coming.log_survival(time).exp(), 1 - mixture.cdf(time))
    assert_close(coming.mean(), mixture.mean)
    assert_close(coming.log_intensity(time), mixture.log_prob(time) - torch.log1p(-mixture.cdf(time)))


@pytest.mark.parametrize("after", [0.0, 0.0004, 0.5, 3.0])
def test_densities_integrate_to_one_and_agree_with_mean_and_survival(coming, after):
    time = torch.cat([torch.linspace(0, RESOLUTION, 1001, dtype=torch.float64)[:-1, None], grid(low=math.log(1e-3))])
    density = torch.where(time >= after, coming.log_density(time, after).exp(), 0.0)
    total = torch.trapezoid(density, time, dim=0)
    assert_close(total, torch.ones_like(total), rtol=0, atol=2e-3)
    mean = torch.trapezoid(density * time, time, dim=0)
    assert_close(coming.mean(after), mean, rtol=5e-3, atol=2e-3)
    late = torch.tensor(4.0, dtype=torch.float64)
    beyond = torch.trapezoid(torch.where(time >= late, density, 0.0), time, dim=0)
    assert_close(coming.log_survival(late, after).exp(), beyond, rtol=0, atol=2e-3)


@pytest.mark.parametrize("after", [0.0, 0.0004, 2.0, 500.0])
def test_quantiles_invert_the_survival(coming, after):
    for probability in (1e-6, 0.1, 0.5, 0.999):
        time = coming.quantile(probability, after)
        assert (time >= after).all()
        assert_close(-torch.expm1(coming.log_survival(time, after)), torch.full_like(time, probability))


def test_far_tails_are_finite_and_have_gradients():
    location = torch.zeros(2, 1, dtype=torch.float64, requires_grad=True)
    coming = NextEvent(
        torch.zeros(2, 1).double(), location, torch.full((2, 1), 0.01).double(), torch.zeros(2, 0), 1e-9, LONGEST
    )
    time = torch.tensor([1e-12, 1e12], dtype=torch.float64)
    told = torch.cat([coming.log_density(time), coming.log_survival(time), coming.log_density(time * 0)])
    assert told.isfinite().all()
    [gradient] = torch.autograd.grad(told.sum(), location)
    assert gradient.isfinite().all()


def test_events_at_the_same_time_have_the_mean_density_up_to_the_resolution(coming, mixture):
    within = mixture.cdf(torch.tensor(RESOLUTION, dtype=torch.float64)) / RESOLUTION
    for time in (0.0, RESOLUTION / 3, RESOLUTION):
        assert_close(coming.log_density(torch.full((5,), time, dtype=torch.float64)).exp(), within)


def test_samples_follow_the_density_and_the_marks(coming, mixture):
    first = (part[:1].expand(20_000, -1) for part in (coming.log_weight, coming.location, coming.spread))
    many = NextEvent(
        *first, mark_logits=coming.mark_logits[:1].expand(20_000, -1), resolution=RESOLUTION, longest=LONGEST
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        time, mark = many.sample()
        late, _ = many.sample(after=2.0)
    uniform = mixture.cdf(time[:, None].expand(-1, 5))[:, 0].sort().values
    steps = torch.arange(1, len(uniform) + 1) / len(uniform)
    assert (uniform - steps).abs().max() < 0.015
    shares = torch.bincount(mark, minlength=3).double() / len(mark)
    assert_close(shares, coming.mark_probabilities[0], rtol=0, atol=0.015)
    assert late.min() >= 2.0
    assert_close(late.median(), coming.median(after=2.0)[0], rtol=0.05, atol=0.0)


def test_without_marks_nothing_is_said_of_them():
    coming = NextEvent(torch.zeros(2, 1), torch.zeros(2, 1), torch.ones(2, 1), torch.zeros(2, 0), RESOLUTION, LONGEST)
    assert torch.equal(coming.log_mark(torch.zeros(2)), torch.zeros(2))
    assert coming.sample()[1].tolist() == [0, 0]


def test_quantiles_far_in_the_tail_come_after_what_has_passed():
    narrow = NextEvent(torch.zeros(1, 1).double(), torch.zeros(1, 1).double(), torch.full((1, 1), 0.01).double(),
                       torch.zeros(1, 0), RESOLUTION, LONGEST)  # fmt: skip
    for after in (2.0, 3.0, 100.0):
        time = narrow.quantile(0.5, after)
        assert after < time < 1.01 * after
        assert_close(narrow.log_survival(time, after), torch.full((1,), math.log(0.5)).double(), rtol=0, atol=1e-3)


@pytest.mark.parametrize("after", [0.0, 0.25, 0.75])
def test_the_mean_counts_what_lies_within_the_resolution(after):
    half = math.log(0.5)
    two = NextEvent(torch.full((1, 2), half).double(), torch.tensor([[math.log(0.5), math.log(40.0)]]).double(),
                    torch.full((1, 2), 0.05).double(), torch.zeros(1, 0), 1.0, LONGEST)  # fmt: skip
    left = 0.5 * (1 - after)  # of the half that is even between 0 and 1
    expected = (0.5 * 40.0 * math.exp(0.05**2 / 2) + left * (after + 1) / 2) / (0.5 + left)
    assert_close(two.mean(after), torch.tensor([expected]).double(), rtol=1e-5, atol=0.0)


def test_rows_one_by_one_on_the_cpu_in_double_precision(coming):
    parts = (coming.log_weight, coming.location, coming.spread, coming.mark_logits)
    weight, location, spread, marks = (part.float().requires_grad_() for part in parts)
    single = NextEvent(weight, location, spread, marks, RESOLUTION, LONGEST)
    exact = single.exact()
    assert (exact.location.dtype, exact.location.requires_grad) == (torch.float64, False)
    rows = exact.unbind()
    assert len(rows) == 5
    assert_close(torch.stack([row.median() for row in rows]), exact.median())
    assert_close(torch.stack([row.mark_probabilities for row in rows]), exact.mark_probabilities)


@pytest.mark.parametrize("longest", [0.3, 2.0, 50.0])
@pytest.mark.parametrize("after", [0.0, 0.0005, 1.0, 30.0])
def test_in_the_mean_long_waits_count_as_the_longest(coming, after, longest):
    some = replace(coming, longest=longest)
    most = max(after, RESOLUTION) + longest
    late = torch.linspace(math.log(max(after, RESOLUTION)), math.log(most), 20_001).double().exp()
    time = torch.cat([torch.linspace(min(after, RESOLUTION), RESOLUTION, 101).double()[:-1], late]).clamp(min=after)
    survival = some.log_survival(time[:, None], after).exp()
    assert_close(some.mean(after), after + torch.trapezoid(survival, time, dim=0), rtol=1e-6, atol=0.0)


def test_the_mean_is_finite_where_the_tail_is_not():
    wide = NextEvent(torch.zeros(2, 1).double(), torch.tensor([[0.0], [-40.0]]).double(),
                     torch.tensor([[60.0], [1.0]]).double(), torch.zeros(2, 0), RESOLUTION, 100.0)  # fmt: skip
    for after in (0.0, 5.0, 1e6):
        mean = wide.mean(after)
        assert (mean >= after).all()
        assert (mean <= max(after, RESOLUTION) + 100.0).all()
    assert_close(wide.mean()[1], torch.tensor(RESOLUTION / 2).double())


def test_several_times_and_probabilities_at_once(coming):
    after = torch.tensor([[0.0], [1.0], [7.0]], dtype=torch.float64).expand(3, 5)
    for name in ("mean", "median"):
        many = getattr(coming, name)(after)
        assert_close(many, torch.stack([getattr(coming, name)(float(one)) for one in after[:, 0]]))
    one = coming.unbind()[0]
    assert_close(one.mean(after[:, 0]), coming.mean(after)[:, 0])
    levels = torch.tensor([0.1, 0.9], dtype=torch.float64)
    assert_close(one.quantile(levels), torch.stack([one.quantile(0.1), one.quantile(0.9)]))


def test_what_is_nearly_always_a_tie_has_a_survival_without_a_step():
    location = torch.tensor([[math.log(RESOLUTION) - 3.0]], dtype=torch.float64, requires_grad=True)
    tie = NextEvent(
        torch.zeros(1, 1).double(), location, torch.full((1, 1), 0.3).double(), torch.zeros(1, 0), RESOLUTION, 1.0
    )
    at, above = (
        tie.log_survival(torch.tensor([time], dtype=torch.float64)) for time in (RESOLUTION, 1.001 * RESOLUTION)
    )
    assert -0.2 < float((above - at).detach()) < 0
    assert float(at.detach()) == pytest.approx(float(torch.special.log_ndtr(torch.tensor(-10.0).double())))
    assert float(tie.log_survival(torch.zeros(1).double()).detach()) == pytest.approx(0.0, abs=1e-12)
    for after in (RESOLUTION, 1.5 * RESOLUTION):
        assert float(tie.mean(after).detach()) > after
    [gradient] = torch.autograd.grad(at.sum(), location)
    assert gradient.isfinite().all()
