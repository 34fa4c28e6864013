"""A small environment whose best actions are known, and trajectories of good and bad policies in it."""

import gymnasium
import numpy as np

from aaren.data.trajectories import Trajectory

ID = "toy_world:Toy-v0"
SKILL = 0.8


class Toy(gymnasium.Env):
    """Shows a sign and a number that says nothing; an action earns its product with the sign. 6 to 9 steps."""

    observation_space = gymnasium.spaces.Box(-10.0, 10.0, (2,), np.float32)
    action_space = gymnasium.spaces.Box(-1.0, 1.0, (1,), np.float32)
    metadata = {"render_modes": ["rgb_array"], "render_fps": 10}  # noqa: RUF012 (Gymnasium's)

    def __init__(self, render_mode=None, width=8, height=8):
        self.render_mode, self.size = render_mode, (height, width, 3)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.left = int(self.np_random.integers(6, 10))
        return self._see(), {}

    def step(self, action):
        reward = float(action[0] * self.sign)
        self.left -= 1
        return self._see(), reward, self.left == 0, False, {}

    def render(self):
        return np.full(self.size, 10 * self.left, dtype=np.uint8)

    def _see(self):
        self.sign = self.np_random.choice([-1.0, 1.0])
        return np.array([self.sign, self.np_random.normal()], dtype=np.float32)


gymnasium.register("Toy-v0", f"{__name__}:Toy")


def trajectories(count=60, seed=0):
    """Half of them do what earns most, up to `SKILL`, and half what earns least."""
    random = np.random.default_rng(seed)
    made = []
    for number in range(count):
        steps = int(random.integers(6, 10))
        sign = random.choice([-1.0, 1.0], steps)
        skill = SKILL if number % 2 else -SKILL
        actions = (skill * sign + random.normal(0, 0.05, steps)).clip(-1, 1)
        observations = np.stack([sign, random.normal(size=steps)], axis=1)
        arrays = observations, actions[:, None], actions * sign
        made.append(Trajectory(*(array.astype(np.float32) for array in arrays)))
    return made
