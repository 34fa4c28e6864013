"""Models in C: the same outputs, from a program that compiles without a warning."""

import shutil
from functools import partial
from itertools import pairwise

import numpy as np
import pandas
import pytest
import torch

from aaren import Encoder, Forecaster
from aaren.export.c_library import FLAGS, CLibrary
from aaren.export.c_program import Program, literal
from aaren.export.c_source import _Memory, c_source
from aaren.export.check import check_same, flat_push, largest_difference
from aaren.export.int8 import round_weights
from aaren.export.one_token import Deployment, Port, deploy_layer
from aaren.layers.aaren_gated import AarenGated
from aaren.train import Recipe

pytestmark = [
    pytest.mark.unchecked,
    pytest.mark.skipif(shutil.which("cc") is None, reason="there is no C compiler"),
]


STRICT = (*FLAGS, "-Wall", "-Wextra", "-Werror", "-pedantic")


def compiled(deployment, name="model"):
    return CLibrary(c_source(deployment, name), name, deployment, flags=STRICT)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_every_layer_is_the_same_in_c(encoder, dtype):
    deployment = deploy_layer(encoder, dtype)
    assert largest_difference(deployment, compiled(deployment).push, steps=200) < 2e-6


def test_in_double_precision_it_is_the_same_to_rounding(encoder):
    deployment = deploy_layer(encoder.double())
    assert largest_difference(deployment, compiled(deployment).push, steps=200) < 1e-12


def test_tasks_are_the_same_in_c(classifier, forecaster):
    for deployment in (classifier.deployment(), forecaster.deployment(), forecaster.deployment(torch.float32)):
        check_same(deployment, compiled(deployment).push)


@pytest.mark.parametrize("layer", ["aaren", "gru"])
def test_rounded_matrices_take_a_byte_a_weight(layer):
    deployment = deploy_layer(Encoder(1, 64, 4, 64, layer=layer).eval())
    small = round_weights(deployment)
    source = c_source(small)
    assert source.flash_bytes < 0.3 * c_source(deployment).flash_bytes
    assert largest_difference(small, compiled(small).push, steps=100) < 2e-6


def test_reset_and_another_stream_of_the_same_program():
    deployment = deploy_layer(Encoder(1, 16, 2, 16, layer="aaren_decay").eval())
    library, random = compiled(deployment), np.random.default_rng(0)
    tokens = [deployment.draw(random, 1, i) for i in range(10)]
    once = [library.push(token)[0] for token in tokens]
    library.reset()
    again = [library.push(token)[0] for token in tokens]
    np.testing.assert_array_equal(once, again)
    assert not np.array_equal(library.push(tokens[0])[0], once[0])  # the past counts


def test_two_streams_have_a_struct_each():
    deployment = deploy_layer(Encoder(1, 16, 2, 16, layer="aaren_gated").eval())
    library = compiled(deployment)
    states = [library.state, library.state.copy()]
    random = np.random.default_rng(0)
    tokens = [deployment.draw(random, 1, i) for i in range(20)]
    expect_one, expect_other = flat_push(deployment), flat_push(deployment)
    for token, foreign in zip(tokens, tokens[::-1], strict=True):
        library.state = states[0]
        np.testing.assert_allclose(library.push(token)[0], expect_one(token)[0], atol=1e-5)
        library.state = states[1]
        np.testing.assert_allclose(library.push(foreign)[0], expect_other(foreign)[0], atol=1e-5)


def test_the_program_needs_no_heap_and_no_libraries():
    text = c_source(deploy_layer(Encoder(1, 16, 2, 16).eval()), "vowels").text
    included = [line for line in text.splitlines() if line.startswith("#include")]
    assert included == ["#include <math.h>", "#include <stdint.h>"]
    assert "alloc" not in text
    assert "void vowels_push(vowels_state *s, const float x[16], float y[16]);" in text


class _Sums(torch.nn.Module):
    """Operators that the layers of today do not have."""

    def initial_state(self, batch_size):
        return (torch.zeros(batch_size, 3), torch.zeros(batch_size, 3))

    def forward(self, inputs, state):
        (x,) = inputs
        one, other = state
        y = torch.stack([x.sum(1), x.mean(1), x.amax(1), x[:, 0] ** 3], dim=1)
        matrix = x[:, :, None] * x[:, None, :]
        y = torch.cat([y, torch.bmm(matrix, one[:, :, None])[..., 0], (x % 0.7), x.cumsum(1)], dim=1)
        y = torch.cat([y, torch.nn.functional.gelu(x)], dim=1)
        return (y,), (other, x.clone())  # leaves change places


def _sums(module):
    ports = (Port("x", (3,), torch.float32, ""),), (Port("y", (16,), torch.float32, ""),)
    return Deployment(module, *ports, lambda r, n, _: [r.normal(size=(n, 3)).astype(np.float32)], "test")


def test_reductions_products_and_leaves_that_change_places():
    deployment = _sums(_Sums())
    assert largest_difference(deployment, compiled(deployment).push, steps=50) < 1e-6


class _Unknown(_Sums):
    def forward(self, inputs, state):
        return (torch.digamma(inputs[0]),), state


def test_an_operator_without_a_form_in_c_is_named():
    with pytest.raises(ValueError, match=r"operators that have a form in C, got aten\.digamma"):
        c_source(_sums(_Unknown()))


class _Half(_Sums):
    def forward(self, inputs, state):
        return (inputs[0].half().float(),), state


class _Whole(_Sums):
    def forward(self, inputs, state):
        return (torch.mm(inputs[0].long(), torch.ones(3, 3, dtype=torch.long)).float(),), state


@pytest.mark.parametrize(
    ("module", "message"), [(_Half, "got torch.float16"), (_Whole, "real numbers .* got torch.int64")]
)
def test_types_without_a_form_in_c_are_named(module, message):
    with pytest.raises(ValueError, match=message):
        c_source(_sums(module()))


class _Names(torch.nn.Module):
    def initial_state(self, batch_size):
        return {"a.b": torch.zeros(batch_size, 3), "a_b": torch.zeros(batch_size, 3)}

    def forward(self, inputs, state):
        return (torch.cat([inputs[0]] * 4 + [inputs[0].sum(1, True)], 1),), state


def test_names_that_become_the_same_in_c_are_refused():
    with pytest.raises(ValueError, match="names must differ in their letters and digits"):
        c_source(_sums(_Names()))


EVIL = [
    "CO2 */ m3",
    "a /* b",
    "ends in *\\\n/ and ?\n?/ goes on",
    '*/ __attribute__((constructor)) static void run(void) { extern int puts(const char*); puts("x"); } /*',
]


def test_names_of_columns_never_become_code():
    random = np.random.default_rng(0)
    table = pandas.DataFrame({name: random.normal(size=100).cumsum() for name in EVIL})
    forecaster = Forecaster(horizon=2, context=8, recipe=Recipe(updates=1)).fit(table)
    source = c_source(forecaster.deployment())
    CLibrary(source, "model", forecaster.deployment(), flags=STRICT)
    comment, _, code = source.text.partition("*/")
    assert "CO2" in comment
    assert "constructor" not in code
    assert "/*" not in comment[2:]


class _Corners(_Sums):
    def forward(self, inputs, state):
        (x,) = inputs
        hole = torch.log(x)  # NaN below 0
        whole = (3 * x).to(torch.int64)
        parts = [hole.relu(), torch.maximum(hole, x), torch.maximum(x, hole), hole.clamp(min=-1.0, max=1.0)]
        parts += [(1e4 * x) % 0.7, x % -torch.inf, (whole >= 0.5).float(), (whole < 1.5).float()]
        parts += [((x > 0) == 1).float(), ((x > 0) < 0.5).float()]
        parts += [torch.nn.functional.layer_norm(torch.stack([x, x**2], 1), (2, 3), W, W)[:, 1], hole.amax(1, True)]
        return (torch.cat(parts, dim=1),), state


W = torch.linspace(-1, 1, 6).reshape(2, 3)


def test_missing_numbers_signs_and_types_are_those_of_pytorch():
    ports = (Port("x", (3,), torch.float32, ""),), (Port("y", (34,), torch.float32, ""),)
    deployment = Deployment(_Corners(), *ports, lambda r, n, _: [r.normal(size=(n, 3)).astype(np.float32)], "test")
    assert largest_difference(deployment, compiled(deployment).push, steps=50) < 1e-5


def test_a_difference_in_a_small_channel_or_in_what_is_missing_counts():
    ports = (Port("x", (1,), torch.float32, ""),), (Port("y", (2,), torch.float32, ""),)

    class Scales(_Sums):
        def forward(self, inputs, state):
            return (torch.cat([1e6 * inputs[0], inputs[0].sqrt()], 1),), state

    deployment = Deployment(Scales(), *ports, lambda r, n, _: [r.normal(size=(n, 1)).astype(np.float32)], "test")
    right = flat_push(deployment)
    assert largest_difference(deployment, right, steps=20) == 0

    def wrong(inputs):
        (y,) = flat_push(deployment)(inputs)
        return [(y + np.array([0, 0.1])).astype(np.float32)]

    assert largest_difference(deployment, wrong, steps=20) > 0.01
    infinite = largest_difference(deployment, lambda x: [np.nan_to_num(right(x)[0], nan=np.inf)], steps=20)
    assert infinite == float("inf")
    assert largest_difference(deployment, lambda x: [np.nan_to_num(right(x)[0])], steps=20) == float("inf")


def test_names_that_are_none_in_c_are_refused():
    with pytest.raises(ValueError, match="name must be letters, digits and underscores, got '2-x'"):
        c_source(deploy_layer(Encoder(1, 16, 2, 16).eval()), "2-x")
    with pytest.raises(ValueError, match="name must be letters, digits and underscores, got 'x²'"):
        c_source(deploy_layer(Encoder(1, 16, 2, 16).eval()), "x²")


def test_a_compiler_that_is_not_there_is_named():
    deployment = deploy_layer(Encoder(1, 16, 2, 16).eval())
    with pytest.raises(FileNotFoundError, match="a C compiler must be installed to check the program, got no 'icc99'"):
        CLibrary(c_source(deployment), "model", deployment, compiler="icc99")


def test_a_program_that_differs_is_refused():
    deployment = deploy_layer(Encoder(1, 16, 2, 16).eval())
    library = compiled(deployment)
    with pytest.raises(ValueError, match="must equal the model to 1e-05 over 1,000 carried steps"):
        check_same(deployment, lambda inputs: [output + 1e-3 for output in library.push(inputs)])
    with pytest.raises(ValueError, match="got inf"):
        check_same(deployment, lambda inputs: [output * np.nan for output in library.push(inputs)])


def test_buffers_in_use_at_the_same_time_never_overlap():
    program = Program()
    views = [program.scratch((size,), torch.float32) for size in (7, 3, 9, 3, 7)]
    for before, after in pairwise(views):
        program.emit("", [before], [after])
    memory = _Memory(program.statements)
    for one, other in pairwise(views):
        begin, end = memory.places[one.buffer], memory.places[one.buffer] + one.buffer.size
        assert end <= memory.places[other.buffer] or memory.places[other.buffer] + other.buffer.size <= begin
    assert memory.nbytes == 4 * (9 + 3)  # not that of all


@pytest.mark.parametrize(
    ("number", "dtype", "text"),
    [
        (0.1, torch.float32, "0.100000001f"),
        (-2.0, torch.float64, "(-2.0)"),
        (float("-inf"), torch.float32, "(-INFINITY)"),
        (float("nan"), torch.float64, "NAN"),
        (3, torch.int64, "3"),
        (1 << 40, torch.int64, "INT64_C(1099511627776)"),
        (True, torch.bool, "1"),
    ],
)
def test_numbers_in_c(number, dtype, text):
    value = float(np.float32(number)) if dtype == torch.float32 else number
    assert literal(value, dtype) == text


class _High(_Sums):
    def forward(self, inputs, state):
        return (inputs[0].double() + 1e6,), state


def test_a_difference_far_from_zero_counts():
    ports = (Port("x", (1,), torch.float32, ""),), (Port("y", (1,), torch.float64, ""),)
    deployment = Deployment(_High(), *ports, lambda r, n, _: [r.normal(size=(n, 1)).astype(np.float32)], "test")
    right = flat_push(deployment)
    assert largest_difference(deployment, lambda x: [right(x)[0] + 1.0], steps=50) > 0.1


def test_a_leaf_without_numbers_is_left_out():
    encoder = Encoder(1, 16, 2, 16, layer=partial(AarenGated, kernel=1)).eval()
    deployment = deploy_layer(encoder)
    library = CLibrary(c_source(deployment), "model", deployment, flags=STRICT)
    assert check_same(deployment, library.push) < 1e-6


def test_inputs_of_another_type_are_converted():
    deployment = deploy_layer(Encoder(1, 16, 2, 16).eval())
    library = CLibrary(c_source(deployment), "model", deployment)
    x = np.random.default_rng(0).normal(size=(1, 16)).astype(np.float32)
    [y] = library.push([x])
    library.reset()
    np.testing.assert_array_equal(library.push([x.astype(np.float64)])[0], y)
