"""A graph of one token computes the same without its axis of time."""

import numpy as np
import pytest
import torch
from torch import nn

from aaren.export.no_time import Flattened
from aaren.export.one_token import deploy_layer, program_of
from aaren.models.encoder import Encoder
from aaren.models.event_model import EventModel
from aaren.tasks.event_deploy import deploy_events

pytestmark = pytest.mark.unchecked


class Strange(nn.Module):
    """Does to tokens what a layer of one's own might: axes by number, of either sign, and sums over time."""

    def forward(self, token, past):
        x = token[:, None]
        seen = torch.cat([past, x], dim=1)
        heads = x.unflatten(2, (2, -1)).transpose(2, 3)
        swapped = heads.flatten(2, 3) * x.unsqueeze(0).squeeze(0)
        grown = (x + torch.ones(2, 1)).unsqueeze(3).select(-1, 0) - seen.mean(dim=1, keepdim=True)
        first = x.unsqueeze(1).flatten(1, 2) + torch.where(x > 0, x, x[:, :, :1])
        y = swapped + grown.softmax(dim=2) + first + torch.zeros(1, 1, 4).expand_as(x) + seen[:, -1:]
        y = y + (x > 0).cumsum(dim=1) + torch.cat([x[..., :1].sin(), x[..., 1:].cos()], dim=-1) * torch.ones(1, 4)
        y = y + torch.stack([x, x.clamp(min=0.1).log()], dim=-1).flatten(2)[..., ::2] + torch.cat([x, x], dim=1).sum()
        y = y + nn.functional.embedding((x[..., 0] > 0).long(), torch.arange(8.0).view(2, 4)) * torch.ones(2, 1, 4)
        return y[:, 0], seen[:, 1:]


@pytest.mark.parametrize("layer", ["aaren", "aaren_decay", "aaren_gated", "mingru", "minlstm"])
def test_encoders_lose_the_axis_everywhere(layer):
    program = program_of(deploy_layer(Encoder(2, 8, 2, 16, layer=layer)), rows=None)
    products = [node for node in program.graph.nodes if node.target is torch.ops.aten.linear.default]
    assert products
    assert all(node.meta["val"].ndim == 2 for node in products)


def test_events_lose_the_axis_everywhere():
    deployment = deploy_events(EventModel(3, d_model=8, nhead=2), np.array(["a", "b", "c"]), torch.float64)
    program = program_of(deployment, rows=None)
    products = [node for node in program.graph.nodes if node.target is torch.ops.aten.linear.default]
    assert len(products) > 8
    assert all(node.meta["val"].ndim == 2 for node in products)


def test_what_it_does_not_know_keeps_the_axis():
    torch.manual_seed(0)
    module, arguments = Strange(), (torch.randn(2, 4), torch.randn(2, 3, 4))
    program = torch.export.export(module, arguments, strict=False)
    program = torch.export.export(Flattened(program), arguments, strict=False)
    torch.testing.assert_close(program.module()(*arguments), module(*arguments))
