"""Agents that learn from trajectories: acting is predicting, episodes and environments do not mix, wanted returns."""

import importlib
from typing import Any

import numpy as np
import pytest
import torch
import toy_world
from numpy.testing import assert_allclose

from aaren.data.environments import ENVIRONMENTS, Environment, make_environment
from aaren.data.trajectories import Trajectory
from aaren.stream import Stream
from aaren.tasks.control import DecisionAgent
from aaren.tasks.control_baselines import CloningAgent
from aaren.tasks.control_evaluation import play, strip
from aaren.tasks.control_training import Cut, Drawer
from aaren.tasks.loading import load_estimator
from aaren.train import Recipe

TOY = Environment(toy_world.ID, 0.0, 100.0)
SMALL: Any = {"d_model": 16, "nhead": 2, "dim_feedforward": 16, "num_layers": 2}
BRIEF = Recipe(updates=2, batch_size=4, validate_every=2, keep="last")


def fitted(layer, context, seed=0, **arguments):
    agent = DecisionAgent(layer, context=context, recipe=BRIEF, seed=seed, **SMALL, **arguments)
    agent.fit(toy_world.trajectories(6))
    with torch.no_grad():  # far from where it began, so that what is remembered matters
        random = torch.Generator().manual_seed(1)
        for parameter in agent.model_.parameters():
            parameter.add_(0.2 * torch.randn(parameter.shape, generator=random))
    return agent


def episode(steps, seed):
    random = np.random.default_rng(seed)
    return random.normal(size=(steps, 2)).astype(np.float32), random.normal(size=steps)


def played(stream, observations, rewards):
    """The actions of one environment over an episode."""
    stream.reset()
    return [stream.act(seen, reward) for seen, reward in zip(observations, [None, *rewards], strict=False)]


@pytest.mark.parametrize("layer", ["aaren", "aaren_decay", "attention", "gru"])
@pytest.mark.parametrize("context", [3, None])
@pytest.mark.parametrize("tokens", [1, 3])
def test_acting_step_by_step_is_the_batch_computation(layer, context, tokens):
    agent = fitted(layer, context, tokens_per_step=tokens)
    cases = [episode(9, 1), episode(5, 2)]
    for observations, rewards in cases:
        stream = agent.stream(rewards.sum())
        actions = np.array(played(stream, observations, rewards))
        [predicted] = agent.predict([Trajectory(observations, actions, rewards)])
        assert_allclose(actions, predicted, atol=2e-6)
        assert np.ptp(actions) > 0.01


@pytest.mark.parametrize("context", [3, None])
def test_episodes_end_inside_the_batch_and_environments_do_not_mix(context):
    agent = fitted("aaren_decay", context)
    cases = [episode(9, seed) for seed in range(4)]
    alone = [np.array(played(agent.stream(2.0), *case)) for case in cases]
    # Environment 0 plays case 0; environment 1 cases 1 and 2, whose fourth and sixth steps are their last.
    lengths = {1: 4, 2: 5}
    both = agent.stream(2.0, environments=2)
    line = [(1, step) for step in range(lengths[1])] + [(2, step) for step in range(lengths[2])]
    for step, (case, place) in enumerate(line):
        seen = np.stack([cases[0][0][step], cases[case][0][place]])
        before = [cases[0][1][step - 1], cases[case][1][place - 1] if place else 99.0]  # that reward counts no more
        actions = both.act(seen, np.array(before) if step else None, np.array([False, step > 0 and place == 0]))
        assert_allclose(actions[0], alone[0][step], atol=2e-6)
        assert_allclose(actions[1], alone[case][place], atol=2e-6)


def test_environments_can_be_left_out_and_begun_anew():
    agent = fitted("aaren", None)
    cases = [episode(6, seed) for seed in range(3)]
    alone = [np.array(played(agent.stream([1.0]), *case)) for case in cases]
    stream = agent.stream([1.0, 1.0, 1.0], environments=3)
    for step in range(3):
        rewards = None if step == 0 else np.array([case[1][step - 1] for case in cases])
        stream.act(np.stack([case[0][step] for case in cases]), rewards)
    stream.select([2, 0])
    actions = stream.act(np.stack([cases[2][0][3], cases[0][0][3]]), np.array([cases[2][1][2], cases[0][1][2]]))
    assert_allclose(actions, [alone[2][3], alone[0][3]], atol=2e-6)
    stream.reset([1])
    actions = stream.act(np.stack([cases[2][0][4], cases[1][0][0]]), np.array([cases[2][1][3], 50.0]))
    assert_allclose(actions, [alone[2][4], alone[1][0]], atol=2e-6)


def test_the_state_moves_to_another_process(tmp_path):
    agent = fitted("gru", None)
    observations, rewards = episode(6, 0)
    alone = played(agent.stream(3.0), observations, rewards)
    stream = agent.stream(3.0)
    played(stream, observations[:4], rewards)
    stream.snapshot(tmp_path / "state")
    agent.save(tmp_path / "agent")
    loaded = load_estimator(tmp_path / "agent")
    assert isinstance(loaded, DecisionAgent)
    other = loaded.stream(0.0)
    other.restore(tmp_path / "state")
    assert_allclose(other.act(observations[4], rewards[3]), alone[4], atol=1e-6)
    assert loaded.best_return_ == agent.best_return_


def test_the_state_is_constant_or_grows_as_the_layer_says():
    sizes = {}
    for layer, context in (("aaren", None), ("attention", None), ("attention", 3)):
        stream = fitted(layer, context).stream()
        before = stream.nbytes
        played(stream, *episode(12, 0))
        sizes[layer, context] = before, stream.nbytes
    assert len(set(sizes["aaren", None])) == len(set(sizes["attention", 3])) == 1
    assert sizes["attention", None][1] > sizes["attention", None][0]


def test_bad_observations_change_nothing():
    agent = fitted("aaren", None)
    observations, rewards = episode(4, 0)
    alone = played(agent.stream(1.0), observations, rewards)
    stream = agent.stream(1.0)
    played(stream, observations[:2], rewards)
    for bad, says in (
        ((observations[2][:1], 0.0), r"observation must have shape \(1, 2\), got \(1,\)"),
        ((np.array([np.nan, 0.0]), 0.0), "observation must be finite, got nan"),
        ((observations[2], np.inf), "reward must be finite, got inf"),
        ((observations[2], None), "reward must be given"),
        ((observations[2], 0.0, [True, False]), r"done must have shape \(1,\)"),
        ((["a", "b"], 0.0), "observation must be numbers"),
        ((observations[2], 1e39), "x must be finite"),  # too large for the network: found after a reset
    ):
        with pytest.raises(ValueError, match=says):
            stream.act(*bad)
    assert_allclose(stream.act(observations[2], rewards[1]), alone[2], atol=1e-6)


def test_a_failed_step_is_taken_back():
    """In one environment an episode ends, the other's reward is too large for the network."""
    agent = fitted("aaren", None)
    observations, rewards = episode(4, 0)
    alone = played(agent.stream(1.0), observations, rewards)
    stream = agent.stream(1.0, environments=2)
    for step in range(2):
        stream.act(observations[[step, step]], rewards[[step - 1] * 2] if step else None)
    with pytest.raises(ValueError, match="x must be finite"):
        stream.act(observations[[2, 2]], np.array([0.0, 1e39]), np.array([True, False]))
    assert_allclose(stream.act(observations[[2, 2]], rewards[[1, 1]]), [alone[2]] * 2, atol=1e-6)


def test_actions_belong_to_who_asked():
    agent = fitted("aaren", None)
    observations, rewards = episode(4, 0)
    alone = played(agent.stream(1.0), observations, rewards)
    stream = agent.stream(1.0)
    for step in range(3):
        action = stream.act(observations[step], rewards[step - 1] if step else None)
        assert_allclose(action, alone[step], atol=1e-6)
        action *= -1


def test_a_snapshot_of_something_else_is_refused(tmp_path):
    agent = fitted("aaren", None)
    observations, rewards = episode(4, 0)
    alone = played(agent.stream(1.0), observations, rewards)
    stream = agent.stream(1.0)
    played(stream, observations[:2], rewards)
    three = fitted("aaren", None, tokens_per_step=3)
    three.model_.load_state_dict(agent.model_.state_dict())  # the same weights, read otherwise
    three.stream().snapshot(tmp_path / "three")
    Stream(agent.model_).snapshot(tmp_path / "plain")
    fitted("aaren", None, seed=1).stream().snapshot(tmp_path / "other")
    for name, says in (("plain", "must be a snapshot of an agent"), ("other", "model"), ("three", "model")):
        with pytest.raises(ValueError, match=says):
            stream.restore(tmp_path / name)
    assert_allclose(stream.act(observations[2], rewards[1]), alone[2], atol=1e-6)


@pytest.mark.parametrize("cut", [Cut(20), Cut(None, 100), Cut(None, 100, whole_every=2)])
def test_every_step_is_as_likely(cut):
    """Of short and long episodes, and the first and last of one that is longer than a chunk."""
    lengths = [10] * 20 + [100] * 5 + [450]
    some = [Trajectory(np.full((n, 1), number), np.zeros((n, 1)), np.zeros(n)) for number, n in enumerate(lengths)]
    draw = Drawer([Trajectory(*(part.astype(np.float32) for part in one)) for one in some], 10, cut, seed=0)
    seen = np.zeros((len(lengths), max(lengths)))
    for number in range(6000):
        batch = draw(number)
        live = batch.x[~batch.padding_mask]
        np.add.at(seen, (live[:, 2].long().numpy(), live[:, 0].long().numpy()), 1)
        whole = cut.context is None and number % cut.whole_every == cut.whole_every - 1
        if whole:
            assert len(live) >= 10 * 20
        else:
            assert batch.x.shape[0] == 10
            assert batch.x.shape[1] <= 20
            assert batch.before.shape[1] == 0
    places = seen[:20, :10], seen[20:25, :100], seen[25, :20], seen[25, 20:430], seen[25, 430:]
    assert_allclose([place.mean() for place in places], seen.sum() / sum(lengths), rtol=0.1)


def test_weights_of_another_version_are_refused(tmp_path):
    agent = fitted("aaren", None)
    del agent.model_.embed_number
    agent.save(tmp_path / "old")
    with pytest.raises(ValueError, match=r"folder must hold the weights of such a model, got others in .*embed_number"):
        DecisionAgent.load(tmp_path / "old")


def test_bad_arguments_are_refused():
    some = toy_world.trajectories(4)
    for arguments, says in (
        ({"context": 1}, "context must be a whole number of at least 2"),
        ({"chunk": 1}, "chunk must be a whole number of at least 2"),
        ({"whole_every": 0}, "whole_every must be a whole number of at least 1"),
        ({"tokens_per_step": 2}, "tokens_per_step must be 1 or 3, got 2"),
        ({"validation": 0.0}, "validation must lie between 0 and 1"),
        ({"bounds": (-0.5, 0.5)}, "actions between -0.5 and 0.5"),
        ({"layer": "aarn"}, "aarn"),
    ):
        with pytest.raises(ValueError, match=says):
            DecisionAgent(recipe=BRIEF, **(SMALL | arguments)).fit(some)
    with pytest.raises(ValueError, match="at least 2 trajectories"):
        DecisionAgent(recipe=BRIEF, **SMALL).fit(some[:1])
    with pytest.raises(ValueError, match="seed must be at least 0"):
        CloningAgent(seed=-1, recipe=BRIEF).fit(some)
    with pytest.raises(ValueError, match="fitted first"):
        DecisionAgent().stream()
    agent = fitted("aaren", None)
    for target, environments, says in (
        (np.nan, 1, "target must be a finite number"),
        ([1.0, 2.0], 3, "one for each of 3 environments"),
        (1.0, 0, "environments must be at least 1"),
    ):
        with pytest.raises(ValueError, match=says):
            agent.stream(target, environments=environments)
    with pytest.raises(ValueError, match="observations of 2 numbers and actions of 1, got 2 and 3"):
        agent.predict([one._replace(actions=np.zeros((len(one.rewards), 3))) for one in some])


@pytest.mark.unchecked
@pytest.mark.parametrize("name", ["context", "chunk", "whole_every"])
def test_half_a_step_is_refused(name):
    arguments: Any = SMALL | {name: 2.5}
    with pytest.raises(ValueError, match=f"{name} must be a whole number of at least [12], got 2.5"):
        DecisionAgent(recipe=BRIEF, **arguments).fit(toy_world.trajectories(4))


def test_training_goes_on_exactly_where_it_was(tmp_path, monkeypatch):
    some = toy_world.trajectories(6)
    for context in (3, None):
        recipe = Recipe(updates=6, batch_size=2, validate_every=2, keep="last")
        common: Any = {"context": context, "chunk": 4, "whole_every": 2, "recipe": recipe, **SMALL}
        whole = DecisionAgent(**common).fit(some)
        file = tmp_path / f"{context}.safetensors"
        agent = DecisionAgent(checkpoint=file, **common)
        real, done = torch.optim.AdamW.step, []

        def step(optimiser, *arguments, real=real, done=done):
            done.append(1)
            if len(done) == 5:
                raise KeyboardInterrupt
            return real(optimiser, *arguments)

        with monkeypatch.context() as broken:
            broken.setattr(torch.optim.AdamW, "step", step)
            with pytest.raises(KeyboardInterrupt):
                agent.fit(some)
        agent.fit(some)
        for one, other in zip(agent.model_.parameters(), whole.model_.parameters(), strict=True):
            assert torch.equal(one, other)


def test_long_episodes_are_learned_in_chunks_with_the_memory_of_all_before():
    """What to do is said in the first step only, and asked again after the end of its chunk."""
    random = np.random.default_rng(0)
    made = []
    for _ in range(200):
        sign = random.choice([-1.0, 1.0])
        observations = np.zeros((12, 2))
        observations[0, 0], observations[:, 1] = sign, np.arange(12) % 4 == 3
        made.append((observations, 0.9 * sign * observations[:, 1:], np.zeros(12)))
    recipe = Recipe(updates=200, batch_size=16, learning_rate=3e-3, validate_every=200, keep="last")
    common: Any = {"layer": "aaren_decay", "dropout": 0.0, "recipe": recipe, **SMALL}
    agent = DecisionAgent(context=None, chunk=6, whole_every=1, **common).fit(made)
    assert agent.validation_error_ < 0.02
    assert DecisionAgent(context=3, **common).fit(made).validation_error_ > 0.05  # two questions are past its window


@pytest.fixture(scope="module")
def agents():
    recipe = Recipe(updates=300, batch_size=16, learning_rate=3e-3, validate_every=100, keep="last")
    some = toy_world.trajectories(200)
    made = {context: DecisionAgent(context=context, recipe=recipe, **SMALL).fit(some) for context in (4, None)}
    return made | {"cloning": CloningAgent(recipe=recipe, width=32).fit(some),
                   "best": CloningAgent(45.0, recipe=recipe, width=32).fit(some)}  # fmt: skip


def earned(agent, target):
    played = play(lambda number: agent.stream(target, environments=number), TOY, 12, seed=3)
    return np.mean([one.total / len(one.rewards) for one in played])


@pytest.mark.parametrize("context", [4, None])
def test_the_wanted_return_decides(agents, context):
    best = 7.5 * toy_world.SKILL
    assert earned(agents[context], best) > 0.6
    assert earned(agents[context], -best) < -0.6


def test_cloning_does_what_the_data_did_and_of_the_best_what_they_did(agents):
    assert abs(earned(agents["cloning"], None)) < 0.3
    assert earned(agents["best"], None) > 0.6


def test_cloning_is_saved(agents, tmp_path):
    agents["best"].save(tmp_path)
    loaded: Any = load_estimator(tmp_path)
    seen = np.random.default_rng(0).normal(size=(5, 2))
    assert_allclose(loaded.stream(environments=5).act(seen), agents["best"].stream(environments=5).act(seen))
    some = toy_world.trajectories(4)
    assert_allclose(np.concatenate(loaded.predict(some)), np.concatenate(agents["best"].predict(some)))
    with pytest.raises(ValueError, match="percent must be above 0"):
        CloningAgent(0.0).fit(toy_world.trajectories(4))


def test_episodes_are_seeded_and_do_not_depend_on_each_other(agents):
    few, many = (play(lambda n: agents[None].stream(5.0, environments=n), TOY, n, seed=7) for n in (2, 5))
    for one, other in zip(few, many, strict=False):
        assert (one.observations == other.observations).all()
        assert_allclose(one.actions, other.actions, atol=1e-6)
    assert len({len(one.rewards) for one in many}) > 1
    with pytest.raises(ValueError, match="episodes must be at least 1"):
        play(lambda n: agents[None].stream(environments=n), TOY, 0)


def test_an_environment_that_does_not_match_is_refused(agents):
    wide = DecisionAgent(context=None, bounds=(-2.0, 2.0), recipe=BRIEF, **SMALL).fit(toy_world.trajectories(4))
    with pytest.raises(ValueError, match="must allow the actions of the agent"):
        play(lambda n: wide.stream(environments=n), TOY, 2)
    for name, says in (
        ("CartPole-v1", "observations of 2 numbers"),
        ("Nowhere-v0", "gymnasium knows, got 'Nowhere-v0'"),
    ):
        with pytest.raises(ValueError, match=says):
            play(lambda n: agents[None].stream(environments=n), Environment(name, 0.0, 1.0), 2)


def test_mujoco_runs(tmp_path, monkeypatch, caplog, capfd):
    monkeypatch.chdir(tmp_path)
    hopper = Environment("Hopper-v5", 0.0, 1.0)
    random = np.random.default_rng(0)
    some = [(random.normal(size=(5, 11)), random.uniform(-1, 1, (5, 3)), np.ones(5)) for _ in range(3)]
    agent = DecisionAgent(context=None, recipe=BRIEF, **SMALL).fit(some)
    for one in play(lambda n: agent.stream(100.0, environments=n), hopper, 2):
        assert 3 < len(one.rewards) <= 1000
        assert one.observations.shape[1] == 11
    known = ENVIRONMENTS["halfcheetah"]
    made = make_environment(known, **known.picture)  # whose model MuJoCo finds old-fashioned
    assert made.unwrapped.model.camera("track").id == made.unwrapped.mujoco_renderer.camera_id  # it does not run away
    assert not list(tmp_path.iterdir())
    assert not caplog.records
    mujoco = pytest.importorskip("mujoco")
    made.unwrapped.data.qpos[0] = np.nan
    mujoco.mj_step(made.unwrapped.model, made.unwrapped.data)
    made.close()
    assert ["QPOS" in record.message for record in caplog.records] == [True]  # what goes wrong in a step is heard
    assert not list(tmp_path.iterdir())
    assert "WARNING" not in "".join(capfd.readouterr())


def test_an_environment_of_another_kind_needs_no_mujoco(monkeypatch):
    real = importlib.import_module

    def broken(name, *package):
        if name == "mujoco":
            raise RuntimeError("no such renderer")
        return real(name, *package)

    monkeypatch.setattr("importlib.import_module", broken)
    make_environment(TOY).close()


def test_a_program_that_hears_mujoco_goes_on_to():
    mujoco = pytest.importorskip("mujoco")
    before, heard = mujoco.get_mju_user_warning(), []
    mujoco.set_mju_user_warning(heard.append)
    try:
        make_environment(ENVIRONMENTS["halfcheetah"]).close()
    finally:
        mujoco.set_mju_user_warning(before)
    assert "deprecated" in heard[0]


def test_frames_stand_side_by_side(agents):
    frames = strip(lambda n: agents[None].stream(environments=n), TOY, every=2, most=3)
    assert frames.shape == (4, 3 * 4, 3)
    assert len({int(frames[0, place, 0]) for place in (0, 4, 8)}) == 3
