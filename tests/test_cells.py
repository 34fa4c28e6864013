"""Cells in processes of their own: none twice, none lost, whatever happens to the others."""

import json
import os
import shutil
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import pytest
import torch

from aaren.bench import commit, environment
from aaren.cells import read_results, run_cells


@dataclass(frozen=True)
class Fake:
    """A cell that does what its name says."""

    name: str
    out: Path
    modules: ClassVar[tuple[str, ...]] = ()

    def settings(self):
        return {"task": "fake", "name": self.name, "limit": None}

    def run(self, progress: bool = True) -> None:
        if self.name == "refuse":
            raise ValueError("name must be another")
        if self.name == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        if self.name == "meet":  # the other cell that runs at the same time
            (self.out.parent / str(os.getpid())).touch()
            deadline = time.monotonic() + 30
            while len([path for path in self.out.parent.iterdir() if path.name.isdecimal()]) < 2:
                assert time.monotonic() < deadline
                time.sleep(0.01)
        if self.name == "scan":
            scan()
        self.out.mkdir(parents=True)
        result = {"pid": os.getpid(), "progress": progress, **environment(), "commit": "as it ended"}
        (self.out / "result.json").write_text(json.dumps(self.settings() | result))


def scan():
    """The fused kernels on two threads, forward and backward, against the loop."""
    from aaren.ops.scan import attention_scan

    torch.set_num_threads(2)
    scores, values = torch.randn(4, 700, 4), torch.randn(4, 700, 4, 32, requires_grad=True)
    outputs = [attention_scan(scores, values, backend=backend)[0] for backend in ("cpu", "reference")]
    torch.testing.assert_close(*outputs, rtol=1e-4, atol=1e-4)
    gradients = [torch.autograd.grad(output.square().sum(), values)[0] for output in outputs]
    torch.testing.assert_close(*gradients, rtol=1e-3, atol=1e-3)
    assert torch.get_num_threads() == 2


def fakes(folder, *names):
    return [Fake(name, folder / "cells" / f"{number}-{name}") for number, name in enumerate(names)]


def run(cells, folder, **options):
    """What it says."""
    said = []
    run_cells(cells, folder, said.append, **options)
    return said


def names_of(folder):
    return sorted(record["name"] for record in read_results(folder))


def test_each_cell_has_a_fresh_process_and_a_line_in_the_results(tmp_path):
    cells = fakes(tmp_path, "a", "scan")
    said, cell_of = run(cells, tmp_path), {cell.name: cell for cell in cells}
    assert said[0] == "2 cells, 0 of them done before"
    assert said[1] == "cell 1 of 2 starts: task fake, name a"
    assert said[-1].startswith("cell 2 of 2 ended after 0:00:")
    assert said[-1].endswith("about 0:00:00 left")
    records = [json.loads(line) for line in (tmp_path / "results.jsonl").read_text().splitlines()]
    assert [record["name"] for record in records] == ["a", "scan"]
    assert len({os.getpid(), *(record["pid"] for record in records)}) == 3
    assert all(record["progress"] and record["commit"] == commit() for record in records)
    for record in records:  # also where the tree was changed as the cell ran
        assert json.loads((cell_of[record["name"]].out / "result.json").read_text()) == record


def test_several_at_a_time_have_a_thread_each(tmp_path):
    cells = [Fake("meet", tmp_path / "cells" / letter) for letter in "ab"]
    (tmp_path / "cells").mkdir()
    run(cells, tmp_path, jobs=2)
    assert [(r["threads"], r["progress"]) for r in read_results(tmp_path)] == [(1, False)] * 2


def test_shards_are_disjoint_and_complete(tmp_path):
    cells = fakes(tmp_path, *"abcde")
    for part in (1, 2, 3):
        assert run(cells, tmp_path, jobs=2, shard=(part, 3))[0].endswith("cells, 0 of them done before")
        assert (tmp_path / f"results-{part}-of-3.jsonl").exists()
    assert names_of(tmp_path) == list("abcde")
    assert run(cells, tmp_path) == ["5 cells, 5 of them done before"]


def test_results_alone_or_the_cells_own_folders_are_enough(tmp_path):
    cells = fakes(tmp_path, "a", "b")
    run(cells, tmp_path)
    shutil.rmtree(tmp_path / "cells")
    assert run(cells, tmp_path) == ["2 cells, 2 of them done before"]
    other = tmp_path / "other"
    run(fakes(other, "a", "b"), other)
    (other / "results.jsonl").unlink()
    assert run(fakes(other, "a", "b"), other) == ["2 cells, 2 of them done before"]
    assert names_of(other) == ["a", "b"]


def test_results_of_another_commit_are_kept_if_asked_for(tmp_path):
    cells = fakes(tmp_path, "a")
    run(cells, tmp_path)
    file = tmp_path / "results.jsonl"
    file.write_text(json.dumps(read_results(tmp_path)[0] | {"commit": "another"}) + "\n")
    shutil.rmtree(tmp_path / "cells")
    assert run(cells, tmp_path, reuse="any") == ["1 cells, 1 of them done before"]
    assert run(cells, tmp_path)[0] == "1 cells, 0 of them done before"
    assert [record["commit"] for record in read_results(tmp_path)] == ["another", commit()]


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_cell_that_fails_does_not_stop_the_others(tmp_path, jobs):
    said = []
    with pytest.raises(ChildProcessError) as raised:
        run_cells(fakes(tmp_path, "refuse", "a", "die", "b"), tmp_path, said.append, jobs=jobs)
    message = str(raised.value)
    assert message.startswith("cells must succeed, got 2 of 4 that failed: ")
    assert "name refuse (exit status 2)" in message
    assert "name die (exit status -9)" in message
    assert names_of(tmp_path) == ["a", "b"]
    assert sum(" failed after " in line for line in said) == 2


def test_bad_arguments(tmp_path):
    for options, message in [
        ({"jobs": 0}, "jobs must be at least 1, got 0"),
        ({"shard": (0, 2)}, "shard must be i/n with i from 1 to n, got '0/2'"),
        ({"shard": (3, 2)}, "shard must be i/n"),
    ]:
        with pytest.raises(ValueError, match=message):
            run(fakes(tmp_path, "a"), tmp_path, **options)
    (tmp_path / "results.jsonl").write_text('{"task": "fake"}\n[1]\n')
    with pytest.raises(ValueError, match=r"line 2 of .*results.jsonl' must be a JSON object, got '\[1\]'"):
        run(fakes(tmp_path, "a"), tmp_path)
