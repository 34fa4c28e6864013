import torch

from aaren.bench import measure_stream, places_up_to, stream_cost
from aaren.layers.attention import Attention
from aaren.stream import Stream


def test_readings_of_a_stream():
    stream = Stream(Attention(4, 1))
    readings = measure_stream(stream, torch.randn(7, 4), [3, 30])
    assert [reading["tokens"] for reading in readings] == [3, 30]
    assert readings[0]["seconds"] < readings[1]["seconds"]
    assert stream.steps == 30
    assert readings[0]["state_bytes"] * 10 == readings[1]["state_bytes"] == stream.nbytes


def test_places_begin_at_one_and_end_at_the_last_token():
    for total in (1, 5, 1_000, 12_345):
        places = places_up_to(total)
        assert (min(places), max(places)) == (1, total)
        assert len(places) <= 64
    assert {100, 1_000, 10_000} <= places


def test_cost_of_a_stream_is_that_after_a_thousand_tokens():
    cost = stream_cost(Stream(Attention(4, 1)), torch.randn(7, 4))
    assert cost["token_us"] > 0
    assert cost["state_bytes"] == 1000 * (2 * 4 * 4 + 1)  # keys and values in float32, and whether each is there
