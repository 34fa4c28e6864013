"""The one training loop. Knows no model: it is given batches, a loss and a validation score."""

import json
import math
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

import torch
from torch import Tensor, nn

from aaren.extras import require
from aaren.tensor_files import read_tensors, write_tensors

KIND = "aaren checkpoint"


@dataclass(frozen=True)
class Recipe:
    """How a model is trained: AdamW, warm-up and a cosine to zero, selection and early stopping on validation data."""

    updates: int = 800
    """most updates of the weights"""
    batch_size: int = 16
    """sequences in an update"""
    learning_rate: float = 1e-3
    """largest learning rate"""
    warmup: int = 50
    """updates over which the learning rate rises linearly, at most a quarter of all"""
    weight_decay: float = 1e-2
    """decoupled weight decay"""
    clip: float = 1.0
    """largest norm of the gradient"""
    validate_every: int = 25
    """updates between validations; a checkpoint is written at each"""
    patience: int = 16
    """validations without improvement after which training stops"""
    keep: Literal["best", "last"] = "best"
    """which weights training leaves: of the best validation, or the last ones, and then nothing stops it early"""

    def __post_init__(self):
        whole = ("updates", "batch_size", "warmup", "validate_every", "patience")
        if self.keep not in ("best", "last"):
            raise ValueError(f"keep must be 'best' or 'last', got {self.keep!r}")
        for name, value in asdict(self).items():
            if name == "keep":
                continue
            least = 0 if name in ("warmup", "weight_decay") else 1 if name in whole else 1e-30
            if not least <= value < math.inf or (name in whole and value != int(value)):
                bound = "above 0" if least == 1e-30 else f"at least {least}"
                kind = "a whole number" if name in whole else "a number"
                raise ValueError(f"{name} must be {kind} {bound}, got {value}")

    def rate(self, update: int) -> float:
        """Learning rate of an update, counted from 0."""
        warmup = min(self.warmup, self.updates // 4)
        rise = min(1.0, (update + 1) / warmup) if warmup else 1.0
        return self.learning_rate * rise * 0.5 * (1 + math.cos(math.pi * update / self.updates))


class Batch(Protocol):
    def to(self, device: torch.device) -> Any: ...


@dataclass
class Fitted:
    """What training did. The model holds the weights of `best_update`, or the last ones if the recipe says so."""

    history: list[dict[str, int | float]]
    """one entry a validation: update, loss (mean since the last) and validation loss"""
    best_update: int
    """0 if no update made the model better"""
    best_validation: float
    updates: int
    seconds: float = field(default=0.0, compare=False)
    """time spent, interrupted runs included up to their last checkpoint"""


def fit(
    model: nn.Module,
    batch: Callable[[int], Batch],
    loss: Callable[[nn.Module, Any], Tensor],
    validate: Callable[[nn.Module, torch.device], float],
    recipe: Recipe,
    *,
    seed: int = 0,
    checkpoint: Path | None = None,
    run: str = "",
    progress: bool = False,
) -> Fitted:
    """Trains `model` in place and leaves it with the weights of the best validation, or the last (`Recipe.keep`).

    Everything random in update k depends on (seed, k) only, so a run that was interrupted and goes on from its
    checkpoint ends with exactly the weights of one that was not. On several processes (`accelerate launch`) each takes
    every n-th batch and gradients are averaged.

    Args:
        model: what is trained.
        batch: number to batch; numbers count up from 0.
        loss: of a model on a batch.
        validate: score of a model, lower is better; must not see test data.
        recipe: how to train.
        seed: of the dropout.
        checkpoint: file to go on from if it exists, and to write at each validation.
        run: what identifies this run; a checkpoint of another run is refused.
        progress: show a progress bar on standard error.

    Raises:
        FloatingPointError: the loss, its gradient or the validation is not finite.
        ImportError: accelerate is not installed.
        OSError: the checkpoint cannot be written.
        ValueError: the checkpoint is damaged or of another run.
    """
    accelerator = require("accelerate", "tasks").Accelerator()
    if accelerator.mixed_precision != "no":
        run += f" in {accelerator.mixed_precision}"
    optimiser = torch.optim.AdamW(model.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay)
    wrapped, optimiser = accelerator.prepare(model, optimiser)
    best = {name: value.clone() for name, value in model.state_dict().items()}
    done = Fitted(history=[], best_update=0, best_validation=math.inf, updates=0)
    if checkpoint is not None and checkpoint.exists():
        best, done = _resume(checkpoint, run, model, optimiser)

    def score() -> float:
        wrapped.eval()
        with torch.no_grad():
            value = validate(model, accelerator.device)
        if not math.isfinite(value):
            raise FloatingPointError(f"validation must be finite, got {value} after {done.updates} updates")
        return value

    began = time.perf_counter() - done.seconds
    with torch.random.fork_rng(), _bar(progress and accelerator.is_main_process, recipe.updates) as show:
        losses: list[Tensor] = []
        if not done.history:
            done.best_validation = score()
        while done.updates < recipe.updates and not _stalled(done, recipe):
            update = done.updates
            number = update * accelerator.num_processes + accelerator.process_index
            torch.manual_seed(_mix(seed, number))
            wrapped.train()
            for group in optimiser.param_groups:
                group["lr"] = recipe.rate(update)
            value = loss(wrapped, batch(number).to(accelerator.device))
            optimiser.zero_grad()
            accelerator.backward(value)
            norm = accelerator.clip_grad_norm_(model.parameters(), recipe.clip)
            if not torch.isfinite(norm):
                raise FloatingPointError(
                    f"loss and gradient must be finite, got loss {value.item()} in update {update}; lower learning_rate"
                )
            optimiser.step()
            losses.append(value.detach())
            done.updates += 1

            if done.updates % recipe.validate_every == 0 or done.updates == recipe.updates:
                validation = score()
                entry = {"update": done.updates, "loss": torch.stack(losses).mean().item(), "validation": validation}
                done.history.append(entry)
                losses = []
                done.seconds = time.perf_counter() - began
                if validation < done.best_validation:
                    done.best_validation, done.best_update = validation, done.updates
                    best = {name: value.clone() for name, value in model.state_dict().items()}
                if checkpoint is not None and accelerator.is_main_process:
                    _save(checkpoint, run, model, optimiser, best, done)
            show(done)

    accelerator.unwrap_model(wrapped, keep_fp32_wrapper=False)  # else `model` keeps computing in mixed precision
    if recipe.keep == "best":
        model.load_state_dict(best)
    model.eval()
    return done


def _stalled(done: Fitted, recipe: Recipe) -> bool:
    return recipe.keep == "best" and done.updates - done.best_update >= recipe.patience * recipe.validate_every


def _mix(seed: int, number: int) -> int:
    """One seed from two numbers, without the clashes of a sum."""
    return (int(seed) * 1_000_003 + number) % 2**63


def _save(path: Path, run: str, model: nn.Module, optimiser: Any, best: dict[str, Tensor], done: Fitted) -> None:
    tensors = {f"model.{name}": value for name, value in model.state_dict().items()}
    tensors |= {f"best.{name}": value for name, value in best.items()}
    for number, moments in optimiser.state_dict()["state"].items():
        tensors |= {f"optimiser.{number}.{name}": value for name, value in moments.items()}
    write_tensors(path, KIND, tensors, {"run": run, "done": json.dumps(asdict(done))})


def _resume(path: Path, run: str, model: nn.Module, optimiser: Any) -> tuple[dict[str, Tensor], Fitted]:
    tensors, metadata = read_tensors(path, KIND)
    if metadata["run"] != run:
        raise ValueError(
            f"checkpoint must be of this run, got one of another model, data or recipe in {str(path)!r}; remove it, or "
            f"choose another folder"
        )
    parts: dict[str, dict[str, Tensor]] = {"model": {}, "best": {}, "optimiser": {}}
    for name, value in tensors.items():
        part, rest = name.split(".", 1)
        parts[part][rest] = value
    model.load_state_dict(parts["model"])
    state = optimiser.state_dict()
    for name, value in parts["optimiser"].items():
        number, moment = name.split(".", 1)
        state["state"].setdefault(int(number), {})[moment] = value
    optimiser.load_state_dict(state)
    return parts["best"], Fitted(**json.loads(metadata["done"]))


def _bar(shown: bool, total: int) -> AbstractContextManager[Callable[[Fitted], None]]:
    """A progress bar as a context that yields what to call after each update."""
    if not shown:
        return nullcontext(lambda done: None)
    return _Bar(total)


class _Bar:
    def __init__(self, total: int):
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        self.bar = Progress(
            TextColumn("update {task.completed:.0f}/{task.total:.0f}"),
            BarColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.description}"),
            console=Console(stderr=True),
            transient=True,
        )
        self.task = self.bar.add_task("", total=total)

    def __enter__(self) -> Callable[[Fitted], None]:
        self.bar.start()
        return self.show

    def __exit__(self, *exception: object) -> None:
        self.bar.stop()

    def show(self, done: Fitted) -> None:
        text = ""
        if done.history:
            last = done.history[-1]
            text = f"loss {last['loss']:.3f}, validation {last['validation']:.3f} (best {done.best_validation:.3f})"
        self.bar.update(self.task, completed=done.updates, description=text)
