"""A Transformer's self-attention and a Perceiver's cross-attention are recurrent networks.

Both are run with the weights of `torch.nn.MultiheadAttention` as the many-to-one RNN `attend`, and compared with what
PyTorch's own module returns. Explained in docs/attention_as_rnn.md.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from aaren.ops.attend import attend
from aaren.ops.scan_state import ScanState, combine, readout

WIDTH, HEADS = 32, 4


def make_attention() -> nn.MultiheadAttention:
    """PyTorch's module, in float64 so that a difference is a mistake and not rounding."""
    attention = nn.MultiheadAttention(WIDTH, HEADS, batch_first=True, dtype=torch.float64).eval()
    nn.init.normal_(attention.in_proj_bias)  # zero in a new module, which would hide a lost bias
    nn.init.normal_(attention.out_proj.bias)
    return attention


def project(attention: nn.MultiheadAttention, queries: Tensor, context: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The module's own queries, keys and values: (batch, tokens, heads, head_dim)."""
    (wq, wk, wv), (bq, bk, bv) = attention.in_proj_weight.chunk(3), attention.in_proj_bias.chunk(3)
    projected = F.linear(queries, wq, bq), F.linear(context, wk, bk), F.linear(context, wv, bv)
    q, k, v = (x.unflatten(-1, (HEADS, WIDTH // HEADS)) for x in projected)
    return q, k, v


def difference(attention: nn.MultiheadAttention, outputs: Tensor, expected: Tensor) -> float:
    """Largest difference between the module's output and `outputs` (batch, queries, heads, head_dim)."""
    return (attention.out_proj(outputs.flatten(-2)) - expected).abs().max().item()


def nbytes(state: ScanState) -> int:
    return sum(leaf.nbytes for leaf in state)


@torch.no_grad()
def self_attention(tokens: int = 12) -> dict[str, float]:
    """Every token is a query with an RNN of its own, and all these RNNs read the same tokens."""
    attention = make_attention()
    x = torch.randn(1, tokens + 1, WIDTH, dtype=torch.float64)
    old = x[:, :tokens]
    expected, _ = attention(old, old, old)
    q, k, v = project(attention, old, old)

    at_once, state = attend(q, k, v)
    half = tokens // 2
    parts = [attend(q, k[:, part], v[:, part])[1] for part in (slice(half), slice(half, None))]
    found = {
        "token by token": difference(attention, attend(q, k, v, block=1)[0], expected),
        "5 tokens at a time": difference(attention, attend(q, k, v, block=5)[0], expected),
        "all at once": difference(attention, at_once, expected),
        "two halves, joined": difference(attention, readout(combine(*parts)), expected),
    }

    # One token more. Queries that have a state read it alone; its own query is new and must read everything.
    expected, _ = attention(x, x, x)
    q, k, v = project(attention, x, x)
    updated, _ = attend(q[:, :-1], k[:, -1:], v[:, -1:], state)
    newcomer, _ = attend(q[:, -1:], k, v)
    found["a new token: the old queries read 1 token"] = difference(attention, updated, expected[:, :-1])
    found[f"a new token: its own query reads {tokens + 1}"] = difference(attention, newcomer, expected[:, -1:])
    return found


@torch.no_grad()
def cross_attention(tokens: int = 1000) -> tuple[dict[str, float], list[int]]:
    """A few learned latents read a long context. Also returns the bytes of the state after every token."""
    attention = make_attention()
    latents = torch.randn(1, 4, WIDTH, dtype=torch.float64)
    context = torch.randn(1, tokens, WIDTH, dtype=torch.float64)
    q, k, v = project(attention, latents, context)
    expected, _ = attention(latents, context, context)
    found = {
        "token by token": difference(attention, attend(q, k, v, block=1)[0], expected),
        "64 tokens at a time": difference(attention, attend(q, k, v, block=64)[0], expected),
        "all at once": difference(attention, attend(q, k, v)[0], expected),
    }

    # A context that arrives: one update a token, where the module has to be called on the whole prefix again.
    state, sizes, differences = None, [], []
    for t in range(tokens):
        y, state = attend(q, k[:, t : t + 1], v[:, t : t + 1], state)
        prefix = context[:, : t + 1]
        differences.append(difference(attention, y, attention(latents, prefix, prefix)[0]))
        sizes.append(nbytes(state))
    found["arriving, worst of all prefixes"] = max(differences)
    return found, sizes


def differences() -> dict[str, float]:
    """Every difference from PyTorch's module that this example prints."""
    torch.manual_seed(0)
    return {f"self: {name}": d for name, d in self_attention().items()} | {
        f"cross: {name}": d for name, d in cross_attention()[0].items()
    }


def main() -> None:
    torch.manual_seed(0)
    print("Largest difference from torch.nn.MultiheadAttention")
    print("\nA Transformer's self-attention: 12 tokens, 12 queries")
    for name, d in self_attention().items():
        print(f"  {name:<44}{d:.1e}")
    print("\nA Perceiver's cross-attention: 4 latents, 1,000 tokens")
    found, sizes = cross_attention()
    for name, d in found.items():
        print(f"  {name:<44}{d:.1e}")
    print(f"  {'bytes of state after 1 and 1,000 tokens':<44}{sizes[0]:,} and {sizes[-1]:,}")


if __name__ == "__main__":
    main()
