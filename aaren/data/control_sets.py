"""Sets of trajectories: a table of facts."""

from aaren.data.environments import ENVIRONMENTS
from aaren.data.sets import DataSet

REBUILT = "Rebuilt in the style of D4RL: scores compare models on the same data, not with published ones."
AGENTS = "https://github.com/DLR-RM/rl-trained-agents"
SAC = "SAC from scratch (defaults of stable-baselines3, seed 0): its whole replay buffer"


def _control(name: str, shape: tuple[int, int, int], episodes: int, behaviour: str, sha256: str) -> DataSet:
    """shape: steps, observation, action."""
    steps, width, parts = shape
    environment = ENVIRONMENTS[name.split("-")[0]]
    return DataSet(
        name,
        "offline_rl",
        f"steps of {environment.id} by {behaviour}",
        rows=steps,
        channels=width + parts,
        split=(episodes,),
        licence="MIT",
        citation="Fu et al.: D4RL. 2020; Raffin et al.: Stable-Baselines3. JMLR 2021; its published agents",
        page=AGENTS,
        files={f"{name}.npz": sha256},
        download=None,
        notes=f"{width} numbers of an observation, {parts} of an action. {REBUILT} `aaren data make-offline-rl` makes "
        f"sets like it.",
    )


CONTROL = (
    _control("halfcheetah-medium", (100_000, 17, 6), 100, "PPO, sampled actions",
        "8f27e0a13ac179dc66520f36e45ca659be69fb6edf0e0807725be1e5391feeb1"),
    _control("halfcheetah-medium-replay", (200_000, 17, 6), 200, SAC,
        "27b4130044057c046d320254a20eed6d82b5d9f92e17fff2b718dc0bc2671d5b"),
    _control("halfcheetah-expert", (50_000, 17, 6), 50, "TQC, sampled actions",
        "bbc52b34b69d86b5851fa91462e19faa1fcbe12b02d1416844aa6d8bfe3939d7"),
    _control("hopper-medium", (100_000, 11, 3), 237, "SAC, sampled actions",
        "cca6e21577faacfa12652742b8cc2fc563215437f4806b12239dab2970765afd"),
    _control("hopper-medium-replay", (200_000, 11, 3), 1465, SAC,
        "86e837ddd27425344353b2094fc7fc58576582c94107b62e9e51b11496e69dd9"),
    _control("hopper-expert", (50_000, 11, 3), 60, "TRPO, sampled actions",
        "24938187cecbbee8cb3d12966a92bc8afdbbf6b959ef586b1646f9f56bf59026"),
    _control("walker2d-medium", (100_000, 17, 6), 121, "PPO, sampled actions",
        "809a6e5ce23420e1fe8f7ca6a68af1b0ce028aff3a6513b2b76701c0a02c8e2d"),
    _control("walker2d-medium-replay", (160_000, 17, 6), 755, SAC,
        "042908df9e7437e2a550a8983fcf9cbf9826534e837fe990447092812d7a1367"),
    _control("walker2d-expert", (50_000, 17, 6), 52, "SAC, sampled actions",
        "383ff6580c70392823399a405ec63072c3bbc1d632cb29085f0c2c6771302459"),
    _control("ant-medium", (100_000, 27, 8), 102, "ARS, Gaussian noise of 0.1",
        "e613b84587a9e7e2a1b2d64f25b4da2c5b3b19f09d5267c0fbac786d113abf47"),
    _control("ant-medium-replay", (160_000, 27, 8), 252, SAC,
        "04891930cfa09f5b1a30250cc7078e8373aff1b2d48009567d921ff2c49b800e"),
    _control("ant-expert", (50_000, 27, 8), 50, "TRPO, sampled actions",
        "d164d7a2d5bf512a5e19092b58144c6bbc17b26012641648250a0a723e6620a7"),
)  # fmt: skip

COMPOSED = {f"{name}-medium-expert": (f"{name}-medium", f"{name}-expert") for name in ENVIRONMENTS}
"""Sets that are two others together, as in D4RL."""
