"""`aaren export` as a person meets it."""

import re
import shutil
import subprocess
import sys

import numpy as np
import pytest
from aaren_runtime import Session

from aaren.cli import main
from aaren.tasks.classify import Classifier
from aaren.train import Recipe

pytestmark = pytest.mark.unchecked


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    random = np.random.default_rng(0)
    cases, labels = [random.normal(size=(2, 9)) for _ in range(20)], ["a", "b"] * 10
    folder = tmp_path_factory.mktemp("saved") / "model"
    for layer in ("aaren", "attention"):
        model = Classifier(layer, d_model=64, nhead=4, num_layers=1, recipe=Recipe(updates=2)).fit(cases, labels)
        model.save(folder.with_name(layer))
    return folder.with_name("aaren")


def test_an_onnx_file_that_streams(saved, tmp_path, capsys):
    main(["export", str(saved), "--out", str(tmp_path / "a.onnx")])
    said = capsys.readouterr().out
    assert re.search(r"a\.onnx: [\d,]+ B, state [\d,]+ B a stream; 33,858 parameters, 25,734 folded; within \de-", said)
    sample = np.array([0.5, -1.0])
    got = Session(tmp_path / "a.onnx").push(sample)["probabilities"]
    np.testing.assert_allclose(got, Classifier.load(saved).stream().push(sample), atol=1e-6)


def test_by_default_the_file_lies_beside_the_model(saved):
    main(["export", str(saved), "--state", "float32"])
    file = saved.with_suffix(".onnx")
    assert {leaf.dtype.name for leaf in Session(file).leaves} == {"float32", "int64"}
    file.unlink()


@pytest.mark.skipif(shutil.which("cc") is None, reason="there is no C compiler")
def test_c_of_whole_numbers_tells_its_sizes_and_what_rounding_changes(saved, tmp_path, capsys):
    main(["export", str(saved), "--format", "c", "--int8", "--out", str(tmp_path / "vowel-model.c")])
    said = capsys.readouterr().out.splitlines()
    assert "flash" in said[0]
    assert "scratch" in said[0]
    assert said[1].startswith("rounding to int8 changes outputs by up to 0.0")
    text = (tmp_path / "vowel-model.c").read_text()
    assert "static const signed char" in text
    assert "void vowel_model_init(vowel_model_state *s);" in text
    assert '"classes": ["a", "b"]' in text


def test_errors_in_one_line(saved, tmp_path, capsys, monkeypatch):
    def fails(*arguments):
        with pytest.raises(SystemExit) as ended:
            main(["export", *map(str, arguments)])
        assert ended.value.code == 2
        (line,) = capsys.readouterr().err.splitlines()
        return line

    assert "must have a state of constant size" in fails(saved.with_name("attention"))
    assert "must exist, got" in fails(tmp_path / "none")
    (tmp_path / "file").write_text("")
    assert "must be writable" in fails(saved, "--out", tmp_path / "file" / "x.onnx")
    monkeypatch.setattr("shutil.which", lambda name: None)
    assert "a C compiler must be installed" in fails(saved, "--format", "c", "--out", tmp_path / "x.c")
    monkeypatch.setitem(sys.modules, "onnx", None)
    assert "aaren[export]" in fails(saved, "--out", tmp_path / "x.onnx")
    assert not (tmp_path / "x.c").exists()


def test_a_file_that_would_differ_is_not_written(saved, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("aaren.export.check.TOLERANCE", -1.0)
    with pytest.raises(SystemExit):
        main(["export", str(saved), "--out", str(tmp_path / "x.onnx")])
    assert "the exported model must equal the model" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_the_runtime_needs_no_torch(saved, tmp_path):
    main(["export", str(saved), "--out", str(tmp_path / "a.onnx")])
    code = (
        "import sys\n"
        "for name in ('torch', 'aaren', 'numba', 'safetensors', 'onnx'): sys.modules[name] = None\n"
        "from aaren_runtime import Session\n"
        "print(Session(sys.argv[1]).push([0.5, -1.0])['probabilities'].sum())"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path / "a.onnx")], capture_output=True, text=True)
    assert abs(float(done.stdout) - 1) < 1e-6, done.stderr
