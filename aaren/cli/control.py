"""`aaren control`: train one agent from trajectories and let it act."""

import json
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from aaren.cli.classify import Preset
from aaren.cli.results import check_results, checkpoint, remove_checkpoints
from aaren.comparison import Comparison, Metric
from aaren.extras import require
from aaren.files import check_writable

if TYPE_CHECKING:
    from aaren.data.environments import Environment
    from aaren.data.trajectories import Statistics, Trajectory

MISSED = "mean distance of an episode's from the one wanted: the mean of the data"

CONTROL = Comparison(
    task="control",
    rows=("data",),
    column="layer",
    metrics=(
        Metric("score", "normalised score, wanted return: the best of the data", True, digits=1, averaged=True),
        Metric("score_beyond", "normalised score, wanted return: beyond the data", True, digits=1, averaged=True),
        Metric("score_missed", f"normalised score, {MISSED}", digits=1, averaged=True),
        Metric("return", "return, wanted: the best of the data", True, digits=0),
        Metric("return_missed", f"return, {MISSED}", digits=0),
        Metric("return_beyond", "return, wanted: beyond the data", True, digits=0),
        Metric("length", "steps of an episode, wanted return: the best of the data", True, digits=0),
        Metric("validation_error", "squared error of held-out actions"),
    ),
    fixed=("environment", "protocol", "preset", "most_updates", "episodes"),
    any_of="protocol",
)
"""How results of `Control` are read."""

BASELINES = {"bc": 100.0, "bc_10": 10.0}
"""Behaviour cloning from so many percent of the steps, of the trajectories that earned most."""

TARGETS = {"": 1.0, "_mean": 0.0, "_beyond": 2.0}
"""Returns that are wanted, from 0, the mean of the data, to 1, its best, and as far beyond; the first counts."""

Protocol = Literal["windowed", "streaming", "published"]


@dataclass(frozen=True)
class Control:
    """Train an agent from trajectories and let it act in its environment (Gymnasium, MuJoCo: the extra `rl`).

    The last weights are measured, after a fixed number of updates, over whole episodes that begin at seeds of their
    own. The score is D4RL's: 0 is random, 100 an expert. Writes OUT/model (for `DecisionAgent.load` and, of streaming
    agents, `aaren export`), OUT/result.json, and OUT/frames.png where pictures can be drawn. Interrupted with Ctrl-C,
    the same command goes on where it was; a crash of the environment loses no training.

    Example: aaren control --data hopper-medium --layer aaren --out results/hopper
    """

    data: str
    """name in the catalogue, NAME-medium-expert for two sets together, or a file, see `aaren.data.trajectory_files`"""
    out: Path
    """folder for results"""
    layer: str = "aaren"
    """aaren, aaren_decay, aaren_gated, attention, gru, lstm, mingru or minlstm; or without a sequence model bc or
    bc_10, behaviour cloning (from the best tenth), or behaviour, what the data's own policy earned"""
    protocol: Protocol = "windowed"
    """windowed: from the latest 20 steps, all anew in each; streaming: from the state, trained on windows and
    on whole episodes; published: windowed, with three tokens a step as Decision Transformer has them"""
    environment: str | None = None
    """of files: the name that gymnasium knows, or halfcheetah, hopper, walker2d or ant as in the known sets; returns of
    others have no normalised score"""
    episodes: int = 10
    """episodes that are played for each wanted return"""
    preset: Preset = "small"
    """size and training: small (minutes on one core) or paper (the published sizes)"""
    seed: int = 0
    """of weights, held-out part, batches and dropout, and of the environments"""
    updates: int | None = None
    """updates of the weights; by default the preset's"""

    modules: ClassVar[tuple[str, ...]] = ("aaren.tasks.control", "aaren.tasks.control_baselines", "gymnasium")
    """what `run` imports and takes long to"""

    def run(self, progress: bool = True) -> None:
        """Trains, measures, writes; `progress` shows a bar meanwhile."""
        from aaren.bench import environment
        from aaren.data.trajectories import statistics
        from aaren.data.trajectory_files import load_trajectories
        from aaren.files import write_folder

        check_policy(self.layer)
        if self.episodes < 1:
            raise ValueError(f"episodes must be at least 1, got {self.episodes}")
        where = self.where()
        if self.layer != "behaviour":
            require("gymnasium", "rl")  # before data is fetched
        trajectories = load_trajectories(self.data)
        agent = None
        if self.layer != "behaviour":  # whatever is wrong with the environment is told before any training
            bounds = bounds_in(where, trajectories[0].observations.shape[1], trajectories[0].actions.shape[1])
            agent = self._agent(bounds, progress)
        check_writable(self.out)
        check_results(self.out, self.settings())
        known = statistics(trajectories)
        if agent is None:
            result: dict[str, Any] = {"score": where.normalise(known.mean), "return": known.mean}
            result |= {"return_std": known.std, "length": known.length}
        else:
            result = self._learn(agent, trajectories) | self._act(agent, where, known)
        done = self.settings() | result | {f"data_{name}": value for name, value in known._asdict().items()}
        write_folder(self.out, {"result.json": json.dumps(done | environment(), indent=2).encode()})
        remove_checkpoints(self.out)
        if agent is not None:  # last, as renderers may take the whole process with them
            self._picture(agent, where)
        how = "" if self.settings()["protocol"] is None else f", {self.protocol}"
        score = "" if result["score"] is None else f", score {result['score']:.1f}"
        print(
            f"{self.layer} on {self.data}{how}, preset {self.preset}, seed {self.seed}: "
            f"return {result['return']:.0f} ± {result['return_std']:.0f}{score} "
            f"(the data: {known.mean:.0f} ± {known.std:.0f}, best {known.best:.0f})"
        )

    def where(self) -> "Environment":
        """The environment. Raises ValueError if none is known, or the data is no known set."""
        from aaren.data.catalog import find, is_path
        from aaren.data.control_sets import COMPOSED
        from aaren.data.environments import find_environment
        from aaren.data.trajectory_files import environment_of

        if not is_path(self.data) and self.data not in COMPOSED:
            find(self.data)
        if self.environment is not None:
            return find_environment(self.environment)
        known = environment_of(self.data)
        if known is None:
            raise ValueError("environment must be named for a file of trajectories, got none, such as hopper")
        return known

    def settings(self) -> dict[str, Any]:
        """What a result must agree with to be this command's."""
        plain = self.layer == "behaviour"
        alone = plain or self.layer in BASELINES
        return {
            "task": "control",
            "data": self.data,
            "layer": self.layer,
            "protocol": None if alone else self.protocol,
            "environment": self.environment,
            "episodes": self.episodes,
            "preset": self.preset,
            "seed": None if plain else self.seed,
            "most_updates": self.updates,
        }

    def _learn(self, agent: Any, trajectories: "list[Trajectory]") -> dict[str, Any]:
        """Trains and saves it. Returns what that took."""
        import numpy as np

        from aaren.bench import Cost

        resumed = checkpoint(self.out).exists()
        with Cost() as cost:
            agent.fit(trajectories)
        agent.save(self.out / "model")
        measured = {
            "validation_error": agent.validation_error_,
            "parameters": sum(p.numel() for p in agent.model_.parameters()),
            "updates": agent.training_.updates,
            "train_seconds": agent.training_.seconds,
            "peak_memory_bytes": None if resumed else cost.peak_bytes,
        }
        if self.layer not in BASELINES:
            measured |= _step_cost(agent, np.concatenate([one.observations for one in trajectories[:3]]))
        return measured

    def _act(self, agent: Any, where: "Environment", known: "Statistics") -> dict[str, Any]:
        """Lets it play. Returns what it earned."""
        from aaren.data.trajectories import statistics
        from aaren.tasks.control_evaluation import play

        result: dict[str, Any] = {}
        for name, share in TARGETS.items():
            target = known.mean + share * (known.best - known.mean)
            played = play(
                lambda number, target=target: agent.stream(target, environments=number),
                where,
                self.episodes,
                seed=10_000 * (1 + self.seed),
            )
            earned = statistics(played)
            result |= {f"score{name}": where.normalise(earned.mean), f"return{name}": earned.mean}
            if not name:
                result |= {"return_std": earned.std, "length": earned.length}
            if name == "_mean" and self.layer not in BASELINES:  # they are not told
                missed = sum(abs(one.total - target) for one in played) / len(played)
                zero = where.normalise(0.0)
                points = None if zero is None else (where.normalise(missed) or 0.0) - zero
                result |= {"return_missed": missed, "score_missed": points}
        return result

    def _agent(self, bounds: Any, progress: bool = False) -> Any:
        """What is trained, before it is. `bounds` are those of actions."""
        from aaren.tasks.control import PRESETS, DecisionAgent
        from aaren.tasks.control_baselines import CLONING, CloningAgent
        from aaren.tasks.control_training import RECIPE

        common: dict[str, Any] = {"seed": self.seed, "checkpoint": checkpoint(self.out), "progress": progress}
        common["bounds"] = bounds
        if self.layer in BASELINES:
            recipe = CLONING if self.updates is None else replace(CLONING, updates=self.updates)
            return CloningAgent(BASELINES[self.layer], recipe=recipe, **common)
        streaming = self.protocol == "streaming"
        arguments = {"recipe": RECIPE, **PRESETS[self.preset]}
        if self.updates is not None:
            arguments["recipe"] = replace(arguments["recipe"], updates=self.updates)
        arguments |= {"tokens_per_step": 3 if self.protocol == "published" else 1}
        return DecisionAgent(self.layer, context=None if streaming else 20, **arguments, **common)

    def _picture(self, agent: Any, where: "Environment") -> None:
        """Frames of an episode, if there is something to draw them with."""
        from matplotlib import image

        from aaren.tasks.control_evaluation import strip

        try:
            frames = strip(lambda number: agent.stream(environments=number), where, seed=self.seed)
            image.imsave(self.out / "frames.png", frames)
        except Exception as error:  # machines without a display fail in many ways, none of which spoils a result
            reason = " ".join(str(error).split())[:100]
            print(f"aaren: no frames.png: {type(error).__name__}: {reason}", file=sys.stderr)


def bounds_in(where: "Environment", width: int, parts: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Least and greatest action in an environment. Raises ValueError unless it has observations and actions of so many
    numbers."""
    from aaren.data.environments import make_environment
    from aaren.tasks.control_evaluation import check_spaces

    made = make_environment(where)
    try:
        check_spaces(made, width, parts)
        low, high = made.action_space.low.tolist(), made.action_space.high.tolist()
    finally:
        made.close()
    return tuple(low), tuple(high)


def check_policy(layer: str) -> None:
    """Raises ValueError on a name that is neither a layer nor a baseline."""
    from aaren.data.catalog import near_names
    from aaren.layers.table import LAYERS

    names = [*LAYERS, *BASELINES, "behaviour"]
    if layer not in names:
        hint = near_names(layer, names)
        raise ValueError(f"layer must be one of {', '.join(names)}, got {layer!r}{'; ' + hint if hint else ''}")


def _step_cost(agent: Any, observations: Any) -> dict[str, Any]:
    """Median microseconds of a step in one environment, of the last hundred of 1,000, and bytes of the state then."""
    import time

    import numpy as np
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    stream, times = agent.stream(), []
    for step in range(1_000):
        start = time.perf_counter()
        stream.act(observations[step % len(observations)], 0.0)
        times.append(time.perf_counter() - start)
    torch.set_num_threads(threads)
    return {"token_us": 1e6 * float(np.median(times[-100:])), "state_bytes": stream.nbytes}
