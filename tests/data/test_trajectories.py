"""Trajectories: checks, episodes, batches, files."""

from typing import Any

import h5py
import numpy as np
import pytest

from aaren.data.control_sets import COMPOSED, CONTROL
from aaren.data.environments import ENVIRONMENTS
from aaren.data.trajectories import (
    Piece,
    Trajectory,
    check_bounds,
    check_trajectories,
    collate_pieces,
    divide_episodes,
    statistics,
    step_tokens,
)
from aaren.data.trajectory_files import D4RL, STEPS, environment_of, load_trajectories
from aaren.data.trajectory_making import npz_bytes


def one(steps=4, width=3, parts=2, seed=0):
    random = np.random.default_rng(seed)
    arrays = random.normal(size=(steps, width)), random.uniform(-1, 1, (steps, parts)), random.normal(size=steps)
    return Trajectory(*(array.astype(np.float32) for array in arrays))


def steps_of(*episodes, ends=None) -> Any:
    """Arrays as files have them, the last step of each episode an end unless said otherwise."""
    last = np.cumsum([len(episode.rewards) for episode in episodes]) - 1
    flags = np.isin(np.arange(last[-1] + 1), last if ends is None else ends)
    return [np.concatenate(parts) for parts in zip(*episodes, strict=True)] + [flags, np.zeros_like(flags)]


def test_the_return_to_go_is_what_is_still_earned():
    trajectory = one()._replace(rewards=np.array([1, 2, 3, 4], dtype=np.float32))
    assert trajectory.returns_to_go.tolist() == [10, 9, 7, 4]
    assert trajectory.total == 10


def test_episodes_end_where_a_flag_says_so_and_a_rest_is_kept():
    first, second, rest = one(3), one(1, seed=1), one(2, seed=2)
    made = divide_episodes(*steps_of(first, second, rest, ends=[2, 3]))
    assert [len(episode.rewards) for episode in made] == [3, 1, 2]
    for got, wanted in zip(made, (first, second, rest), strict=True):
        assert all((a == b).all() for a, b in zip(got, wanted, strict=True))
    arrays = steps_of(first, second, rest, ends=[2, 3])
    truncated = divide_episodes(
        arrays[0], arrays[1], arrays[2], arrays[4], arrays[3]
    )  # truncations end episodes as terminations do
    assert [len(episode.rewards) for episode in truncated] == [3, 1, 2]


@pytest.mark.parametrize(
    ("bad", "says"),
    [
        ([], "at least one trajectory, got none"),
        (one(), "must be a list of trajectories"),
        ([one(), one(width=2)], r"observations of one width, got 3 in X\[0\] and 2 in X\[1\]"),
        ([one(), one(parts=1)], r"actions of one width, got 2 in X\[0\] and 1 in X\[1\]"),
        ([one()._replace(rewards=np.zeros(3))], "4 observations, 4 actions, 3 rewards"),
        ([one()._replace(actions=np.zeros(4))], r"actions of shape \(steps, width\), got \(4,\)"),
        ([one()._replace(rewards=np.array([0, np.nan, 0, 0]))], "finite rewards, got nan in step 1"),
        ([one()._replace(actions=np.array([[0, 0]] * 3 + [[0, 1.5]]))], "between -1 and 1, got 1.5 in step 3"),
        ([one()._replace(observations=np.full((4, 3), "x"))], "observations that are numbers"),
        ([{"observations": np.zeros((4, 3)), "actions": np.zeros((4, 2))}], "got no rewards"),
        ([Trajectory(np.zeros((0, 3)), np.zeros((0, 2)), np.zeros(0))], "at least one, got 0 observations"),
    ],
)
def test_bad_trajectories_are_named(bad, says):
    with pytest.raises(ValueError, match=says):
        check_trajectories(bad, bounds=(-1.0, 1.0))


@pytest.mark.parametrize("bounds", [(1.0, -1.0), (0.0, np.inf), ((0.0,) * 3, (1.0,) * 3), 1.0, ("a", "b")])
def test_bad_bounds_are_refused(bounds):
    with pytest.raises(ValueError, match="bounds must be"):
        check_bounds(bounds, 2)


def test_bounds_may_differ_from_part_to_part():
    trajectory = one()._replace(actions=np.array([[0.5, 5.0]] * 4, dtype=np.float32))
    check_trajectories([trajectory], bounds=((0.0, 4.0), (1.0, 6.0)))
    with pytest.raises(ValueError, match="between 0 and 1, got 5"):
        check_trajectories([trajectory], bounds=(0.0, 1.0))


def test_without_an_end_steps_are_no_episodes():
    with pytest.raises(ValueError, match="must say where episodes end"):
        divide_episodes(*steps_of(one(), ends=[]))
    arrays = steps_of(one())
    with pytest.raises(ValueError, match="as many observations, actions"):
        divide_episodes(arrays[0], arrays[1], arrays[2][:3], arrays[3], arrays[4])


def test_a_token_is_number_return_to_go_observation_and_the_action_before():
    trajectory = one()
    x = step_tokens(trajectory)
    assert x[:, 0].tolist() == [0, 1, 2, 3]
    assert (x[:, 1] == trajectory.returns_to_go).all()
    assert (x[:, 2:5] == trajectory.observations).all()
    assert (x[1:, 5:] == trajectory.actions[:-1]).all()
    assert (x[0, 5:] == 0).all()


def test_pieces_are_padded_at_the_end():
    x, actions = step_tokens(one(6)), one(6).actions
    batch = collate_pieces([Piece(x, actions, 0, 2, 6), Piece(x, actions, 0, 0, 3)])
    assert batch.padding_mask.tolist() == [[False] * 4, [False] * 3 + [True]]
    assert batch.before_mask.tolist() == [[False] * 2, [True] * 2]
    assert (batch.x[0].numpy() == x[2:]).all()
    assert (batch.before[0].numpy() == x[:2]).all()
    assert (batch.actions[1, :3].numpy() == actions[:3]).all()


def write_npz(path, arrays):
    path.write_bytes(npz_bytes(dict(zip(STEPS, arrays, strict=True))))


def write_d4rl(path, arrays):
    with h5py.File(path, "w") as file:
        for name, array in zip(D4RL, arrays, strict=True):
            file[name] = array
        file["infos/qpos"] = np.zeros(3)


def write_minari(path, episodes):
    """Eleven or more, so that their names do not sort as numbers do."""
    with h5py.File(path, "w") as file:
        for number, episode in enumerate(episodes):
            group = file.create_group(f"episode_{number}")
            group["observations"] = np.concatenate([episode.observations, episode.observations[:1]])
            group["actions"], group["rewards"] = episode.actions, episode.rewards
            for name in STEPS[3:]:
                group[name] = np.zeros(len(episode.rewards), dtype=bool)


def test_files_of_all_layouts_hold_the_same(tmp_path):
    episodes = [one(2 + number % 3, seed=number) for number in range(12)]
    write_npz(tmp_path / "a.npz", steps_of(*episodes))
    write_d4rl(tmp_path / "a.hdf5", steps_of(*episodes))
    (tmp_path / "minari" / "data").mkdir(parents=True)
    write_minari(tmp_path / "minari" / "data" / "main_data.hdf5", episodes)
    for place in ("a.npz", "a.hdf5", "minari", "minari/data", "minari/data/main_data.hdf5"):
        for got, wanted in zip(load_trajectories(tmp_path / place), episodes, strict=True):
            assert all((a == b).all() for a, b in zip(got, wanted, strict=True)), place


def test_files_that_hold_something_else_are_refused(tmp_path):
    (tmp_path / "torn.npz").write_bytes(b"PK\x03\x04 no")
    np.savez(tmp_path / "other.npz", observations=np.zeros((3, 2)))
    (tmp_path / "torn.hdf5").write_bytes(b"no")
    with h5py.File(tmp_path / "other.hdf5", "w") as file:
        file["x"] = np.zeros(3)
    (tmp_path / "folder").mkdir()
    for name in ("torn.npz", "other.npz", "torn.hdf5", "other.hdf5"):
        with pytest.raises(ValueError, match=f"{name}' must hold observations"):
            load_trajectories(tmp_path / name)
    for name in ("folder", "none.npz"):
        with pytest.raises(FileNotFoundError, match=name):
            load_trajectories(tmp_path / name)
    with pytest.raises(ValueError, match="set of trajectories, got 'ETTh1'"):
        load_trajectories("ETTh1")
    with pytest.raises(ValueError, match="did you mean hopper-medium"):
        load_trajectories("hopper-medum")


def test_environments_of_known_sets():
    hopper = environment_of("hopper-medium-replay")
    assert hopper is not None
    assert hopper.id == "Hopper-v5"
    assert hopper.normalise(3234.3) == pytest.approx(100)
    assert hopper.normalise(-20.272305) == pytest.approx(0)
    assert environment_of("hopper-medium.npz") is None
    assert environment_of("my-set") is None


@pytest.mark.usefixtures("data_root")
def test_the_sets_at_hand_are_what_the_catalogue_says():
    for data_set in CONTROL[:6:5]:
        known = statistics(load_trajectories(data_set.name))
        assert (known.steps, known.episodes) == (data_set.rows, *data_set.split)
    for name, parts in COMPOSED.items():
        assert name.removesuffix("-medium-expert") in ENVIRONMENTS
        assert {data_set.name for data_set in CONTROL} >= set(parts)
    both = load_trajectories("hopper-medium-expert")
    assert len(both) == 237 + 60
