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
from aaren.models.encoder import Encoder
from aaren.testing import ALL, check_sequence_layer


def _with_taps(layer):
    torch.nn.init.normal_(layer.taps)  # zero at first
    return layer


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
    "encoder": lambda: Encoder(2, 12, 3, 24, layer="aaren_decay"),
}


@pytest.mark.parametrize("law", [law for law in ALL if law != "tools"])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("name", SUBJECTS)
def test_law(name, dtype, law):
    check_sequence_layer(SUBJECTS[name](), laws=[law], dtype=dtype)


@pytest.mark.unchecked
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("name", SUBJECTS)
def test_law_tools(name, dtype):
    check_sequence_layer(SUBJECTS[name](), laws=["tools"], dtype=dtype)
