"""Promises about the repository itself: public names, imports, versions, the README's code."""

import importlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

import aaren

ROOT = Path(__file__).parent.parent


def test_public_names_are_those_that_can_be_imported():
    for name in aaren.__all__:
        assert getattr(aaren, name) is getattr(importlib.import_module(aaren._HOME[name]), name)
    assert set(aaren.__all__) < set(dir(aaren))
    with pytest.raises(AttributeError, match="module 'aaren' has no attribute 'Mamba'"):
        _ = aaren.Mamba


def test_lazy_names_and_typed_names_agree():
    source = (ROOT / "aaren" / "__init__.py").read_text()
    names = {name: module for module, name in re.findall(r"from (aaren\S+) import (\w+) as \2", source)}
    assert names == aaren._HOME


def test_import_is_quick_and_quiet():
    code = "import time, torch; start = time.perf_counter(); import aaren; print(time.perf_counter() - start)"
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr == ""
    assert float(done.stdout) < 0.3
    code = (
        "import time, torch; start = time.perf_counter(); from aaren import Block; print(time.perf_counter() - start)"
    )
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True)
    assert float(done.stdout) < 0.3


def test_a_missing_extra_is_named(monkeypatch):
    from aaren.extras import require

    monkeypatch.setitem(sys.modules, "sklearn.base", None)
    monkeypatch.delitem(sys.modules, "aaren.tasks.classify", raising=False)
    with pytest.raises(ImportError, match=r"pip install 'aaren\[tasks\]'"):
        _ = aaren.Classifier
    with pytest.raises(ImportError, match=r"nothing_like_it must be installed .* pip install 'aaren\[dev\]'"):
        require("nothing_like_it", "dev")


def test_versions_agree():
    assert f"version: {aaren.__version__}" in (ROOT / "CITATION.cff").read_text()
    assert f"## [{aaren.__version__}]" in (ROOT / "CHANGELOG.md").read_text()


@pytest.mark.unchecked
def test_code_of_the_readme_runs(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), flags=re.DOTALL)
    assert len(blocks) >= 2
    namespace: dict = {}
    for block in blocks:
        exec(block, namespace)


def test_readme_holds_the_table_of_the_demo():
    table = (ROOT / "benchmarks" / "results" / "demo" / "table.md").read_text()
    assert table in (ROOT / "README.md").read_text()


def test_readme_holds_the_table_of_forecasts():
    sections = (ROOT / "benchmarks" / "results" / "forecast" / "table.md").read_text().split("### ")
    (streams,) = [s for s in sections if "test MSE, one stream that is never reset" in s.partition("\n")[0]]
    assert streams.split("\n\n")[1].strip() in (ROOT / "README.md").read_text()


def test_readme_holds_the_table_of_classification():
    table = (ROOT / "benchmarks" / "results" / "classify" / "table.md").read_text().split("\n\n")[1].strip()
    for page in ("README.md", "docs/classification.md"):
        assert table in (ROOT / page).read_text()


def test_readme_holds_the_table_of_events():
    table = (ROOT / "benchmarks" / "results" / "events" / "table.md").read_text().split("\n\n")[1].strip()
    for page in ("README.md", "docs/events.md"):
        assert table in (ROOT / page).read_text()


def test_readme_holds_the_figures_of_the_benchmark():
    tables = (ROOT / "benchmarks" / "results" / "speed" / "table.md").read_text().split("### ")
    figures, streams = (table.split("\n\n")[1].strip() for table in tables[1:3])
    readme = (ROOT / "README.md").read_text()
    assert figures in readme
    assert streams in readme
