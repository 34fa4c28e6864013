"""The paper's eight forecasting sets, and small parts of two of them: a table of facts."""

from aaren.data.sets import NONE_STATED, DataSet

LSTNET = "https://github.com/laiguokun/multivariate-time-series-data"
LSTNET_RAW = "https://raw.githubusercontent.com/laiguokun/multivariate-time-series-data/master"
LAI = (
    "Lai, Chang, Yang, Liu: Modeling Long- and Short-Term Temporal Patterns with Deep Neural Networks. SIGIR 2018, "
    "arXiv:1703.07015"
)
TENTHS = (0.7, 0.1, 0.2)
DATED_BY_CONVENTION = "The original has no dates; those of the benchmarks' file are a convention, not the true ones."


def _ett(name: str, step: str, scale: int, sha256: str) -> DataSet:
    return DataSet(
        name,
        "forecasting",
        f"oil temperature and six loads of electricity transformer {name[-1]}",
        rows=17_420 * scale,
        channels=7,
        split=(8_640 * scale, 2_880 * scale, 2_880 * scale),
        licence="CC BY-ND 4.0",
        citation="Zhou et al.: Informer: Beyond Efficient Transformer for Long Sequence Time-Series Forecasting. "
        "AAAI 2021, arXiv:2012.07436",
        page="https://github.com/zhouhaoyi/ETDataset",
        files={f"{name}.csv": sha256},
        download=f"https://raw.githubusercontent.com/zhouhaoyi/ETDataset/main/ETT-small/{name}.csv",
        download_sha256=sha256,
        step=step,
        notes="Split: 12, 4 and 4 months of 30 days, the rest is unused.",
    )


FORECASTING = (
    _ett("ETTh1", "1h", 1, "f18de3ad269cef59bb07b5438d79bb3042d3be49bdeecf01c1cd6d29695ee066"),
    _ett("ETTh2", "1h", 1, "a3dc2c597b9218c7ce1cd55eb77b283fd459a1d09d753063f944967dd6b9218b"),
    _ett("ETTm1", "15min", 4, "6ce1759b1a18e3328421d5d75fadcb316c449fcd7cec32820c8dafda71986c9e"),
    _ett("ETTm2", "15min", 4, "db973ca252c6410a30d0469b13d696cf919648d0f3fd588c60f03fdbdbadd1fd"),
    DataSet(
        "exchange_rate",
        "forecasting",
        "daily exchange rates of eight countries, 1990 to 2016",
        rows=7_588,
        channels=8,
        split=TENTHS,
        licence=NONE_STATED,
        citation=LAI,
        page=LSTNET,
        files={
            "exchange_rate.csv": "d55e7aa2641009814a18ba3279431b13f6d413b0eab195b9ff21988d8cf94e97",
            "exchange_rate.txt.gz": None,
        },
        download=f"{LSTNET_RAW}/exchange_rate/exchange_rate.txt.gz",
        step="1D",
        start="1990-01-01",
        notes=DATED_BY_CONVENTION,
    ),
    DataSet(
        "weather",
        "forecasting",
        "21 readings of the weather station in Jena, 2020",
        rows=52_696,
        channels=21,
        split=TENTHS,
        licence=NONE_STATED,
        citation="Max Planck Institute for Biogeochemistry, Jena, https://www.bgc-jena.mpg.de/wetter/; as a benchmark: "
        "Wu, Xu, Wang, Long: Autoformer. NeurIPS 2021, arXiv:2106.13008",
        page="https://www.bgc-jena.mpg.de/wetter/",
        files={"weather.csv": "34ee981d07313e51da2a50bb600072c8ae4a69cb4b0651f4cb93a069d7a2ba63"},
        download="https://huggingface.co/datasets/thuml/Time-Series-Library/resolve/main/weather/weather.csv",
        download_sha256="34ee981d07313e51da2a50bb600072c8ae4a69cb4b0651f4cb93a069d7a2ba63",
        step="10min",
        sentinel=-9999.0,
        notes="81 cells hold the sentinel -9999: missing here, but numbers in most published results. One time stamp "
        "comes twice and 100 minutes follow one other. Units in the header have lost their special characters.",
    ),
    DataSet(
        "electricity",
        "forecasting",
        "hourly consumption of 321 clients (ECL), 2012 to 2014, kWh",
        rows=26_304,
        channels=321,
        split=TENTHS,
        licence=NONE_STATED,
        citation=f"{LAI}; from Trindade: ElectricityLoadDiagrams20112014. UCI Machine Learning Repository, "
        "doi:10.24432/C58C86",
        page=LSTNET,
        files={"electricity.csv": None, "electricity.txt.gz": None},
        download=f"{LSTNET_RAW}/electricity/electricity.txt.gz",
        step="1h",
        start="2016-07-01 02:00",
        stand_in="electricity_6",
        notes=DATED_BY_CONVENTION,
    ),
    DataSet(
        "electricity_6",
        "forecasting",
        "the first six clients of `electricity`",
        rows=26_304,
        channels=6,
        split=TENTHS,
        licence=NONE_STATED,
        citation=LAI,
        page=LSTNET,
        files={"electricity_6.csv": "ccbdbd01b3038188f33772eb6121182eaf4cbbe4e2d803b63df94a39d8d200ce"},
        download=None,
        step="1h",
        notes=f"A subset: not comparable with the 321-client benchmark. {DATED_BY_CONVENTION}",
    ),
    DataSet(
        "traffic",
        "forecasting",
        "hourly occupancy of the road at 862 sensors around San Francisco, 2015 and 2016",
        rows=17_544,
        channels=862,
        split=TENTHS,
        licence=NONE_STATED,
        citation=f"{LAI}; from the California Department of Transportation, https://pems.dot.ca.gov",
        page=LSTNET,
        files={"traffic.csv": None, "traffic.txt.gz": None},
        download=f"{LSTNET_RAW}/traffic/traffic.txt.gz",
        step="1h",
        start="2016-07-01 02:00",
        stand_in="traffic_6",
        notes=DATED_BY_CONVENTION,
    ),
    DataSet(
        "traffic_6",
        "forecasting",
        "the first six sensors of `traffic`",
        rows=17_544,
        channels=6,
        split=TENTHS,
        licence=NONE_STATED,
        citation=LAI,
        page=LSTNET,
        files={"traffic_6.csv": "e13028520dc78d2c2c183cf95448a99a296442525eb04c2b2c15276a739a543d"},
        download=None,
        step="1h",
        notes=f"A subset: not comparable with the 862-sensor benchmark. {DATED_BY_CONVENTION}",
    ),
)
