from typing import Any

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from aaren.models.forecaster import SequenceForecaster
from aaren.models.statistics import FLOOR, RunningStatistics, WindowStatistics
from aaren.models.windowed import Windowed
from aaren.state import named_leaves

CHANNELS, HORIZON, TIME, WINDOW = 2, 3, 40, 6
SMALL: dict[str, Any] = {"d_model": 8, "nhead": 2, "dim_feedforward": 16, "num_layers": 1, "window": WINDOW, "patch": 4}


def make(seed=0, dtype=torch.float64, **more):
    """A forecaster with random weights everywhere, of which many are zero at first."""
    torch.manual_seed(seed)
    model = SequenceForecaster(CHANNELS, HORIZON, **{**SMALL, **more}).to(dtype).eval()
    for name, parameter in model.named_parameters():
        if not name.endswith("prior"):
            torch.nn.init.normal_(parameter, std=0.3)
    return model


def make_series(batch=2, time=TIME, p_missing=0.3, seed=0):
    """Values, 1 where observed, elapsed; the first values of a row are missing."""
    g = torch.Generator().manual_seed(seed)
    values = torch.randn(batch, time, CHANNELS, generator=g, dtype=torch.float64).cumsum(dim=1)
    observed = (torch.rand(values.shape, generator=g) >= p_missing).double()
    observed[0, :3] = 0.0
    return values, observed, 2 * torch.rand(batch, time, generator=g, dtype=torch.float64)


def rows(values, observed, *more):
    return torch.cat([values, observed, *more], dim=-1)


@pytest.mark.parametrize("prior", [0.0, 0.05, -0.05])
def test_running_statistics_are_weighted_sums(prior):
    values, observed, elapsed = make_series()
    statistics = RunningStatistics(CHANNELS, half_life=5.0).double()
    torch.nn.init.constant_(statistics.prior, prior)
    level, scale, _ = statistics(values, observed, elapsed=elapsed)
    count = np.exp(50 * prior)
    for row in range(2):
        for channel in range(CHANNELS):
            weight = mean = deviation = 0.0
            for t in range(TIME):
                keep = 0.5 ** (elapsed[row, t].item() / 5.0)
                weight, mean, deviation = keep * weight, keep * mean, keep * deviation
                if observed[row, t, channel]:
                    weight += 1
                    mean += values[row, t, channel].item()
                    deviation += (values[row, t, channel].item() - mean / (weight + count)) ** 2
                assert level[row, t, channel].item() == pytest.approx(mean / (weight + count), rel=1e-9)
                expected = ((deviation + count) / (weight + count) + FLOOR) ** 0.5
                assert scale[row, t, channel].item() == pytest.approx(expected, rel=1e-9)


def test_running_statistics_without_elapsed_count_rows():
    values, observed, _ = make_series()
    statistics = RunningStatistics(CHANNELS, half_life=5.0).double()
    ones = torch.ones(values.shape[:2], dtype=torch.float64)
    assert_close(statistics(values, observed), statistics(values, observed, elapsed=ones), rtol=0, atol=0)


def test_running_statistics_forget_at_their_half_life():
    # After the step of a staircase the old level has half the weight in `half_life` rows.
    values = torch.ones(1, 2000, CHANNELS, dtype=torch.float64)
    values[:, :1000] = -1.0
    statistics = RunningStatistics(CHANNELS, half_life=10.0).double()
    torch.nn.init.constant_(statistics.prior, -1.0)  # no prior to speak of
    level, _, _ = statistics(values, torch.ones_like(values))
    assert_close(level[0, [999, 1009, 1019, 1999], 0], torch.tensor([-1.0, 0.0, 0.5, 1.0], dtype=torch.float64))


def test_window_statistics_are_those_of_numpy():
    values, observed, _ = make_series()
    observed[1, :, 1] = 0.0  # a channel without a value
    mask = torch.zeros(2, TIME, dtype=torch.bool)
    mask[1, 30:] = True
    for padding_mask in (None, mask):
        level, scale, state = WindowStatistics()(values, observed, padding_mask=padding_mask)
        assert state == ()
        for row in range(2):
            live = ~mask[row].numpy() if padding_mask is not None else np.ones(TIME, dtype=bool)
            for channel in range(CHANNELS):
                seen = values[row, :, channel].numpy()[(observed[row, :, channel].numpy() > 0) & live]
                mean, variance = (seen.mean(), seen.var()) if len(seen) else (0.0, 0.0)
                expected = torch.full((TIME,), mean, dtype=torch.float64)
                assert_close(level[row, :, channel], expected)
                assert_close(scale[row, :, channel], torch.full_like(expected, (variance + FLOOR) ** 0.5))


@pytest.mark.parametrize("statistics", ["running", "window"])
@pytest.mark.parametrize(("a", "b"), [(1.0, 100.0), (30.0, 0.0), (0.2, -7.0)])
def test_level_and_scale_of_the_series_pass_to_the_forecast(statistics, a, b):
    """Exactly but for the least variance and, while few rows were seen, the prior."""
    model = make(statistics=statistics, quantiles=2)
    if statistics == "running":
        torch.nn.init.constant_(model.get_parameter("statistics.prior"), -1.0)
    values, observed, _ = make_series(p_missing=0.0)
    observed[0, :3] = 1.0
    forecast = model.unflatten(model(rows(values, observed))[0])
    moved = model.unflatten(model(rows(a * values + b, observed))[0])
    some = slice(5, None)
    expected = (a * forecast + b)[:, some]
    assert_close(moved[:, some], expected, rtol=1e-3, atol=1e-3 * expected.std().item())
    assert not torch.allclose(moved[:, some], forecast[:, some], rtol=0.01)


@pytest.mark.parametrize("statistics", ["running", "window"])
def test_what_stands_where_a_value_is_missing_does_not_count(statistics):
    model = make(statistics=statistics)
    values, observed, elapsed = make_series()
    expected, state = model(rows(values, observed), elapsed=elapsed)
    for rubbish in (0.0, 1e30, float("nan"), float("inf")):
        dirty = values.masked_fill(observed == 0, rubbish)
        got, got_state = model(rows(dirty, observed), elapsed=elapsed)
        assert torch.equal(got, expected)
        assert torch.equal(got_state["last"], state["last"])


def test_a_missing_value_reads_as_the_last_observed_one():
    # Where neither flags nor statistics tell them apart: the embedding is blind to flags, the prior outweighs all.
    model = make()
    torch.nn.init.constant_(model.get_parameter("statistics.prior"), 1.0)
    with torch.no_grad():
        model.embed.weight[:, CHANNELS * 4 :] = 0.0
    values, observed, _ = make_series()
    filled = values.clone()
    for t in range(TIME):
        before = filled[:, t - 1] if t else torch.zeros_like(filled[:, 0])  # the mean of the training part
        filled[:, t] = torch.where(observed[:, t] > 0, values[:, t], before)
    got, _ = model(rows(values, observed))
    expected, _ = model(rows(filled, torch.ones_like(observed)))
    assert_close(got, expected, rtol=1e-9, atol=1e-9)


def test_a_token_is_the_latest_rows_flags_and_covariates():
    model, tokens = make(covariates=1), []
    torch.nn.init.constant_(model.get_parameter("statistics.prior"), 1.0)  # so that level 0 and scale 1 are sure
    model.embed.register_forward_pre_hook(lambda _, arguments: tokens.append(arguments[0]))
    values, observed, _ = make_series(p_missing=0.0)
    covariates = torch.randn(2, TIME, 1).double()
    model(rows(values, torch.ones_like(observed), covariates))
    patches = values.unfold(1, 4, 1).flatten(-2) / (1 + FLOOR) ** 0.5
    expected = torch.cat([patches, torch.zeros_like(values[:, 3:]), covariates[:, 3:]], dim=-1)
    assert_close(tokens[0][:, 3:], expected)


def test_time_passes_for_the_statistics_of_any_layer():
    model = make(layer="gru")
    values, observed, elapsed = make_series(p_missing=0.0)
    _, state = model(rows(values, observed), elapsed=elapsed)
    _, _, expected = model.statistics(values, observed, elapsed=elapsed)
    assert_close(state["statistics"], expected)
    _, _, other = model.statistics(values, observed)
    assert not torch.allclose(other.weight, expected.weight)


@pytest.mark.parametrize("prior", [0.0, -3.0, 3.0])
def test_a_forecast_before_anything_was_observed_is_finite(prior):
    for statistics in ("running", "window"):
        model = make(statistics=statistics, dtype=torch.float32)
        if statistics == "running":
            torch.nn.init.constant_(model.get_parameter("statistics.prior"), prior)  # its exponent is 50 times that
        values, observed, _ = make_series()
        assert model(rows(values.float(), torch.zeros_like(observed).float()))[0].isfinite().all()


def test_future_covariates_reach_their_forecast_only():
    model = make(future=2, covariates=1)
    values, observed, _ = make_series()
    covariates = torch.randn(2, TIME, 1).double()
    future = torch.randn(2, TIME, HORIZON, 2).double()
    x = rows(values, observed, covariates, future.flatten(-2))
    assert x.shape[-1] == model.inputs
    forecast = model.unflatten(model(x)[0])
    for step in range(HORIZON):
        other = future.clone()
        other[:, 10, step] += 1.0
        changed = model.unflatten(model(rows(values, observed, covariates, other.flatten(-2)))[0])
        different = (changed != forecast).any(dim=-1).any(dim=-1)  # (batch, time, horizon)
        expected = torch.zeros_like(different)
        expected[:, 10, step] = True
        assert torch.equal(different, expected)
    assert not torch.equal(model(x)[0], model(rows(values, observed, covariates + 1, future.flatten(-2)))[0])


@pytest.mark.parametrize("windowed", [False, True])
def test_at_picks_rows_of_the_whole_output(windowed):
    model = make(future=1, quantiles=1)
    model = Windowed(model, 7).eval() if windowed else model
    values, observed, elapsed = make_series(batch=3)
    x = rows(values, observed, torch.randn(3, TIME, HORIZON).double())
    at = torch.tensor([[0, 5, 39], [39, 2, 2], [1, 0, 17]])
    mask = torch.zeros(3, TIME, dtype=torch.bool)
    mask[1, 3:9] = True
    reset = torch.zeros_like(mask)
    reset[2, 10] = True
    for flags in ({}, {"padding_mask": mask, "reset": reset}):
        whole, state = model(x, elapsed=elapsed, **flags)
        some, some_state = model(x, elapsed=elapsed, at=at, **flags)
        assert_close(some, whole[torch.arange(3)[:, None], at], rtol=1e-12, atol=1e-12)
        for (name, a), (_, b) in zip(named_leaves(some_state), named_leaves(state), strict=True):
            assert torch.equal(a, b), name


def test_windowed_is_the_model_on_each_window_alone():
    model = make(statistics="window", covariates=1, layer="aaren_decay")
    values, observed, elapsed = make_series()
    x = rows(values, observed, torch.randn(2, TIME, 1).double())
    got, _ = Windowed(model, 7).eval()(x, elapsed=elapsed)
    for t in range(TIME):
        window = slice(max(0, t - 6), t + 1)
        expected, _ = model(x[:, window], elapsed=elapsed[:, window])
        assert_close(got[:, t], expected[:, -1], rtol=1e-9, atol=1e-9)


def test_quantiles_are_in_order_and_the_mean_is_left_alone():
    model = make(quantiles=4)
    values, observed, _ = make_series()
    forecast = model.unflatten(model(rows(values, observed))[0])
    assert forecast.shape == (2, TIME, HORIZON, CHANNELS, 5)
    quantiles = forecast[..., 1:]
    assert (quantiles.diff(dim=-1) >= 0).all()
    assert (quantiles.diff(dim=-1) > 0).any()
    model.quantiles, silent = 0, model.head  # the same weights, of which only the mean's are used
    model.head = torch.nn.Linear(8, HORIZON * CHANNELS).double()
    with torch.no_grad():
        for mine, theirs in ((model.head.weight, silent.weight), (model.head.bias, silent.bias)):
            mine.copy_(theirs.unflatten(0, (-1, 5))[:, 0])
    assert_close(model.unflatten(model(rows(values, observed))[0])[..., 0], forecast[..., 0], rtol=1e-12, atol=1e-12)


def test_at_first_the_forecast_is_the_mean_of_the_window():
    model = SequenceForecaster(CHANNELS, HORIZON, **SMALL, statistics="window").double().eval()
    values, observed, _ = make_series(p_missing=0.0)
    forecast = model.unflatten(Windowed(model, WINDOW).eval()(rows(values, torch.ones_like(observed)))[0])[..., 0]
    expected = values.unfold(1, WINDOW, 1).mean(dim=-1)
    assert_close(forecast[:, WINDOW - 1 :], expected[:, :, None].expand(-1, -1, HORIZON, -1), rtol=1e-9, atol=1e-9)


def test_parameters_are_counted():
    def count(model):
        return sum(p.numel() for p in model.parameters())

    plain = SequenceForecaster(7, 96)
    embed, linear, head = (7 * 25 + 1) * 64, (96 + 1) * 96, (64 + 1) * 96 * 7
    assert count(plain) == embed + linear + head + count(plain.encoder) + 7
    assert count(SequenceForecaster(7, 96, statistics="window")) == count(plain) - 7
    # The linear map is shared by the channels: a new one costs its part of embedding, head and prior.
    assert count(SequenceForecaster(8, 96)) - count(plain) == 25 * 64 + 65 * 96 + 1
    future = SequenceForecaster(7, 96, future=3, covariates=2)
    assert count(future) - count(plain) == 2 * 64 + (3 + 1) * 16 + 65 * 16 * 7


@pytest.mark.parametrize("statistics", ["running", "window"])
def test_gradients_reach_every_parameter(statistics):
    model = make(statistics=statistics, future=1, covariates=1, quantiles=1, layer="aaren_decay").train()
    values, observed, elapsed = make_series()
    x = rows(values, observed, torch.randn(2, TIME, 1 + HORIZON).double())
    forecast, _ = model(x, elapsed=elapsed, at=torch.tensor([[5, 20], [11, 39]]))
    forecast.square().mean().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        if not name.endswith("k_proj.bias"):  # which a softmax does not see
            assert parameter.grad.abs().max() > 1e-9, name


def test_a_context_of_one_row_is_no_window():
    with pytest.raises(ValueError, match="context must be at least 2, got 1"):
        Windowed(make(), 1)
