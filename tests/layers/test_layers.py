import math

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from aaren.layers.aaren import HALF_LIVES, Aaren, AarenDecay
from aaren.layers.attention import Attention
from aaren.layers.block import Block
from aaren.layers.embed import Positions
from aaren.layers.fold import fold
from aaren.layers.gated import MinGRU, MinLSTM
from aaren.layers.protocol import SequenceLayer
from aaren.layers.recurrent import GRU, LSTM
from aaren.layers.table import LAYERS
from aaren.models.encoder import Encoder


def x64(*shape):
    return torch.randn(*shape, dtype=torch.float64)


def test_aaren_is_attention_with_the_query_token():
    layer = Aaren(12, 3).double()
    for parameter in layer.parameters():
        nn.init.normal_(parameter)
    x = x64(2, 9, 12)
    q = layer.q_proj(layer.query).view(3, 4)
    k, v = layer.k_proj(x).view(2, 9, 3, 4), layer.v_proj(x).view(2, 9, 3, 4)
    scores = torch.einsum("hd,bthd->bth", q, k) / 2
    prefixes = []
    for t in range(9):
        p = torch.softmax(scores[:, : t + 1], dim=1)
        prefixes.append(torch.einsum("bth,bthd->bhd", p, v[:, : t + 1]).flatten(1))
    y, state = layer(x)
    assert_close(y, layer.out_proj(torch.stack(prefixes, dim=1)))
    assert_close(state.m, scores.amax(dim=1))  # the constant of the key bias is in the state


@pytest.mark.parametrize("make", [Aaren, AarenDecay])
def test_fold_is_exact_and_states_move_between_the_two(make):
    layer = make(12, 3).double()
    for parameter in layer.parameters():
        nn.init.normal_(parameter)
    folded = layer.fold()
    x = x64(2, 9, 12)
    y, _ = layer(x)
    begun, state = folded(x[:, :5])
    ended, _ = layer(x[:, 5:], state)
    assert_close(torch.cat([begun, ended], dim=1), y)
    assert sum(p.numel() for p in folded.parameters()) < sum(p.numel() for p in layer.parameters())


def test_every_parameter_of_a_layer_is_used():
    for name, make in LAYERS.items():
        layer = make(12, 3)
        layer(torch.randn(2, 5, 12))[0].square().sum().backward()
        assert [n for n, p in layer.named_parameters() if p.grad is None] == [], name


def test_the_published_parameter_counts():
    # Feng et al. 2024: 3,152,384 for the Transformer's block, one query token of 512 more for Aaren's
    def count(layer):
        return sum(p.numel() for p in Block(512, 8, 2048, layer=layer).parameters())

    assert count("attention") == 3_152_384
    assert count("aaren") == 3_152_896


def test_attention_is_pytorch_attention():
    layer = Attention(12, 3).double()
    reference = nn.MultiheadAttention(12, 3, batch_first=True, dtype=torch.float64)
    with torch.no_grad():
        projections = (layer.q_proj, layer.k_proj, layer.v_proj)
        reference.in_proj_weight.copy_(torch.cat([p.weight for p in projections]))
        reference.in_proj_bias.copy_(torch.cat([p.bias for p in projections]))
        reference.out_proj.load_state_dict(layer.out_proj.state_dict())
    x = x64(2, 9, 12)
    mask = nn.Transformer.generate_square_subsequent_mask(9, dtype=torch.float64)
    assert_close(layer(x)[0], reference(x, x, x, attn_mask=mask)[0])


@pytest.mark.parametrize("norm_first", [False, True])
@pytest.mark.parametrize("activation", ["relu", "gelu"])
def test_block_is_pytorchs_encoder_layer(norm_first, activation):
    block = Block(12, 3, 24, layer="attention", norm_first=norm_first, activation=activation).double().eval()
    reference = nn.TransformerEncoderLayer(
        12, 3, 24, activation=activation, norm_first=norm_first, batch_first=True, dtype=torch.float64
    ).eval()
    with torch.no_grad():
        projections = (block.layer.q_proj, block.layer.k_proj, block.layer.v_proj)
        reference.self_attn.in_proj_weight.copy_(torch.cat([p.weight for p in projections]))
        reference.self_attn.in_proj_bias.copy_(torch.cat([p.bias for p in projections]))
        reference.self_attn.out_proj.load_state_dict(block.layer.out_proj.state_dict())
        for part in ("linear1", "linear2", "norm1", "norm2"):
            getattr(reference, part).load_state_dict(getattr(block, part).state_dict())
    x = x64(2, 9, 12)
    causal = nn.Transformer.generate_square_subsequent_mask(9, dtype=torch.float64)
    assert_close(block(x)[0], reference(x, src_mask=causal, is_causal=True))


def test_window_reads_the_last_tokens_only():
    layer = Attention(12, 3, window=4).double()
    x = x64(1, 20, 12)
    y, state = layer(x)
    for t in (4, 11, 19):
        alone, _ = layer(x[:, t - 3 : t + 1])
        assert_close(y[:, t], alone[:, -1])
    assert state.keys.shape[2] == 4
    wide, full = Attention(12, 3, window=20).double(), Attention(12, 3).double()
    full.load_state_dict(wide.state_dict())
    assert_close(wide(x)[0], full(x)[0])


def test_cache_holds_exactly_the_tokens_seen():
    layer = Attention(12, 3)
    mask = torch.tensor([[True, False, True, False, False], [True, True, True, True, False]])
    _, state = layer(torch.randn(2, 5, 12), padding_mask=mask)
    assert state.live.tolist() == [[True, True, True], [False, False, True]]
    reset = torch.zeros(2, 2, dtype=torch.bool)
    reset[:, 1] = True
    _, state = layer(torch.randn(2, 2, 12), state, reset=reset)
    assert state.live.tolist() == [[True], [True]]


@pytest.mark.parametrize(("ours", "theirs"), [(GRU, nn.GRU), (LSTM, nn.LSTM)])
def test_recurrent_layers_are_pytorchs(ours, theirs):
    layer, reference = ours(12).double(), theirs(12, 12, batch_first=True, dtype=torch.float64)
    reference.load_state_dict(layer.rnn.state_dict())
    x = x64(2, 9, 12)
    assert_close(layer(x)[0], reference(x)[0])


def test_decay_halves_with_the_half_life():
    layer = AarenDecay(4, 1).double()
    with torch.no_grad():
        layer.rate.copy_(torch.log(torch.expm1(torch.tensor([math.log(2) / 8], dtype=torch.float64))))
        layer.get_parameter("attention.k_proj.weight").zero_()  # scores all equal, so weights are age alone
    x = x64(1, 2, 4)
    y, _ = layer(x, elapsed=torch.tensor([[1.0, 16.0]], dtype=torch.float64))
    values = layer.attention.v_proj(x)
    expected = (values[:, 0] * 0.25 + values[:, 1]) / 1.25  # two half-lives
    assert_close(y[:, 1], layer.attention.out_proj(expected))


def test_half_lives_cover_the_range():
    rates = nn.functional.softplus(AarenDecay(16, 16).rate)
    half_lives = math.log(2) / rates
    assert half_lives.min() < 2 * HALF_LIVES[0]
    assert half_lives.max() > HALF_LIVES[1] / 2
    assert (half_lives.diff() > 0).all()


def test_elapsed_reaches_the_layers_that_age():
    x, elapsed = torch.randn(2, 5, 12), 3 * torch.rand(2, 5)
    for layer in ("aaren", "aaren_decay"):
        encoder = Encoder(2, 12, 3, 24, layer=layer).eval()
        changed = not torch.equal(encoder(x)[0], encoder(x, elapsed=elapsed)[0])
        assert changed == encoder.uses_elapsed == (layer == "aaren_decay")


def test_positions_count_live_tokens_since_the_reset():
    layer = Positions(6)
    plain = layer(torch.zeros(1, 10, 6))[0][0]
    mask = torch.tensor([[True, False, False, True, False, False]])
    reset = torch.tensor([[False, False, False, False, True, False]])
    y, state = layer(torch.zeros(1, 6, 6), torch.tensor([3]), padding_mask=mask, reset=reset)
    assert_close(y[0, [1, 2, 4, 5]], plain[[3, 4, 0, 1]])
    assert state.tolist() == [2]


def test_positions_are_exact_far_out():
    layer = Positions(8)
    far = 10**9 * int(layer.periods.prod())
    assert torch.equal(layer(torch.zeros(1, 5, 8), torch.tensor([far]))[0], layer(torch.zeros(1, 5, 8))[0])


@pytest.mark.parametrize("name", ["aaren", "aaren_decay", "aaren_gated", "attention"])
def test_dropout_drops_a_token_for_all_later_readers(name):
    layer = LAYERS[name](12, 3, dropout=0.5)
    x = torch.randn(1, 40, 12)
    layer.train()
    assert not torch.equal(layer(x)[0], layer(x)[0])
    layer.eval()
    assert torch.equal(layer(x)[0], layer(x)[0])
    layer.train()
    mean = torch.stack([layer(x)[0] for _ in range(400)]).mean(0)
    assert_close(mean, layer.eval()(x)[0], rtol=0.0, atol=0.25)


def test_every_layer_follows_the_protocol():
    for make in LAYERS.values():
        assert isinstance(make(12, 3, dropout=0.1), SequenceLayer)
        assert make(12).d_model == 12
    assert isinstance(Encoder(1, 12, 3, 24), SequenceLayer)


@pytest.mark.parametrize("name", sorted(LAYERS))
def test_autocast_and_an_empty_batch(name):
    layer, x = LAYERS[name](12, 3), torch.randn(2, 9, 12)
    mask = torch.rand(2, 9) < 0.3
    with torch.autocast("cpu", torch.bfloat16):
        y, state = layer(x, padding_mask=mask)
        layer(x, state, reset=mask)
    assert_close(y.float()[~mask], layer(x, padding_mask=mask)[0][~mask], rtol=0.1, atol=0.1)
    assert layer(x[:0], padding_mask=mask[:0], reset=mask[:0])[0].shape == (0, 9, 12)


@pytest.mark.unchecked
@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Aaren(10, 3), "d_model must be a positive multiple of nhead, got d_model 10 and nhead 3"),
        (lambda: Attention(12, 3, window=0), "window must be at least 1"),
        (lambda: Block(12, 3, 24, layer="arren"), "layer must be one of aaren, .* got 'arren'; did you mean 'aaren'"),
        (lambda: Block(12, 3, 24, activation="tanh"), "activation must be one of relu, gelu, got 'tanh'"),
        (lambda: Encoder(0, 12, 3, 24), "num_layers must be at least 1, got 0"),
        (lambda: Aaren(12)(torch.zeros(2, 3, 4)), r"x must have shape \(batch, time >= 1, 12\), got \(2, 3, 4\)"),
        (lambda: GRU(12)(torch.zeros(2, 0, 12)), r"x must have shape .* got \(2, 0, 12\)"),
        (lambda: Aaren(12)(torch.zeros(2, 3, 12, dtype=torch.long)), "x must be floating point, got torch.int64"),
        (lambda: Aaren(12)(torch.zeros(2, 3, 12), reset=torch.zeros(2, 3)), "reset must have dtype torch.bool"),
        (lambda: AarenDecay(12)(torch.zeros(2, 3, 12), elapsed=torch.zeros(3)), "elapsed must have shape"),
        (lambda: Aaren(12)(torch.zeros(2, 3, 12), Aaren(12).initial_state(3)), "state must have m, u, w of shapes"),
        (lambda: GRU(12)(torch.zeros(2, 3, 12), torch.zeros(3, 12)), "state must have the rows of x, 2, got 3"),
        (lambda: LSTM(12)(torch.zeros(2, 3, 12), LSTM(12).initial_state(3)), "state must have the rows of x, 2, got 3"),
        (lambda: Attention(12)(torch.zeros(2, 3, 12), Attention(12).initial_state(3)), "state must have the rows"),
        (lambda: Positions(12)(torch.zeros(2, 3, 12), torch.zeros(1, dtype=torch.long)), "state must have the rows"),
        (lambda: Encoder(2, 12, 3, 24)(torch.zeros(2, 3, 12), ()), "state must be a tuple of one for each of 2 blocks"),
        (lambda: Aaren(12)(torch.zeros(2, 3, 12).double()), "x must have the dtype of the weights, torch.float32, got"),
        (lambda: GRU(12)(torch.zeros(2, 3, 12).double()), "x must have the dtype of the weights, torch.float32, got"),
    ],
)
def test_bad_input_names_the_argument(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize("name", sorted(LAYERS))
def test_a_folded_model_is_the_same_function_and_a_copy(name):
    encoder, x = Encoder(2, 12, 3, 24, layer=name, dropout=0.1).double().train(), x64(2, 9, 12)
    folded = fold(encoder)
    assert encoder.training
    assert not folded.training
    kinds = {type(part).__name__ for part in folded.modules()}
    assert not {"Aaren"} & kinds
    assert ("FoldedAaren" in kinds) == (name in ("aaren", "aaren_decay"))
    y, state = encoder.eval()(x)
    assert_close(folded(x)[0], y)
    assert_close(folded(x, state)[0], encoder(x, state)[0])
    with torch.no_grad():
        for parameter in encoder.parameters():
            parameter.zero_()
    assert_close(folded(x)[0], y)
    assert type(fold(Aaren(12, 3))).__name__ == "FoldedAaren"


def test_mingru_and_minlstm_are_their_equations():
    # Feng et al. 2024, "Were RNNs All We Needed?": g(x) = x + 0.5 for x >= 0, else sigmoid(x)
    def g(x):
        return x + 0.5 if x >= 0 else 1 / (1 + math.exp(-x))

    def sigmoid(x):
        return 1 / (1 + math.exp(-x))

    gru, lstm, x = MinGRU(3).double(), MinLSTM(3).double(), x64(1, 6, 3)
    start = x64(1, 3)
    for layer in (gru, lstm):
        y, _ = layer(x, start)
        raw = {name: part(x)[0].tolist() for name, part in layer.named_children()}
        h = start[0].tolist()
        for t in range(6):
            for c in range(3):
                candidate = g(raw["h_proj"][t][c])
                if layer is gru:
                    z = sigmoid(raw["z_proj"][t][c])
                    h[c] = (1 - z) * h[c] + z * candidate
                else:
                    f, i = sigmoid(raw["f_proj"][t][c]), sigmoid(raw["i_proj"][t][c])
                    h[c] = f / (f + i) * h[c] + i / (f + i) * candidate
            assert y[0, t].tolist() == pytest.approx(h)


def test_only_plain_layers_are_folded():
    class Mine(Aaren):
        def forward(self, *arguments, **flags):
            y, state = super().forward(*arguments, **flags)
            return 2 * y, state

    mine, hooked, x = Mine(12, 3), Aaren(12, 3), torch.randn(1, 4, 12)
    hooked.register_forward_hook(lambda layer, inputs, output: (3 * output[0], output[1]))
    for layer in (mine, hooked):
        assert_close(fold(nn.Sequential(layer))[0](x)[0], layer(x)[0])


@pytest.mark.parametrize("make", [GRU, LSTM])
def test_memory_of_many_resets_grows_with_the_length_only(make):
    layer = make(8)

    def kept(time):
        sizes = []
        reset = (torch.arange(time) < time // 2)[None]  # many short stretches, and a long one
        with torch.autograd.graph.saved_tensors_hooks(lambda x: sizes.append(x.nelement()) or x, lambda x: x):
            layer(torch.randn(1, time, 8, requires_grad=True), reset=reset)
        return sum(sizes)

    assert kept(800) < 2.5 * kept(400)


@pytest.mark.parametrize("name", sorted(LAYERS))
def test_outputs_have_a_gradient_even_if_all_is_masked(name):
    y, _ = LAYERS[name](4)(torch.randn(2, 3, 4), padding_mask=torch.ones(2, 3, dtype=torch.bool))
    assert y.requires_grad
    assert y.isfinite().all()


@pytest.mark.parametrize("make", [GRU, LSTM])
def test_autocast_leaves_the_dtype_of_the_state(make):
    layer, x, mask = make(4), torch.randn(2, 5, 4), torch.zeros(2, 5, dtype=torch.bool)
    with torch.autocast("cpu", torch.bfloat16):
        for padding_mask in (None, mask):
            _, state = layer(x, padding_mask=padding_mask)
            assert {leaf.dtype for leaf in (state if make is LSTM else [state])} == {torch.float32}
