"""`check_sequence_layer` accepts a correct layer it has never seen, and names the law that a wrong one breaks."""

import pytest
import torch
from torch import nn

from aaren.testing import ALL, check_sequence_layer


class CumulativeMean(nn.Module):
    """A foreign layer: mean of the tokens so far. State: one tensor (batch, 1 + d_model), count and sum."""

    constant_state = True
    compilable = True
    uses_elapsed = False

    def __init__(self, d_model=4):
        super().__init__()
        self.d_model = d_model
        self.scale = nn.Parameter(torch.linspace(0.5, 2.0, d_model))

    def initial_state(self, batch_size, device=None, dtype=None):
        return torch.zeros(batch_size, 1 + self.d_model, device=device, dtype=dtype or self.sums(self.scale.dtype))

    def sums(self, dtype):
        return torch.promote_types(dtype, torch.float32)

    def weight(self, x):
        return torch.ones_like(x[..., :1])

    def clean(self, x, padding_mask):
        return torch.where(padding_mask[..., None], 0.0, x)

    def forward(self, x, state=None, *, padding_mask=None, reset=None):
        state = self.initial_state(x.shape[0], x.device) if state is None else state
        tokens = torch.cat([self.weight(x), x], dim=-1).to(state.dtype)
        if padding_mask is not None:
            tokens = self.clean(tokens, padding_mask)
        totals = tokens.cumsum(dim=1)
        carried = state[:, None].expand_as(totals)
        if reset is not None:
            live_reset = reset if padding_mask is None else reset & ~padding_mask
            time = torch.arange(x.shape[1], device=x.device)
            start = torch.where(live_reset, time, -1).cummax(dim=1).values
            before = torch.cat([torch.zeros_like(totals[:, :1]), totals], dim=1)
            index = start.clamp(min=0)[..., None].expand_as(totals)
            totals = totals - before.gather(1, index)
            carried = torch.where((start >= 0)[..., None], 0.0, carried)
        totals = totals + carried
        y = self.scale * (totals[..., 1:] / totals[..., :1].clamp(min=1)).to(x.dtype)
        return y, totals[:, -1]


class ForgetsItsState(CumulativeMean):
    def forward(self, x, state=None, **flags):
        return super().forward(x, None, **flags)


class DetachesItsState(CumulativeMean):
    def forward(self, x, state=None, **flags):
        return super().forward(x, None if state is None else state.detach(), **flags)


class ReadsTheFuture(CumulativeMean):
    def forward(self, x, state=None, **flags):
        y, state = super().forward(x, state, **flags)
        return y + x.mean(dim=1, keepdim=True), state


class LetsRubbishThrough(CumulativeMean):
    def clean(self, x, padding_mask):
        return x * ~padding_mask[..., None]


class CountsPadding(CumulativeMean):
    def clean(self, x, padding_mask):
        return torch.cat([x[..., :1], torch.where(padding_mask[..., None], 0.0, x[..., 1:])], dim=-1)


class IgnoresResets(CumulativeMean):
    def forward(self, x, state=None, *, padding_mask=None, reset=None):
        return super().forward(x, state, padding_mask=padding_mask)


class MixesRows(CumulativeMean):
    def forward(self, x, state=None, **flags):
        y, state = super().forward(x, state, **flags)
        return y + 1e-3 * y.mean(dim=0, keepdim=True).detach(), state


class SumsInHalfPrecision(CumulativeMean):
    def sums(self, dtype):
        return dtype


class ChoosesItsOwnDtype(CumulativeMean):
    def forward(self, x, state=None, **flags):
        y, state = super().forward(x, state, **flags)
        return y, state.to(self.sums(x.dtype))


class SumsInSinglePrecision(CumulativeMean):
    """Keeps the label of the dtype, not its precision."""

    def forward(self, x, state=None, **flags):
        y, after = super().forward(x, None if state is None else state.float(), **flags)
        return y, after if state is None else after.to(state.dtype)


class OverwritesItsState(CumulativeMean):
    def forward(self, x, state=None, **flags):
        y, after = super().forward(x, state, **flags)
        if state is not None:
            with torch.no_grad():
                state.copy_(after)
        return y, after


class KnowsNoReset(CumulativeMean):
    def forward(self, x, state=None, *, padding_mask=None):  # pyright: ignore[reportIncompatibleMethodOverride]
        return super().forward(x, state, padding_mask=padding_mask)


class RemembersEverything(CumulativeMean):
    """Its state is all tokens, though it says it is constant."""

    def initial_state(self, batch_size, device=None, dtype=None):
        return torch.zeros(batch_size, 0, self.d_model, dtype=dtype or self.scale.dtype)

    def forward(self, x, state=None, **flags):
        state = self.initial_state(x.shape[0]) if state is None else state
        everything = torch.cat([state, x], dim=1)
        return self.scale * everything[:, -x.shape[1] :], everything


class SaysItGrows(CumulativeMean):
    constant_state = False


class HidesAWeight(CumulativeMean):
    def __init__(self):
        super().__init__()
        self.offset = torch.rand(1)

    def __deepcopy__(self, memo):
        other = type(self)()
        other.load_state_dict(self.state_dict())
        return other

    def forward(self, x, state=None, **flags):
        y, state = super().forward(x, state, **flags)
        return y + self.offset.to(y.dtype), state


@pytest.mark.unchecked
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_a_correct_foreign_layer_passes(dtype):
    check_sequence_layer(CumulativeMean(), dtype=dtype)


VIOLATORS = [
    (ForgetsItsState, "modes"),
    (DetachesItsState, "modes"),
    (ReadsTheFuture, "causal"),
    (LetsRubbishThrough, "masked"),
    (CountsPadding, "masked"),
    (IgnoresResets, "masked"),
    (MixesRows, "rows"),
    (SumsInHalfPrecision, "precision"),
    (ChoosesItsOwnDtype, "precision"),
    (SumsInSinglePrecision, "precision"),
    (OverwritesItsState, "modes"),
    (KnowsNoReset, "modes"),
    (RemembersEverything, "size"),
    (SaysItGrows, "size"),
    (HidesAWeight, "tools"),
]


def test_every_law_has_a_violator():
    assert {law for _, law in VIOLATORS} == set(ALL)


@pytest.mark.unchecked
@pytest.mark.parametrize(("layer", "law"), VIOLATORS)
def test_the_broken_law_is_named(layer, law):
    with pytest.raises(AssertionError, match=rf"law '{law}' broken by {layer.__name__}"):
        check_sequence_layer(layer(), laws=[law])


@pytest.mark.unchecked
def test_bad_arguments():
    with pytest.raises(ValueError, match="laws must be among modes, causal"):
        check_sequence_layer(CumulativeMean(), laws=["speed"])
    with pytest.raises(ValueError, match="layer must be an instance, got the class CumulativeMean"):
        check_sequence_layer(CumulativeMean)  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match=r"layer must have d_model, .*, got none of d_model, constant_state"):
        check_sequence_layer(nn.Linear(2, 2))  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match=r"dtype must be torch.float64 or torch.float32, got torch.float16"):
        check_sequence_layer(CumulativeMean(), dtype=torch.float16)
