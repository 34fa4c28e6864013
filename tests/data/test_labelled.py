from pathlib import Path

import numpy as np
import pytest
import torch
from synthetic import waves, write_ts

from aaren.data.labelled import check_cases, check_labels, collate, hold_out, load_labelled


def test_arrays_and_lists_are_the_same_cases():
    X = np.random.default_rng(0).normal(size=(4, 3, 7))
    for a, b in zip(check_cases(X), check_cases(list(X)), strict=True):
        assert a.dtype == np.float64  # digits are lost when they are standardised, see `Classifier`
        assert np.array_equal(a, b)
    for dtype in (np.float16, np.int64):
        assert check_cases(X.astype(dtype))[0].dtype == np.float32


@pytest.mark.parametrize(
    ("X", "message"),
    [
        (np.zeros((4, 7)), r"X must have shape \(cases, channels, time\), got \(4, 7\)"),
        ("abc", "X must be an array or a list of arrays .* got str"),
        (np.zeros((0, 3, 7)), "X must have at least one case, got none"),
        ([], "X must have at least one case, got none"),
        ([np.zeros((3, 7)), np.zeros((4, 7))], "X must have 3 channels in every case, got 4 in case 1"),
        ([np.zeros((3, 7)), np.zeros(7)], r"X must have cases of shape .* got \(7,\) in case 1"),
        (np.zeros((4, 0, 7)), r"X must have cases of shape .* got \(0, 7\) in case 0"),
        ([np.zeros((3, 0))], r"X must have cases of shape .* got \(3, 0\) in case 0"),
        ([np.array([["a", "b"]])], "X must hold numbers, got something else in case 0"),
        ([np.zeros((3, 7)), np.full((3, 7), np.nan)], "X must be finite, got nan in case 1, channel 0, time 0"),
        ([np.array([[0.0, 1.0], [2.0, np.inf]])], "X must be finite, got inf in case 0, channel 1, time 1"),
    ],
)
def test_bad_cases_are_named(X, message):
    with pytest.raises(ValueError, match=message) as error:
        check_cases(X)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("y", "message"),
    [
        (["a", "b", "a"], r"y must have one label for each of the 4 cases, got shape \(3,\)"),
        (["a"] * 4, "y must have at least two classes, got only"),
        (np.zeros((4, 2)), r"got shape \(4, 2\)"),
        ([1.0, np.nan, 2.0, 3.0], "y must hold strings only or whole numbers only"),
        ([None, "a", "b", "c"], "y must hold strings only or whole numbers only"),
        (np.array(["2026-01-01"] * 4, dtype="datetime64[D]"), "y must hold strings only or whole numbers only"),
    ],
)
def test_bad_labels_are_named(y, message):
    with pytest.raises(ValueError, match=message):
        check_labels(y, [np.zeros((3, 7))] * 4)


def test_held_out_part_is_of_every_class_and_never_all_of_one():
    labels = np.array(["a"] * 50 + ["b"] * 10 + ["c"] * 2 + ["d"])
    train, held = hold_out(labels, 0.2, seed=0)
    assert sorted([*train, *held]) == list(range(63))
    counts = {label: int((labels[held] == label).sum()) for label in "abcd"}
    assert counts == {"a": 10, "b": 2, "c": 1, "d": 0}
    assert not np.array_equal(held, hold_out(labels, 0.2, seed=1)[1])
    assert np.array_equal(held, hold_out(labels, 0.2, seed=0)[1])
    with pytest.raises(ValueError, match="a class with two cases"):
        hold_out(np.array(["a", "b"]), 0.2, seed=0)


def test_collate_pads_at_the_end():
    cases = [np.ones((2, 3), np.float32), 2 * np.ones((2, 5), np.float32)]
    x, mask, target = collate(cases, [1, 0])
    assert x.shape == (2, 5, 2)
    assert mask.tolist() == [[False] * 3 + [True] * 2, [False] * 5]
    assert torch.equal(x[0, 3:], torch.zeros(2, 2))
    assert target.tolist() == [1, 0]


def test_the_set_that_ships_with_aeon(monkeypatch):
    monkeypatch.delenv("AAREN_DATA", raising=False)
    train, test = load_labelled("JapaneseVowels", "train"), load_labelled("JapaneseVowels", "test")
    assert (len(train.cases), len(test.cases)) == (270, 370)
    lengths = {case.shape[1] for case in train.cases} | {case.shape[1] for case in test.cases}
    assert (min(lengths), max(lengths)) == (7, 29)
    assert {case.shape[0] for case in train.cases} == {12}
    assert len(np.unique(train.labels)) == 9


@pytest.mark.parametrize(
    ("name", "train", "test", "channels", "classes"),
    [
        ("Handwriting", 150, 850, 3, 26),
        ("JapaneseVowels", 270, 370, 12, 9),
        ("SelfRegulationSCP1", 268, 293, 6, 2),
        ("BasicMotions", 40, 40, 6, 4),
        ("PenDigits", 7494, 3498, 2, 10),
    ],
)
def test_files_of_the_archive(data_root, name, train, test, channels, classes):
    for split, count in (("train", train), ("test", test)):
        part = load_labelled(name, split)
        assert len(part.cases) == count
        assert part.cases[0].shape[0] == channels
        assert len(np.unique(part.labels)) == classes


def test_a_folder_of_ones_own(tmp_path):
    X, y = waves()
    write_ts(tmp_path / "Waves_TRAIN.ts", X[:40], y[:40])
    write_ts(tmp_path / "Waves_TEST.ts", X[40:], y[40:])
    train = load_labelled(tmp_path, "train")
    assert train.labels.tolist() == y[:40].tolist()
    for read, written in zip(train.cases, X, strict=False):
        np.testing.assert_allclose(read, written, atol=1e-5)


def test_what_cannot_be_loaded_is_named(tmp_path, monkeypatch):
    def no_network(*_, **__):
        raise AssertionError("the network was used")

    monkeypatch.setattr("socket.create_connection", no_network)
    with pytest.raises(ValueError, match=r"got 'JapaneseVowel'; did you mean JapaneseVowels"):
        load_labelled("JapaneseVowel", "train")
    with pytest.raises(ValueError, match="data must be the name of a UEA or UCR data set or a folder, got 'qqqqqqq'"):
        load_labelled("qqqqqqq", "train")
    with pytest.raises(ValueError, match="split must be 'train' or 'test', got 'all'"):
        load_labelled("JapaneseVowels", "all")
    with pytest.raises(FileNotFoundError, match=r"existing folder of .ts files, got"):
        load_labelled(tmp_path / "nowhere", "train")
    with pytest.raises(FileNotFoundError, match=r"must hold one file \*_TRAIN.ts, got 0"):
        load_labelled(tmp_path, "train")
    (tmp_path / "X_TRAIN.ts").write_text("this is no ts file\n")
    with pytest.raises(ValueError, match=r"must be a readable .ts file with class labels") as error:
        load_labelled(tmp_path, "train")
    assert "\n" not in str(error.value)


def test_a_set_that_is_not_at_hand_names_the_places(tmp_path, monkeypatch):
    monkeypatch.setenv("AAREN_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))

    def offline(*_, **__):
        raise OSError("no network")

    monkeypatch.setattr("aaren.data.catalog.fetch_members", offline)
    with pytest.raises(FileNotFoundError, match="data set 'Heartbeat' must be at hand or downloadable") as error:
        load_labelled("Heartbeat", "train")
    for place in (tmp_path / "data", tmp_path / "cache", Path("Heartbeat")):
        assert str(place) in str(error.value)
