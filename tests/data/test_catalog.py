import gc
import hashlib
import re
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest
from synthetic import waves, write_ts

from aaren.data.catalog import CATALOG, at_hand, find, folders, locate
from aaren.data.environments import ENVIRONMENTS
from aaren.data.labelled import load_labelled

TABLE = b"date,a,b\n2020-01-01,1,2\n2020-01-02,3,4\n"
SHA256 = hashlib.sha256(TABLE).hexdigest()


@pytest.fixture
def served(server, empty_places, monkeypatch):
    """The set ETTh1, as a small table at an address of this test; yields what changes its entry."""
    folder, address = server
    (folder / "ETTh1.csv").write_bytes(TABLE)

    def change(path="ETTh1.csv", sha256: str | None = SHA256):
        changed = replace(find("ETTh1"), download=f"{address}/{path}", download_sha256=sha256)
        monkeypatch.setitem(CATALOG, "ETTh1", changed)

    change()
    return change


def everything_below(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if not path.is_dir()]


def test_the_catalogue_has_the_papers_sets():
    forecasting = {name for name, data_set in CATALOG.items() if data_set.task == "forecasting"}
    ett = {"ETTh1", "ETTh2", "ETTm1", "ETTm2"}
    assert forecasting == ett | {"exchange_rate", "weather", "electricity", "traffic", "electricity_6", "traffic_6"}
    paper = "EthanolConcentration FaceDetection Handwriting Heartbeat JapaneseVowels PEMS-SF SelfRegulationSCP1"
    paper += " SelfRegulationSCP2 SpokenArabicDigits UWaveGestureLibrary"
    stand_ins = "ArticularyWordRecognition BasicMotions FingerMovements Libras PenDigits StandWalkJump"
    events = "wiki stackoverflow_partial mooc_partial reddit_askscience manhattan_taxi uber_b02512"
    levels = {f"{one}-{level}" for one in ENVIRONMENTS for level in ("medium", "medium-replay", "expert")}
    assert set(CATALOG) - forecasting - levels == {*paper.split(), *stand_ins.split(), *events.split()}
    assert levels == {name for name, data_set in CATALOG.items() if data_set.task == "offline_rl"}


@pytest.mark.parametrize("name", CATALOG)
def test_an_entry_is_complete(name):
    data_set = find(name)
    assert data_set.name == name
    assert data_set.licence
    assert data_set.citation
    assert data_set.page.startswith("https://")
    assert data_set.download is None or data_set.download.startswith("https://")
    assert data_set.stand_in is None or find(data_set.stand_in).task == data_set.task
    for sha256 in (data_set.download_sha256, *data_set.files.values()):
        assert sha256 is None or re.fullmatch("[0-9a-f]{64}", sha256)
    if data_set.task == "classification":
        assert len(data_set.split) == len(data_set.files) == 2
        assert data_set.classes is not None
        return
    if data_set.task == "offline_rl":
        assert len(data_set.split) == len(data_set.files) == 1
        return
    assert len(data_set.split) == 3
    assert data_set.unit if data_set.task == "events" else data_set.step
    if isinstance(data_set.split[0], float):
        assert sum(data_set.split) == pytest.approx(1)
    else:
        assert sum(data_set.split) <= data_set.rows
    if data_set.download is not None:
        assert data_set.download.rsplit("/", 1)[-1] in data_set.files


@pytest.mark.parametrize("name", [name for name, data_set in CATALOG.items() if any(data_set.files.values())])
def test_files_at_hand_are_the_ones_described(data_root, name):
    data_set = find(name)
    files = at_hand(data_set)
    assert files
    for file in files:
        content = file.read_bytes()
        known = next(sha256 for known, sha256 in data_set.files.items() if known.endswith(file.name))
        assert hashlib.sha256(content).hexdigest() == known
    if data_set.task != "classification":
        return
    cases, longest = [], 0
    for file in files:
        head, body = file.read_text().split("@data\n")
        rows = body.strip().splitlines()
        cases.append(len(rows))
        assert {row.count(":") for row in rows} == {data_set.channels}
        longest = max(longest, *(row.split(":")[0].count(",") + 1 for row in rows))
        classes = re.search("@classLabel true (.*)", head)
        assert classes
        assert len(classes[1].split()) == data_set.classes
    assert tuple(cases) == data_set.split
    assert longest == data_set.rows


@pytest.mark.usefixtures("no_network")
def test_an_unknown_name_fails_before_any_network_access():
    with pytest.raises(ValueError, match=r"name of a data set, got 'etth3'; did you mean .*ETTh1"):
        locate("etth3")
    with pytest.raises(ValueError, match=r"got 'PEMSF'; did you mean PEMS-SF"):
        locate("PEMSF", "train")
    with pytest.raises(ValueError, match=r"got 'qqqqqq'; `aaren data list` has them all"):
        find("qqqqqq")
    with pytest.raises(ValueError, match="split must be 'train' or 'test' for 'Heartbeat', a set for classification"):
        locate("Heartbeat")
    with pytest.raises(ValueError, match="split must be None for 'ETTh1', a set for forecasting, got 'train'"):
        locate("ETTh1", "train")
    with pytest.raises(ValueError, match="split must be 'train', 'test' or None, got 'valid'"):
        locate("Heartbeat", "valid")
    with pytest.raises(FileNotFoundError, match=r"an existing file, got 'nowhere/etth1.csv'"):
        locate("nowhere/etth1.csv")


@pytest.mark.usefixtures("no_network")
def test_the_order_of_looking(empty_places, tmp_path, monkeypatch):
    data, cache = empty_places
    for folder in (cache, data):
        file = folder / "forecasting" / "exchange_rate.txt.gz"
        file.parent.mkdir(parents=True)
        file.touch()
        assert locate("exchange_rate") == file  # the cache first of all, then $AAREN_DATA before it
        assert at_hand(find("exchange_rate")) == [file]
    explicit = tmp_path / "exchange_rate.csv"
    explicit.touch()
    assert locate(explicit) == explicit
    (data / "forecasting" / "exchange_rate.csv").touch()
    assert locate("exchange_rate").name == "exchange_rate.csv"
    monkeypatch.delenv("AAREN_DATA")
    assert locate("exchange_rate").parent == cache / "forecasting"
    monkeypatch.setenv("XDG_CACHE_HOME", "")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert folders("forecasting") == [tmp_path / "home" / ".cache" / "aaren" / "forecasting"]


@pytest.mark.usefixtures("no_network")
def test_parts_are_looked_for_in_folders_and_with_aeon_too(empty_places, tmp_path):
    shipped = locate("JapaneseVowels", "test")
    assert shipped.parts[-5:-1] == ("aeon", "datasets", "data", "JapaneseVowels")
    (empty_places[0] / "classification" / "JapaneseVowels").mkdir(parents=True)
    mine = empty_places[0] / "classification" / "JapaneseVowels" / "JapaneseVowels_TEST.ts"
    mine.touch()
    assert locate("JapaneseVowels", "test") == mine
    assert locate(mine.parent, "test") == mine
    with pytest.raises(FileNotFoundError, match=r"must hold one file \*_TRAIN.ts, got 0"):
        locate(mine.parent, "train")
    (mine.parent / "JapaneseVowels_TRAIN.ts").touch()
    assert [file.name for file in at_hand(find("JapaneseVowels"))] == [
        "JapaneseVowels_TRAIN.ts",
        "JapaneseVowels_TEST.ts",
    ]
    mine = empty_places[0] / "classification" / "Heartbeat" / "Heartbeat_TRAIN.ts"
    mine.parent.mkdir()
    mine.touch()
    assert at_hand(find("Heartbeat")) == []  # half a set is none


def test_a_download_is_verified_and_kept(served, empty_places, capsys):
    cached = empty_places[1] / "forecasting" / "ETTh1.csv"
    assert locate("ETTh1") == cached
    assert cached.read_bytes() == TABLE
    error = capsys.readouterr().err
    assert "downloading http://127.0.0.1" in error
    assert everything_below(empty_places[1]) == [cached]
    served(path="gone.csv")
    assert locate("ETTh1") == cached  # no second download
    assert capsys.readouterr() == ("", "")


def test_a_download_without_known_checksum_is_taken(served, empty_places):
    served(sha256=None)
    assert locate("ETTh1").read_bytes() == TABLE


def test_a_wrong_checksum_is_refused(served, empty_places):
    served(sha256="0" * 64)
    with pytest.raises(ValueError, match=r"download must have the SHA-256 0000.*, got another file from http"):
        locate("ETTh1")
    assert everything_below(empty_places[1]) == []


@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")  # pooch leaves the socket to the collector
@pytest.mark.parametrize(("path", "reason"), [("gone.csv", "404"), ("broken", "IncompleteRead|more expected")])
def test_a_download_that_fails_leaves_nothing_and_names_the_places(served, empty_places, path, reason):
    served(path=path, sha256=None)
    with pytest.raises(FileNotFoundError, match=rf"'ETTh1' must be at hand or downloadable.*({reason})") as error:
        locate("ETTh1")
    for place in empty_places:
        assert str(place / "forecasting" / "ETTh1.csv") in str(error.value)
    assert everything_below(empty_places[1]) == []
    gc.collect()


@pytest.mark.usefixtures("empty_places", "no_network")
def test_a_subset_has_no_address():
    with pytest.raises(FileNotFoundError, match=r"'traffic_6' must be at hand .* published at no address of its own"):
        locate("traffic_6")


@pytest.mark.parametrize("name", ["Heartbeat", "Epilepsy"])  # in the catalogue, and only in the archive
def test_an_archive_is_downloaded_and_read(server, empty_places, monkeypatch, name):
    folder, address = server
    X, y = waves()
    with zipfile.ZipFile(folder / f"{name}.zip", "w") as archive:
        for part, cases in (("TRAIN", slice(40)), ("TEST", slice(40, 60))):
            write_ts(folder / "part.ts", X[cases], y[cases])
            archive.write(folder / "part.ts", f"{name}_{part}.ts")
        archive.writestr("readme.txt", "is not wanted")
    monkeypatch.setattr("aaren.data.catalog.UEA_DOWNLOAD", address + "/{name}.zip")
    monkeypatch.setitem(CATALOG, "Heartbeat", replace(find("Heartbeat"), download=f"{address}/Heartbeat.zip"))
    assert len(load_labelled(name, "train").cases) == 40
    (folder / f"{name}.zip").unlink()
    assert load_labelled(name, "test").labels.tolist() == y[40:].tolist()
    cached = empty_places[1] / "classification" / name
    assert sorted(everything_below(empty_places[1])) == [cached / f"{name}_TEST.ts", cached / f"{name}_TRAIN.ts"]


@pytest.mark.parametrize("what", ["no archive", "an archive without the files"])
def test_a_bad_archive_leaves_nothing(server, empty_places, monkeypatch, what):
    folder, address = server
    if what == "no archive":
        (folder / "Heartbeat.zip").write_bytes(TABLE)
    else:
        with zipfile.ZipFile(folder / "Heartbeat.zip", "w") as archive:
            archive.writestr("Heartbeat_TRAIN.ts", "half a set")
    monkeypatch.setitem(CATALOG, "Heartbeat", replace(find("Heartbeat"), download=f"{address}/Heartbeat.zip"))
    with pytest.raises(FileNotFoundError, match=r"must be a zip archive with Heartbeat_TRAIN.ts, Heartbeat_TEST.ts"):
        load_labelled("Heartbeat", "train")
    assert everything_below(empty_places[1]) == []
