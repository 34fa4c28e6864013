"""Policies in every format of small devices act as the agent they were made of."""

from typing import Any

import numpy as np
import pytest
from aaren_runtime import Session
from numpy.testing import assert_allclose

from aaren.export.files import export_model
from aaren.tasks.control import DecisionAgent
from aaren.tasks.control_baselines import CloningAgent
from aaren.train import Recipe

pytestmark = pytest.mark.unchecked

BRIEF = Recipe(updates=2, batch_size=2, validate_every=2, keep="last")
SIZES: Any = {"d_model": 16, "nhead": 2, "dim_feedforward": 16, "num_layers": 2}


def agent(layer="aaren", context=None, tokens_per_step=1):
    random = np.random.default_rng(0)
    some = [
        (random.normal(5, 3, (7, 3)), random.uniform([-1, 0], [1, 4], (7, 2)), random.normal(size=7)) for _ in range(5)
    ]
    bounds = ((-1.0, 0.0), (1.0, 4.0))
    arguments: Any = {"context": context, "bounds": bounds, "tokens_per_step": tokens_per_step}
    return DecisionAgent(layer, recipe=BRIEF, **arguments, **SIZES).fit(some)


def episode():
    random = np.random.default_rng(1)
    return random.normal(5, 3, (20, 3)).astype(np.float32), random.normal(size=20)


@pytest.mark.parametrize("layer", ["aaren", "aaren_gated", "gru", "mingru"])
@pytest.mark.parametrize("tokens", [1, 3])
def test_the_runtime_acts_as_the_agent(layer, tokens, tmp_path):
    made = agent(layer, tokens_per_step=tokens)
    export_model(made.deployment(), tmp_path / "policy.onnx", "onnx")
    session, stream = Session(tmp_path / "policy.onnx"), made.stream(4.0)
    for _ in range(2):  # a reset begins a new episode
        session.reset()
        stream.reset()
        to_go, reward = 4.0, None
        for seen, after in zip(*episode(), strict=True):
            expected = stream.act(seen, reward)
            assert_allclose(session.push(seen, return_to_go=to_go)["action"], expected, atol=1e-5)
            reward, to_go = after, to_go - after
    assert session.about["best_return"] == made.best_return_
    assert session.about["high"] == [1.0, 4.0]


@pytest.mark.parametrize("form", ["c", "executorch"])
@pytest.mark.filterwarnings("ignore")  # its packages warn of each other
def test_other_formats_are_compared_with_the_model(form, tmp_path):
    done = export_model(agent("aaren_decay").deployment(), tmp_path / f"policy.{form}", form)
    assert done.difference < 1e-5


def test_a_clone_is_exported_too(tmp_path):
    some = [(np.random.default_rng(0).normal(size=(7, 3)), np.zeros((7, 2)), np.zeros(7))] * 3
    made = CloningAgent(recipe=BRIEF, width=8).fit(some)
    export_model(made.deployment(), tmp_path / "clone.onnx", "onnx")
    session, stream = Session(tmp_path / "clone.onnx"), made.stream()
    for seen in episode()[0]:
        assert_allclose(session.push(seen, return_to_go=0.0)["action"], stream.act(seen, 0.0), atol=1e-5)


def test_what_cannot_be_exported_says_why():
    with pytest.raises(ValueError, match="recomputes a window"):
        agent(context=4).deployment()
    with pytest.raises(ValueError, match="state of constant size"):
        agent("attention").deployment()
