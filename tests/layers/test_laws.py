"""The laws of the contract over every layer, and over what is built of them."""

import pytest
import torch

from aaren.layers.aaren import Aaren, AarenDecay
from aaren.layers.aaren_gated import AarenGated
from aaren.layers.attention import Attention
from aaren.layers.block import Block
from aaren.layers.embed import Positions
from aaren.layers.table import LAYERS
from aaren.models.classifier import SequenceClassifier
from aaren.models.clone import Clone
from aaren.models.decision import DecisionModel
from aaren.models.encoder import Encoder
from aaren.models.event_model import EventModel
from aaren.models.forecaster import SequenceForecaster
from aaren.models.windowed import Windowed
from aaren.testing import ALL, check_sequence_layer


def _with_taps(layer):
    torch.nn.init.normal_(layer.taps)
    return layer


def forecaster(width=6, channels=2, horizon=3, **more):
    """A forecaster whose rows, states and forecasts are all `width` wide, as the laws want them."""
    sizes = {"d_model": width, "nhead": 2, "dim_feedforward": 8, "num_layers": 1, "window": 5, "patch": 3}
    model = SequenceForecaster(channels, horizon, **{"layer": "aaren_decay", **sizes, **more})
    for parameter in model.parameters():  # of which many are zero at first
        torch.nn.init.normal_(parameter, std=0.5 if parameter.ndim > 1 else 0.05)
    assert model.inputs == model.head.out_features == width
    return model


class Square(torch.nn.Module):
    """A model with outputs made as wide as its tokens: sums of its numbers."""

    uses_elapsed = False

    def __init__(self, model, inputs, outputs):
        super().__init__()
        self.model, self.d_model = model, inputs
        self.constant_state, self.compilable = model.constant_state, model.compilable
        self.register_buffer("mix", torch.cos(torch.arange(1.0, inputs * outputs + 1)).reshape(outputs, inputs))

    def initial_state(self, batch_size, device=None, dtype=None):
        return self.model.initial_state(batch_size, device, dtype)

    def forward(self, x, state=None, *, padding_mask=None, reset=None):
        y, state = self.model(x, state, padding_mask=padding_mask, reset=reset)
        return y @ self.mix, state


SIZES = {"d_model": 6, "nhead": 2, "dim_feedforward": 8, "num_layers": 1}


def events(layer):
    model = EventModel(3, periods=[2.0, 30.0], layer=layer, mixture=2, **SIZES)
    model.scale(0.3, 1.2, 2.0, 0.01, 50.0)
    return Square(model, 2, 9)


def decisions(layer, tokens_per_step=1):
    model = DecisionModel(3, 2, layer=layer, tokens_per_step=tokens_per_step, **SIZES)
    for weight in (model.begin, model.embed_number.weight):  # they begin at zero
        torch.nn.init.normal_(weight)
    return Square(model, model.inputs, 2)


SUBJECTS = {name: lambda make=make: make(12, 3) for name, make in LAYERS.items()} | {
    "aaren, folded": lambda: Aaren(12, 3).fold(),
    "aaren without bias": lambda: Aaren(12, 2, bias=False),
    "aaren_decay, folded": lambda: AarenDecay(12, 3).fold(),
    "aaren_gated, 2 queries": lambda: AarenGated(12, 3, kernel=1, gate=False, queries=2),
    "aaren_gated, trained convolution": lambda: _with_taps(AarenGated(12, 3, input_decay=False)),
    "attention with a window": lambda: Attention(12, 3, window=4),
    "positions": lambda: Positions(11),
    "block, pre-norm, gelu": lambda: Block(12, 3, 24, layer="attention", norm_first=True, activation="gelu"),
    "classifier": lambda: SequenceClassifier(12, 12, d_model=12, nhead=3, dim_feedforward=24, layer="aaren_decay"),
    "clone": lambda: Square(Clone(3, 2, width=6), 7, 2),
    "decisions": lambda: decisions("aaren_decay"),
    "decisions, attention": lambda: decisions("attention"),
    "decisions of three tokens": lambda: decisions("aaren_decay", 3),
    "events": lambda: events("aaren_decay"),
    "events, mingru": lambda: events("mingru"),
    "encoder": lambda: Encoder(2, 12, 3, 24, layer="aaren_decay"),
    "forecaster": lambda: forecaster(covariates=2),
    "forecaster with future and quantiles": lambda: forecaster(8, 1, 4, covariates=2, future=1, quantiles=1),
    "windowed forecaster": lambda: Windowed(forecaster(covariates=2, statistics="window", layer="mingru"), 4),
    "windowed running forecaster": lambda: Windowed(forecaster(covariates=2, layer="mingru"), 4),
}


DTYPES = [torch.float64, torch.float32]
CASES = [(law, dtype) for law in ALL for dtype in DTYPES if law != "tools"]
CASES.remove(("precision", torch.float32))  # a law that chooses its own


@pytest.mark.parametrize(("law", "dtype"), CASES)
@pytest.mark.parametrize("name", SUBJECTS)
def test_law(name, law, dtype):
    check_sequence_layer(SUBJECTS[name](), laws=[law], dtype=dtype)


@pytest.mark.unchecked
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", SUBJECTS)
def test_law_tools(name, dtype):
    check_sequence_layer(SUBJECTS[name](), laws=["tools"], dtype=dtype)
