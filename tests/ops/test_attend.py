"""A Transformer's self-attention and a Perceiver's cross-attention are the RNN `attend`, with PyTorch's own weights."""

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from aaren.ops.attend import attend
from aaren.ops.scan_state import combine

WIDTH, HEADS = 12, 3


def project(attention: nn.MultiheadAttention, queries, context) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The heads (batch, length, heads, head_dim) that `attention` computes inside."""
    wq, wk, wv = attention.in_proj_weight.chunk(3)
    bq, bk, bv = attention.in_proj_bias.chunk(3)
    q = nn.functional.linear(queries, wq, bq)
    k, v = nn.functional.linear(context, wk, bk), nn.functional.linear(context, wv, bv)
    heads = (HEADS, WIDTH // HEADS)
    return q.unflatten(-1, heads), k.unflatten(-1, heads), v.unflatten(-1, heads)


@pytest.fixture
def attention():
    module = nn.MultiheadAttention(WIDTH, HEADS, batch_first=True, dtype=torch.float64)
    nn.init.normal_(module.in_proj_bias)
    nn.init.normal_(module.out_proj.bias)
    return module


@pytest.mark.parametrize("block", [1, 4, 7, 100, None])
@pytest.mark.parametrize("masked", [False, True])
def test_self_attention_of_a_transformer(attention, block, masked):
    x = torch.randn(2, 9, WIDTH, dtype=torch.float64)
    mask = torch.zeros(2, 9, dtype=torch.bool)
    if masked:
        mask[0, :3], mask[1, 5:] = True, True
    expected, _ = attention(x, x, x, key_padding_mask=mask)
    y, _ = attend(*project(attention, x, x), padding_mask=mask, block=block)
    assert_close(attention.out_proj(y.flatten(-2)), expected, rtol=1e-6, atol=1e-6)


def test_causal_self_attention_token_by_token(attention):
    # Reader t is an RNN over tokens 0..t: its state after token t is what a causal Transformer computes there.
    x = torch.randn(2, 9, WIDTH, dtype=torch.float64)
    causal = nn.Transformer.generate_square_subsequent_mask(9, dtype=torch.float64)
    expected, _ = attention(x, x, x, attn_mask=causal)
    queries, keys, values = project(attention, x, x)
    outputs = [attend(queries[:, t : t + 1], keys[:, : t + 1], values[:, : t + 1], block=1)[0] for t in range(9)]
    assert_close(attention.out_proj(torch.cat(outputs, dim=1).flatten(-2)), expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("block", [1, 5, None])
def test_cross_attention_of_a_perceiver(attention, block):
    latents, context = (
        torch.randn(2, 4, WIDTH, dtype=torch.float64),
        torch.randn(2, 30, WIDTH, dtype=torch.float64),
    )
    expected, _ = attention(latents, context, context)
    queries, keys, values = project(attention, latents, context)
    y, state = attend(queries, keys[:, :1], values[:, :1])
    for t in range(1, 30):  # a context that arrives one token at a time
        y, state = attend(queries, keys[:, t : t + 1], values[:, t : t + 1], state, block=block)
    assert_close(attention.out_proj(y.flatten(-2)), expected, rtol=1e-6, atol=1e-6)


def test_parts_of_a_context_join(attention):
    x = torch.randn(2, 20, WIDTH, dtype=torch.float64)
    queries, keys, values = project(attention, x[:, :3], x)
    _, left = attend(queries, keys[:, :8], values[:, :8])
    _, right = attend(queries, keys[:, 8:], values[:, 8:], block=5)
    joined = combine(left, right)
    expected, state = attend(queries, keys, values)
    assert_close(joined.w / joined.u[..., None], expected)
    assert_close(joined, state)


def test_gradients_and_masks(attention):
    x = torch.randn(2, 6, WIDTH, dtype=torch.float64)
    mask = torch.zeros(2, 6, dtype=torch.bool)
    mask[0] = True  # a row with no context at all
    mask[1, 2:4] = True
    q, k, v = (t.detach().requires_grad_() for t in project(attention, x, x))
    whole, _ = attend(q, k, v, padding_mask=mask)
    steps, _ = attend(q, k, v, padding_mask=mask, block=1)
    weights = torch.randn_like(whole)
    for a, b in zip(
        torch.autograd.grad(whole, (q, k, v), weights),
        torch.autograd.grad(steps, (q, k, v), weights),
        strict=True,
    ):
        assert torch.isfinite(a).all()
        assert_close(a, b)
    assert torch.equal(whole[0], torch.zeros_like(whole[0]))
    dead = mask[..., None, None]
    dirty, _ = attend(q, k.masked_fill(dead, torch.nan), v.masked_fill(dead, torch.nan), padding_mask=mask)
    assert torch.equal(dirty, whole)
    for gradient in torch.autograd.grad(dirty, (q, k, v), weights):
        assert torch.isfinite(gradient).all()


def test_autocast_does_not_reach_the_sums(attention):
    queries, keys, values = (
        x.float() for x in project(attention, *[torch.randn(2, 9, WIDTH, dtype=torch.float64)] * 2)
    )
    expected, _ = attend(queries, keys, values)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(attend(queries, keys, values)[0], expected)


@pytest.mark.unchecked
def test_bad_input_names_the_argument():
    q, k = torch.zeros(2, 3, 2, 4), torch.zeros(2, 5, 2, 4)
    for arguments, message in [
        ((q[:1], k, k), "queries must have shape"),
        ((q, k, k[:, :4]), "values must have the shape of keys"),
        ((q, k[:, :0], k[:, :0]), "keys must have shape"),
    ]:
        with pytest.raises(ValueError, match=message):
            attend(*arguments)
    with pytest.raises(ValueError, match="block must be at least 1"):
        attend(q, k, k, block=0)
