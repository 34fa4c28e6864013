"""A layer of your own: write it, check the laws of the contract, use it like any other."""

import torch
from torch import nn

import aaren
from aaren.testing import check_sequence_layer


class MovingAverage(nn.Module):
    """Exponential moving average of the tokens, one learned rate a channel. State: the average, (batch, d_model)."""

    constant_state = True  # the state has the same size whatever has been seen
    compilable = True  # torch.compile(fullgraph=True) works
    uses_elapsed = False  # takes no keyword `elapsed`

    def __init__(self, d_model: int, nhead: int = 1, *, dropout: float = 0.0):  # how `Block` and `Encoder` call it
        super().__init__()
        self.d_model = d_model
        self.rate = nn.Parameter(torch.zeros(d_model))

    def initial_state(self, batch_size, device=None, dtype=None):
        # The state is a sum: at least float32, and float64 when a stream asks for it.
        dtype = dtype or torch.promote_types(self.rate.dtype, torch.float32)
        return torch.zeros(batch_size, self.d_model, device=device, dtype=dtype)

    def forward(self, x, state=None, *, padding_mask=None, reset=None):
        state = self.initial_state(x.shape[0], x.device) if state is None else state
        if padding_mask is not None:
            x = torch.where(padding_mask[..., None], 0.0, x)  # `where`, not a product: 0 · NaN is NaN
        keep = torch.sigmoid(self.rate).to(state.dtype)
        outputs = []
        for t in range(x.shape[1]):
            old = state if reset is None else torch.where(reset[:, t, None], 0.0, state)
            new = keep * old + (1 - keep) * x[:, t].to(state.dtype)
            state = new if padding_mask is None else torch.where(padding_mask[:, t, None], state, new)
            outputs.append(state.to(x.dtype))
        return torch.stack(outputs, dim=1), state


if __name__ == "__main__":
    check_sequence_layer(MovingAverage(6))  # raises AssertionError naming the law that is broken
    print("all laws hold")
    model = aaren.Encoder(2, 16, 4, 32, layer=MovingAverage)
    y, state = model(torch.randn(3, 50, 16))
    print("in an encoder:", tuple(y.shape))
    aaren.LAYERS["moving_average"] = MovingAverage  # and the estimators know it by name
    print("layers:", ", ".join(aaren.LAYERS))
