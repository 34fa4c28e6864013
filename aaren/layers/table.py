"""Every layer by name. A new layer is one file and one row here; tasks, laws and benchmarks then have it."""

import difflib

from torch import nn

from aaren.layers.aaren import Aaren, AarenDecay
from aaren.layers.aaren_gated import AarenGated
from aaren.layers.attention import Attention
from aaren.layers.gated import MinGRU, MinLSTM
from aaren.layers.protocol import LayerFactory
from aaren.layers.recurrent import GRU, LSTM

LAYERS: dict[str, LayerFactory] = {
    "aaren": Aaren,
    "aaren_decay": AarenDecay,
    "aaren_gated": AarenGated,
    "attention": Attention,
    "gru": GRU,
    "lstm": LSTM,
    "mingru": MinGRU,
    "minlstm": MinLSTM,
}
"""Each is called `cls(d_model, nhead=1, *, dropout=0.0)`."""


def find_layer(layer: str | LayerFactory) -> LayerFactory:
    """The factory of that name, or the factory given. Raises ValueError on an unknown name, listing the known."""
    if isinstance(layer, nn.Module) or not (isinstance(layer, str) or callable(layer)):
        form = "a name or a factory called layer(d_model, nhead, dropout=...)"
        raise ValueError(f"layer must be {form}, got {type(layer).__name__}")
    if not isinstance(layer, str):
        return layer
    if layer not in LAYERS:
        near = difflib.get_close_matches(layer, LAYERS, n=1)
        if "," in layer:
            raise ValueError(f"layer must be one of {', '.join(LAYERS)}, got {layer!r}; separate names with spaces")
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise ValueError(f"layer must be one of {', '.join(LAYERS)}, got {layer!r}{hint}")
    return LAYERS[layer]
