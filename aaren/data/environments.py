"""Environments of Gymnasium by name, and the scales of their returns."""

import importlib
import logging
from dataclasses import dataclass, field
from typing import Any

from aaren.extras import require


@dataclass(frozen=True)
class Environment:
    """A Gymnasium environment, and the scale on which D4RL reports returns in it."""

    id: str
    random: float | None = None
    """return of a policy that acts at random: 0 of the normalised score; None = there is no such score"""
    expert: float | None = None
    """return of an expert: 100"""
    options: dict[str, Any] = field(default_factory=dict)
    """arguments of `gymnasium.make`,"""
    picture: dict[str, Any] = field(default_factory=dict)
    """and those for pictures besides"""

    def normalise(self, value: float) -> float | None:
        """A return as D4RL's normalised score (Fu et al. 2020), if there is one."""
        if self.random is None or self.expert is None:
            return None
        return 100 * (value - self.random) / (self.expert - self.random)


FOLLOW = {"camera_name": "track"}
"""With the body; otherwise the camera stays where the episode began."""

ENVIRONMENTS = {
    "halfcheetah": Environment("HalfCheetah-v5", -280.178953, 12135.0, picture=FOLLOW),
    "hopper": Environment("Hopper-v5", -20.272305, 3234.3, picture=FOLLOW),
    "walker2d": Environment("Walker2d-v5", 1.629008, 4592.3, picture=FOLLOW),
    "ant": Environment("Ant-v5", -325.6, 3879.7, {"include_cfrc_ext_in_observation": False}, FOLLOW),
}
"""By the first word of the names of their sets. Random and expert returns as in D4RL's table of them."""


def find_environment(name: str) -> Environment:
    """The environment of this name, or of the name that gymnasium knows it by."""
    known = ENVIRONMENTS | {environment.id: environment for environment in ENVIRONMENTS.values()}
    return known.get(name, Environment(name))


def make_environment(environment: Environment, **options: Any) -> Any:
    """The environment, of MuJoCo's or one that is registered. MuJoCo's warnings go to the logger `mujoco`, unless the
    program has a place for them: its own way writes a file into the working folder.

    Raises:
        ImportError: gymnasium, or what this environment needs, is not installed.
        ValueError: there is no such environment.
    """
    gymnasium = require("gymnasium", "rl")
    _hear_mujoco()
    try:
        return gymnasium.make(environment.id, **environment.options, **options)
    except gymnasium.error.DependencyNotInstalled as error:
        reason = f"{environment.id} must have what it needs installed, got none; pip install 'aaren[rl]'"
        raise ImportError(reason) from error
    except gymnasium.error.Error as error:
        raise ValueError(f"environment must be one that gymnasium knows, got {environment.id!r}: {error}") from None


def _hear_mujoco() -> None:
    try:
        mujoco = importlib.import_module("mujoco")
    except Exception:  # it is not there, or lacks a renderer: Gymnasium says so if the environment needs it
        return
    if mujoco.get_mju_user_warning() is None:
        mujoco.set_mju_user_warning(_log)


def _log(message: str) -> None:
    """Deprecations in Gymnasium's models are DEBUG, as no user can mend them; warnings of a step are WARNING."""
    logging.getLogger("mujoco").log(logging.DEBUG if "deprecated" in message else logging.WARNING, message)
