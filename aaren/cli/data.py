"""The command `aaren data`: what data sets there are, everything about one, downloads, and sets of one's own."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import tyro

if TYPE_CHECKING:
    from aaren.data.sets import DataSet
    from aaren.data.trajectories import Statistics


@dataclass(frozen=True)
class Data:
    """List the data sets that are known by name, show all about some, get them, or make one of trajectories.

    `list` prints a table; `show` prints source, licence, citation and split, whether the files at hand are the ones
    this library is tested with, and of trajectories statistics; `get` downloads what is not at hand into the user's
    cache. Sets are looked for in the folder $AAREN_DATA, among those that ship with aeon, and in the cache.
    `make-offline-rl` trains a policy (SAC of stable-baselines3, the extra `rl`; about an hour for 200,000 steps) and
    writes what it did to OUT.

    Example: aaren data get ETTh1 JapaneseVowels
    Example: aaren data make-offline-rl hopper --level medium-replay --out hopper.npz
    """

    action: tyro.conf.Positional[Literal["list", "show", "get", "make-offline-rl"]]
    """what to do"""
    names: tyro.conf.Positional[tuple[str, ...]] = ()
    """names of data sets, for show and get; halfcheetah, hopper, walker2d, ant or one of gymnasium's for
    make-offline-rl"""
    level: Literal["medium-replay", "medium", "expert"] = "medium-replay"
    """of make-offline-rl: all that was done in training, or what the policy does after a short or a long one"""
    training: int | None = None
    """of make-offline-rl: steps of training; by default 200,000, for expert 1,000,000"""
    steps: int = 100_000
    """of make-offline-rl: steps of medium and expert"""
    seed: int = 0
    """of make-offline-rl"""
    out: Path | None = None
    """of make-offline-rl: the .npz file to write"""

    def run(self) -> None:
        from aaren.data.catalog import CATALOG, at_hand, find, locate
        from aaren.data.control_sets import COMPOSED

        if self.action == "make-offline-rl":
            self._make()
            return
        if (self.action == "list") != (not self.names):
            form = "empty" if self.action == "list" else "given"
            raise ValueError(f"names must be {form} for {self.action!r}, got {', '.join(self.names) or 'none'}")
        names = [part for name in self.names for part in COMPOSED.get(name, (name,))]
        sets = [find(name) for name in names]  # all of them before the first download
        if self.action == "list":
            _print_table(list(CATALOG.values()))
        elif self.action == "show":
            print("\n\n".join(_description(data_set) for data_set in sets))
        else:
            for data_set in sets:
                if files := at_hand(data_set):
                    print(f"{data_set.name}: at hand already, {files[0].parent}")
                    continue
                splits = ("train", "test") if data_set.task == "classification" else (None,)
                for split in splits:
                    files.append(locate(data_set.name, split))
                print(f"{data_set.name}: got into {files[-1].parent}")

    def _make(self) -> None:
        from aaren.data.environments import find_environment
        from aaren.data.trajectories import statistics
        from aaren.data.trajectory_files import load_trajectories
        from aaren.data.trajectory_making import make_trajectories, npz_bytes
        from aaren.files import check_writable, write_folder

        if len(self.names) != 1 or self.out is None or self.out.suffix != ".npz":
            raise ValueError(
                f"make-offline-rl must have one environment and an .npz file for --out, got "
                f"{', '.join(self.names) or 'none'} and {self.out}"
            )
        check_writable(self.out.parent)
        environment = find_environment(self.names[0])
        arrays = make_trajectories(environment, self.level, training=self.training, steps=self.steps, seed=self.seed)
        write_folder(self.out.parent, {self.out.name: npz_bytes(arrays)})
        print(f"{self.out}: {_told(statistics(load_trajectories(self.out)))}")


def _told(known: "Statistics") -> str:
    """Statistics of trajectories in a line."""
    return (
        f"{known.steps:,} steps, {known.episodes:,} episodes of {known.length:.0f} steps, returns {known.mean:.0f} ± "
        f"{known.std:.0f}, best {known.best:.0f}"
    )


def _print_table(sets: "list[DataSet]") -> None:
    from rich.console import Console

    from aaren.data.catalog import at_hand
    from aaren.report import rich_table

    rows = [["name", "task", "rows × channels, or events × marks", "split", "licence", "at hand"]]
    for data_set in sets:
        files = at_hand(data_set)
        size = f"{data_set.rows:,} × {data_set.channels:,}"
        where = str(files[0].parent) if files else "no"
        rows.append([data_set.name, data_set.task, size, _split(data_set), data_set.licence, where])
    Console().print(rich_table(rows, f"{len(sets)} data sets"))


def _split(data_set: "DataSet") -> str:
    if isinstance(data_set.split[0], float):
        return " / ".join(f"{share:.0%}" for share in data_set.split)
    return " / ".join(f"{number:,}" for number in data_set.split)


def _description(data_set: "DataSet") -> str:
    from aaren.data.catalog import at_hand, folders

    parts = {
        "forecasting": "training / validation / test rows",
        "classification": "training / test cases",
        "events": "training / validation / test sequences",
        "offline_rl": "episodes",
    }[data_set.task]
    size = f"{data_set.rows:,} rows × {data_set.channels} channels"
    if data_set.task == "events":
        size = f"{data_set.rows:,} events, {data_set.channels:,} kinds of marks" + (" (none)" * (not data_set.channels))
    lines = {
        "size": size,
        "step": data_set.step,
        "unit": data_set.unit,
        "observed": data_set.window and f"from {data_set.window[0]:g} to {data_set.window[1]:g} {data_set.unit}",
        "classes": data_set.classes,
        "split": f"{_split(data_set)} {parts}",
        "licence": data_set.licence,
        "citation": data_set.citation,
        "source": data_set.page,
        "download": data_set.download or "at no address of its own",
        "its SHA-256": data_set.download_sha256 or "not known: a download could not be verified",
        "notes": data_set.notes,
        "stand-in": data_set.stand_in,
    }
    text = [f"{data_set.name}: {data_set.title} ({data_set.task})"]
    text += [f"  {name:<11} {value}" for name, value in lines.items() if value]
    if data_set.task == "offline_rl" and at_hand(data_set):
        from aaren.data.trajectories import statistics
        from aaren.data.trajectory_files import load_trajectories

        text.append(f"  {'statistics':<11} {_told(statistics(load_trajectories(data_set.name)))}")
    for file in at_hand(data_set):
        text += [f"  {'at hand':<11} {file}", f"  {'':<11} {_compare(data_set, file)}"]
    if not at_hand(data_set):
        text.append(f"  {'at hand':<11} no; looked in {', '.join(map(str, folders(data_set.task)))}")
    return "\n".join(text)


def _compare(data_set: "DataSet", file: Path) -> str:
    """What the checksum of a file at hand says."""
    import hashlib

    with file.open("rb") as opened:
        digest = hashlib.file_digest(opened, "sha256").hexdigest()
    known = next(sha256 for name, sha256 in data_set.files.items() if name.endswith(file.name))
    if known is None:
        return f"SHA-256 {digest}; none is known to compare it with"
    same = "the copy this library is tested with" if digest == known else f"not the tested copy, which has {known}"
    return f"SHA-256 {digest}: {same}"
