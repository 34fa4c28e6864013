"""`aaren control`, `compare control`, `data make-offline-rl` and export, as a person meets them."""

import json
import sys
from contextlib import suppress

import gymnasium
import numpy as np
import pytest
import toy_world
from test_cli import fails, records_in

from aaren.cli import main
from aaren.cli.control import Control, bounds_in
from aaren.data.trajectories import statistics
from aaren.data.trajectory_files import STEPS, load_trajectories
from aaren.data.trajectory_making import npz_bytes
from aaren.tasks.control import DecisionAgent

pytestmark = pytest.mark.unchecked


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    made = toy_world.trajectories(100)
    ends = np.concatenate([np.arange(len(one.rewards)) == len(one.rewards) - 1 for one in made])
    arrays = [np.concatenate(part) for part in zip(*made, strict=True)] + [ends, np.zeros_like(ends)]
    path = tmp_path_factory.mktemp("data") / "toy.npz"
    path.write_bytes(npz_bytes(dict(zip(STEPS, arrays, strict=True))))
    return path


@pytest.fixture(scope="module")
def trained(file, tmp_path_factory):
    out = tmp_path_factory.mktemp("trained")
    place = ["--protocol", "streaming", "--environment", toy_world.ID, "--episodes", "4"]
    main(["control", "--data", str(file), *place, "--updates", "150", "--out", str(out)])
    return out


def test_files_are_written_and_the_data_is_beaten(trained, file):
    assert sorted(path.name for path in trained.iterdir()) == ["frames.png", "model", "result.json"]
    result = json.loads((trained / "result.json").read_text())
    settings = Control(str(file), trained, "aaren", "streaming", toy_world.ID, 4, updates=150).settings()
    assert settings.items() <= result.items()
    assert result["return"] > 3.0 > 1.0 > result["data_mean"]
    assert result["return_mean"] < result["return"] - 1
    assert abs(result["return_mean"] - result["data_mean"]) <= result["return_missed"] < 7
    assert result["score_missed"] is None
    assert result["score"] is None  # nobody has said what an expert earns here
    for name in ("train_seconds", "parameters", "token_us", "state_bytes", "validation_error", "length"):
        assert result[name] > 0, name
    assert DecisionAgent.load(trained / "model").context is None


def test_a_crash_of_the_environment_loses_no_training(file, tmp_path, monkeypatch, capsys):
    """The same command goes on after the last update."""
    command = ["control", "--data", file, "--environment", toy_world.ID, "--episodes", 2, "--updates", 30]
    step = toy_world.Toy.step

    def crash(self, action):
        raise ValueError("the world ends")

    monkeypatch.setattr(toy_world.Toy, "step", crash)
    assert "the world ends" in fails(capsys, *command, "--out", tmp_path)
    monkeypatch.setattr(toy_world.Toy, "step", step)

    def refuse(*_):
        raise AssertionError("trained again")

    monkeypatch.setattr("torch.optim.AdamW.step", refuse)
    main([str(part) for part in (*command, "--out", tmp_path)])
    result = json.loads((tmp_path / "result.json").read_text())
    assert result["updates"] == 30
    assert result["peak_memory_bytes"] is None  # training was in another process
    assert not list(tmp_path.glob("checkpoint-*"))


@pytest.mark.parametrize("error", [OSError("no display"), KeyboardInterrupt()])
def test_a_result_does_not_wait_for_its_picture(error, file, tmp_path, monkeypatch, capsys):
    def fail(*_, **__):
        raise error

    monkeypatch.setattr("matplotlib.image.imsave", fail)
    command = ["control", "--data", file, "--environment", toy_world.ID, "--episodes", 2, "--updates", 3]
    with suppress(SystemExit):  # Ctrl-C ends the command
        main([str(part) for part in (*command, "--out", tmp_path)])
    assert json.loads((tmp_path / "result.json").read_text())["updates"] == 3
    assert not (tmp_path / "frames.png").exists()
    if isinstance(error, OSError):
        assert "no frames.png: OSError: no display" in capsys.readouterr().err


def test_three_tokens_a_step_are_a_protocol(file, tmp_path):
    place = ["--protocol", "published", "--environment", toy_world.ID, "--episodes", "2", "--updates", "3"]
    main(["control", "--data", str(file), *place, "--out", str(tmp_path)])
    agent = DecisionAgent.load(tmp_path / "model")
    assert (agent.context, agent.tokens_per_step) == (20, 3)


def test_a_comparison_has_a_table_for_each_protocol(file, tmp_path, capsys):
    layers = ["aaren", "gru", "bc", "bc_10", "behaviour"]
    place = ["--environment", toy_world.ID, "--episodes", "2", "--seeds", "1", "--updates", "3"]
    main(["compare", "control", "--data", str(file), "--layers", *layers, *place, "--out", str(tmp_path)])
    records = records_in(tmp_path / "results.jsonl")
    assert len(records) == 2 * 2 + 3
    assert {(r["layer"], r["protocol"]) for r in records} >= {("gru", "streaming"), ("bc", None), ("behaviour", None)}
    table = (tmp_path / "table.md").read_text()
    for protocol in ("windowed", "streaming"):
        [head] = [
            line for line in table.splitlines() if f"protocol {protocol}" in line and "return, wanted: the best" in line
        ]
        rows = table[table.index(head) :].splitlines()[2:5]
        assert rows[0] == "| data | aaren | bc | bc_10 | gru | behaviour |", rows
    capsys.readouterr()
    main(["compare", "control", "--data", str(file), "--layers", *layers, *place, "--out", str(tmp_path)])
    assert len(records_in(tmp_path / "results.jsonl")) == len(records)


def test_a_policy_is_exported(trained, capsys):
    main(["export", str(trained / "model")])
    assert "within" in capsys.readouterr().out


def test_mistakes_are_one_line(file, tmp_path, capsys):
    for arguments, says in (
        (["--data", file], "environment must be named for a file of trajectories"),
        (["--data", file, "--environment", "Nowhere-v3"], "gymnasium knows, got 'Nowhere-v3'"),
        (["--data", file, "--environment", "CartPole-v1"], "observations of 2 numbers"),
        (["--data", file, "--environment", toy_world.ID, "--episodes", "0"], "episodes must be at least 1"),
        (["--data", "hoper-medium"], "did you mean hopper-medium"),
        (["--data", "hopper-medum"], "did you mean hopper-medium"),
        (["--data", "ETTh1"], "environment must be named"),
        (["--data", "hopper-medium", "--layer", "gruu"], "did you mean gru"),
    ):
        assert says in fails(capsys, "control", *arguments, "--out", tmp_path / "out")
    for arguments, says in (
        (["--layers"], "layers must be at least one"),
        (["--episodes", "0"], "episodes must be at least 1"),
    ):
        assert says in fails(capsys, "compare", "control", "--data", "hopper-medium", *arguments)


def test_files_of_known_environments_have_scores(tmp_path):
    for name in ("hopper", "Hopper-v5"):
        where = Control("my.npz", tmp_path, environment=name).where()
        assert (where.id, where.normalise(3234.3)) == ("Hopper-v5", 100.0)
    assert bounds_in(Control("my.npz", tmp_path, environment="Ant-v5").where(), 27, 8) == ((-1.0,) * 8, (1.0,) * 8)
    assert bounds_in(Control("my.npz", tmp_path, environment="Pendulum-v1").where(), 3, 1) == ((-2.0,), (2.0,))


def test_an_agent_is_not_fed_with_samples(trained, capsys):
    assert "got an agent; use DecisionAgent.stream" in fails(capsys, "stream", trained / "model")


def test_two_sets_together_are_shown(capsys):
    main(["data", "show", "ant-medium-expert"])
    told = capsys.readouterr().out
    assert "ant-medium: " in told
    assert "ant-expert: " in told


def test_without_the_extra_rl_it_says_so(tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "gymnasium", None)
    told = fails(capsys, "control", "--data", "hopper-medium", "--out", tmp_path)
    assert told == "aaren: error: gymnasium must be installed for this, got none; pip install 'aaren[rl]'"


@pytest.mark.parametrize("level", ["medium-replay", "medium"])
def test_sets_are_made(level, tmp_path, capsys):
    out = tmp_path / "made.npz"
    steps = ["--training", "300", "--steps", "250", "--level", level, "--out", str(out)]
    main(["data", "make-offline-rl", "Pendulum-v1", *steps])
    known = statistics(load_trajectories(out))
    assert known.steps == (300 if level == "medium-replay" else 250)
    assert known.episodes == 2  # of 200 steps, the last cut off
    assert known.best < 0
    assert f"{known.steps:,} steps, 2 episodes" in capsys.readouterr().out
    world = gymnasium.make("Pendulum-v1")
    actions = np.concatenate([one.actions for one in load_trajectories(out)])
    assert np.abs(actions).max() > 1.0  # in the units of the environment
    assert (np.abs(actions) <= world.action_space.high).all()  # pyright: ignore[reportAttributeAccessIssue]
    for arguments, says in (
        (["--out", out], "make-offline-rl must have one environment"),
        (["Nowhere-v0", "--out", out], "gymnasium knows, got 'Nowhere-v0'"),
        (["CartPole-v1", "--out", out], "actions that are a row of numbers"),
    ):
        assert says in fails(capsys, "data", "make-offline-rl", *arguments)
