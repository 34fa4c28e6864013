"""`aaren data` as a person meets it."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import tyro

from aaren.cli.data import Data
from aaren.data.catalog import CATALOG, find


@pytest.fixture
def places(tmp_path, monkeypatch):
    monkeypatch.setenv("AAREN_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("COLUMNS", "250")
    (tmp_path / "data" / "forecasting").mkdir(parents=True)
    return tmp_path


def said(capsys, *words: str) -> str:
    tyro.cli(Data, args=words).run()
    return capsys.readouterr().out


def test_list_has_every_set_and_where_it_is(places, capsys):
    (places / "data" / "forecasting" / "ETTh2.csv").touch()
    lines = said(capsys, "list").splitlines()
    row = {name: next(line for line in lines if f"│ {name} " in line) for name in CATALOG}
    for word in ("forecasting", "17,420 × 7", "8,640 / 2,880 / 2,880", "CC BY-ND 4.0", str(places / "data")):
        assert word in row["ETTh2"]
    assert row["ETTh1"].split()[-2] == "no"
    for word in ("classification", "144 × 963", "267 / 173", "none stated"):
        assert word in row["PEMS-SF"]
    assert "70% / 10% / 20%" in row["weather"]
    for word in ("events", "157,471 × 8,227", "600 / 200 / 200", "MIT"):
        assert word in row["wiki"]


def test_show_says_everything_and_compares_the_copy(places, capsys, data_root_before):
    out = said(capsys, "show", "traffic_6", "ETTh1")
    for word in ("traffic_6: the first six sensors", "not comparable", "no; looked in", str(places / "data")):
        assert word in out
    etth1 = find("ETTh1")
    for word in (etth1.citation, etth1.licence, etth1.page, etth1.download, etth1.download_sha256, "1h"):
        assert str(word) in out
    copy = places / "data" / "forecasting" / "ETTh1.csv"
    copy.write_text("date,a\n")
    assert f"not the tested copy, which has {etth1.files['ETTh1.csv']}" in said(capsys, "show", "ETTh1")
    shutil.copy(Path(data_root_before) / "forecasting" / "ETTh1.csv", copy)
    assert "the copy this library is tested with" in said(capsys, "show", "ETTh1")
    (places / "data" / "forecasting" / "electricity.csv").write_text("date,a\n")
    assert "none is known to compare it with" in said(capsys, "show", "electricity")


@pytest.fixture
def data_root_before(data_root):
    """The folder of real data, which `places` hides."""
    return data_root


def test_get_fetches_what_is_not_at_hand(places, capsys, monkeypatch):
    def fetch(address: str, file: Path, sha256: str | None) -> None:
        asked.append(address)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()

    asked: list[str] = []
    monkeypatch.setattr("aaren.data.catalog.fetch", fetch)
    monkeypatch.setitem(CATALOG, "ETTm1", replace(find("ETTm1"), download="http://localhost/ETTm1.csv"))
    out = said(capsys, "get", "ETTm1", "BasicMotions")
    assert f"ETTm1: got into {places / 'cache' / 'aaren' / 'forecasting'}" in out
    assert "BasicMotions: at hand already" in out  # it ships with aeon
    assert "ETTm1: at hand already" in said(capsys, "get", "ETTm1")
    assert asked == ["http://localhost/ETTm1.csv"]


def test_names_are_checked_before_anything_is_fetched(places, capsys, monkeypatch):
    def fetch(*_):
        raise AssertionError("something was fetched")

    monkeypatch.setattr("aaren.data.catalog.fetch", fetch)
    with pytest.raises(ValueError, match="got 'wether'; did you mean weather"):
        Data("get", ("ETTm1", "wether")).run()
    with pytest.raises(ValueError, match="names must be given for 'show', got none"):
        Data("show").run()
    with pytest.raises(ValueError, match="names must be empty for 'list', got ETTh1"):
        Data("list", ("ETTh1",)).run()


def test_help_has_an_example(capsys):
    with pytest.raises(SystemExit):
        tyro.cli(Data, args=["--help"])
    assert "Example: aaren data get ETTh1 JapaneseVowels" in capsys.readouterr().out
