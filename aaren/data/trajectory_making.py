"""Sets of trajectories of one's own, by the soft actor-critic of stable-baselines3."""

import io
from typing import Any, Literal

import numpy as np

from aaren.data.environments import Environment, make_environment
from aaren.data.trajectory_files import STEPS
from aaren.extras import require

Level = Literal["medium-replay", "medium", "expert"]

TRAINING = {"medium-replay": 200_000, "medium": 200_000, "expert": 1_000_000}
"""Steps that a policy is trained for, by level."""


def make_trajectories(
    environment: Environment, level: Level, *, training: int | None = None, steps: int = 100_000, seed: int = 0
) -> dict[str, np.ndarray]:
    """The arrays of an `.npz` file of trajectories, see `aaren.data.trajectory_files`.

    Args:
        environment: where a policy is trained, from scratch, with the defaults of stable-baselines3.
        level: medium-replay is all that the policy did while it was trained; medium and expert are what it does
            afterwards, actions sampled, and differ in how long it is trained.
        training: steps of training; None = `TRAINING[level]`.
        steps: of medium and expert.
        seed: of the policy and the environment.

    Raises:
        ImportError: gymnasium or stable-baselines3 is not installed.
        ValueError: a level that there is not, no steps, an environment that there is not, or one whose observations and
            actions are no numbers.
    """
    if level not in TRAINING:
        raise ValueError(f"level must be one of {', '.join(TRAINING)}, got {level!r}")
    training = TRAINING[level] if training is None else training
    for name, number in (("training", training), ("steps", steps)):
        if number < 1:
            raise ValueError(f"{name} must be at least 1, got {number}")
    sac, gymnasium = require("stable_baselines3", "rl").SAC, require("gymnasium", "rl")
    world = make_environment(environment)
    try:
        for name in ("observation", "action"):
            space = getattr(world, f"{name}_space")
            if not isinstance(space, gymnasium.spaces.Box) or len(space.shape) != 1:
                raise ValueError(
                    f"environment must have {name}s that are a row of numbers, got {space} in {environment.id}"
                )
        agent = sac("MlpPolicy", world, buffer_size=training, seed=seed)
        agent.learn(training)
        return _replay(agent, training) if level == "medium-replay" else _rollout(agent, world, steps, seed)
    finally:
        world.close()


def npz_bytes(arrays: dict[str, np.ndarray]) -> bytes:
    """The file."""
    file = io.BytesIO()
    np.savez_compressed(file, **arrays)  # pyright: ignore[reportArgumentType]
    return file.getvalue()


def _replay(agent: Any, training: int) -> dict[str, np.ndarray]:
    """The whole replay buffer, in the order of time."""
    buffer = agent.replay_buffer
    actions = agent.policy.unscale_action(buffer.actions[:training, 0])
    truncated = buffer.timeouts[:training, 0].astype(bool)
    terminated = buffer.dones[:training, 0].astype(bool) & ~truncated
    truncated[-1] |= not terminated[-1]  # the end of training cuts an episode off
    arrays = buffer.observations[:training, 0], actions, buffer.rewards[:training, 0]
    return dict(zip(STEPS, (*(array.astype(np.float32) for array in arrays), terminated, truncated), strict=True))


def _rollout(agent: Any, world: Any, steps: int, seed: int) -> dict[str, np.ndarray]:
    """What the policy does; an episode that the last step cuts off is marked so."""
    rows: list[tuple[Any, ...]] = []
    seen, _ = world.reset(seed=seed + 1)
    for step in range(steps):
        action, _ = agent.predict(seen, deterministic=False)
        after, reward, terminated, truncated, _ = world.step(action)
        rows.append((seen, action, reward, terminated, truncated or step == steps - 1))
        seen = world.reset()[0] if terminated or truncated else after
    columns = zip(*rows, strict=True)
    kinds = [np.float32] * 3 + [bool] * 2
    return {name: np.array(column, dtype=kind) for name, column, kind in zip(STEPS, columns, kinds, strict=True)}
