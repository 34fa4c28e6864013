"""What is exported is what a stream does, scaling and decoding included."""

import numpy as np
import pandas
import pytest
import torch

from aaren import Encoder, Forecaster
from aaren.data.series import Roles
from aaren.export.int8 import as_int8, round_weights, rounded
from aaren.export.one_token import Flat, arguments_of, deploy_layer, initial_value
from aaren.models.forecaster import SequenceForecaster
from aaren.models.windowed import Windowed
from aaren.train import Recipe

pytestmark = pytest.mark.unchecked


def test_a_classifier_gives_the_probabilities_of_its_stream(classifier):
    deployment, stream = classifier.deployment(), classifier.stream()
    flat, state = Flat(deployment).eval(), arguments_of(deployment, 1)[1:]
    with torch.inference_mode():
        for sample in 5 + 3 * np.random.default_rng(1).normal(size=(30, 2)).astype(np.float32):
            probabilities, *state = flat(torch.from_numpy(sample[None]), *state)
            assert torch.equal(probabilities[0], stream.push(sample))
    assert deployment.about["classes"] == ["high", "low"]


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-5)])
def test_a_forecaster_gives_the_forecasts_of_its_stream(forecaster, rows, dtype, tolerance):
    deployment = forecaster.deployment(dtype)
    stream = forecaster.stream(static=[2.0], dtype=dtype)
    flat, state = Flat(deployment).eval(), arguments_of(deployment, 1)[len(deployment.inputs) :]
    assert [port.name for port in deployment.inputs] == ["values", "time", "past", "known", "static", "future"]
    with torch.inference_mode():
        for row, future, inputs in rows:
            expected = stream.push(row, future=future)
            given = [torch.as_tensor(inputs[p.name], dtype=p.dtype)[None] for p in deployment.inputs]
            forecast, *state = flat(*given, *state)
            np.testing.assert_allclose(forecast[0], expected, rtol=tolerance, atol=tolerance)


def test_times_that_jump_age_the_state(forecaster, rows):
    """Rows three steps apart, which no freq fills in."""
    deployment, stream = forecaster.deployment(), forecaster.stream(static=[2.0])
    flat, state = Flat(deployment).eval(), arguments_of(deployment, 1)[len(deployment.inputs) :]
    with torch.inference_mode():
        for row, future, inputs in rows[::3]:
            given = [torch.as_tensor(inputs[p.name], dtype=p.dtype)[None] for p in deployment.inputs]
            forecast, *state = flat(*given, *state)
            np.testing.assert_allclose(forecast[0], stream.push(row, future=future), rtol=1e-12)


def test_forecasters_without_quantiles_names_or_even_times(table):
    """An array; and rows at odd times in a unit of their own, of one channel."""
    plain = Forecaster("gru", horizon=3, context=8, recipe=Recipe(updates=1)).fit(table[["wind"]].to_numpy())
    odd = table.iloc[np.sort(np.random.default_rng(0).choice(300, 200, replace=False))]
    odd = pandas.DataFrame({"t": odd.index / 7.0, "wind": odd["wind"]}).reset_index(drop=True)
    irregular = Forecaster(horizon=3, context=8, roles=Roles("t"), recipe=Recipe(updates=1)).fit(odd)
    assert irregular.layout_.irregular
    for forecaster, data in ((plain, table), (irregular, odd)):
        deployment, stream = forecaster.deployment(), forecaster.stream()
        flat, state = Flat(deployment).eval(), arguments_of(deployment, 1)[len(deployment.inputs) :]
        with torch.inference_mode():
            for i in range(40):
                row = data.iloc[i]
                given = [torch.tensor([[row["wind"]]], dtype=torch.float64)]
                given += [torch.tensor([row["t"]], dtype=torch.float64)] if "t" in data else []
                forecast, *state = flat(*given, *state)
                expected = stream.push(row[["t", "wind"]].to_dict() if "t" in data else [row["wind"]])
                np.testing.assert_allclose(forecast[0], expected, rtol=1e-10, atol=1e-10)


def test_what_is_no_recurrent_network_is_refused():
    with pytest.raises(ValueError, match="model must have a state of constant size to be exported, got one that grows"):
        deploy_layer(Encoder(1, 8, 2, 8, layer="attention"))
    with pytest.raises(ValueError, match="must be a recurrent network to be exported, got one that recomputes"):
        deploy_layer(Windowed(SequenceForecaster(1, 2, window=4, statistics="window"), 4))


def test_matrices_of_rounded_weights_are_found_and_others_are_not():
    deployment = deploy_layer(Encoder(1, 16, 2, 24).eval())
    assert not any(as_int8(p) for p in deployment.module.parameters() if p.ndim == 2)
    after = dict(round_weights(deployment).module.named_parameters())
    for name, weight in deployment.module.named_parameters():
        if weight.ndim == 2 and min(weight.shape) >= 8:
            parts = as_int8(after[name].detach())
            assert parts is not None
            assert (parts.whole.abs().amax(dim=1) == 127).all()
            assert (after[name] - weight).abs().max() <= parts.scale.max() / 2 * 1.001
        else:
            assert torch.equal(after[name], weight)
    assert not torch.isnan(rounded(torch.zeros(8, 8)).scale).any()


def test_an_initial_leaf_of_several_numbers_is_refused():
    with pytest.raises(ValueError, match=r"must be one number in each leaf, got several in state\.x"):
        initial_value("state.x", torch.tensor([[0.0, 1.0]]))
