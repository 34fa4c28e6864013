"""Sequences of events: what is accepted, what is refused and how."""

import numpy as np
import pytest

from aaren.data.events import (
    NO_GAP,
    EventSequence,
    Stretch,
    check_events,
    check_known,
    collate_events,
    event_tokens,
    mark_indices,
    vocabulary,
)


def test_pairs_arrays_and_sequences_are_accepted():
    pair, times, whole = check_events([([1, 2, 2], ["a", "b", "a"])]), check_events([np.arange(3.0)]), None
    assert pair[0].marks is not None
    assert (pair[0].marks.tolist(), pair[0].times.dtype) == (["a", "b", "a"], np.float64)
    assert times[0].marks is None
    [whole] = check_events([EventSequence(np.array([1.0]), None, 0, 5)])
    assert (whole.gaps.tolist(), whole.tail) == ([1.0], 4.0)
    assert check_events([[0.5, 0.7, 9.0]])[0].gaps.tolist() == [NO_GAP, pytest.approx(0.2), pytest.approx(8.3)]


@pytest.mark.parametrize(
    ("X", "message"),
    [
        ([], "X must have at least one sequence, got none"),
        ("events", "X must be a list of sequences"),
        (EventSequence(np.arange(3.0)), "X must be a list of sequences"),
        ([[1.0, 2.0], [3.0, 1.0, 2.0]], r"X\[1\] must have sorted times, got 1 for event 1 after 3"),
        ([[1.0, np.nan]], r"X\[0\] must have finite times, got nan for event 1"),
        ([[1.0, np.inf]], r"X\[0\] must have finite times, got inf for event 1"),
        ([["a", "b"]], r"X\[0\] must have times that are numbers"),
        ([np.zeros((2, 2))], r"X\[0\] must be \(times, marks\) with times \(events,\), got times of shape \(2, 2\)"),
        ([([1.0, 2.0], ["a"])], r"X\[0\] must have a mark for each of the 2 events, got shape \(1,\)"),
        (
            [([1.0, 2.0], [0.5, 1.0])],
            r"X\[0\] must have marks that are strings or whole numbers below 2\*\*63, got float64",
        ),
        ([([1.0], ["a"]), [1.0]], r"X must have marks in every sequence, got none in X\[1\]"),
        ([[]], r"X\[0\] must have an event, or a start and an end if there was none, got neither"),
        (
            [EventSequence(np.array([1.0]), None, 2.0)],
            r"X\[0\] must have events between start 2.0 and end None, got 1 to",
        ),
        ([EventSequence(np.array([1.0]), None, 0.0, 0.5)], r"X\[0\] must have events between start 0.0 and end 0.5"),
        ([EventSequence(np.empty(0), None, 2.0, 1.0)], "got none"),
        ([[1.0, 1e31]], r"X\[0\] must have no time longer than 1e\+30 without an event, got more before event 1"),
        ([EventSequence(np.array([1.0]), None, -1e39)], "got more before event 0"),
        ([EventSequence(np.array([1.0]), None, 0.0, 1e300)], "got more after the last event"),
        ([([1.0], np.array([2**63], dtype=np.uint64))], r"whole numbers below 2\*\*63, got uint64"),
        ([([1.0], [2**70])], r"whole numbers below 2\*\*63, got object"),
        ([EventSequence(np.array([1.0]), None, np.nan)], "must have a start and an end that are finite or None"),
    ],
)
def test_bad_sequences_are_named(X, message):
    with pytest.raises(ValueError, match=message):
        check_events(X)


def test_a_sequence_without_events_is_time_without_events():
    [empty] = check_events([EventSequence(np.empty(0), None, 1.0, 4.0)])
    assert (len(empty.gaps), empty.tail) == (0, 3.0)


def test_vocabularies_are_of_strings_or_of_whole_numbers():
    assert vocabulary(check_events([([1, 2], ["b", "a"]), ([3], ["c"])])).tolist() == ["a", "b", "c"]
    assert vocabulary(check_events([[1.0]])).tolist() == []
    large = np.array([2**60, 2**60 + 1])
    assert vocabulary(check_events([([1, 2], large), ([1, 2], large.astype(np.uint64))])).tolist() == large.tolist()
    with pytest.raises(ValueError, match="got both"):
        vocabulary(check_events([([1], ["b"]), ([1], [2])]))


def test_marks_not_in_the_vocabulary_have_the_place_after_it():
    known = np.array(["a", "c"])
    assert mark_indices(np.array(["c", "b", "a", "z"]), known).tolist() == [1, 2, 0, 2]
    with pytest.raises(ValueError, match="marks must be strings, as in training, got 3"):
        mark_indices(np.array([3]), known)
    with pytest.raises(ValueError, match=r"X\[1\] must have marks of the vocabulary, got 'b' for event 1"):
        check_known(check_events([([1], ["a"]), ([1, 2], ["c", "b"])]), known)


def test_batches_hold_what_is_read_and_what_is_forecast():
    tokens = event_tokens(EventSequence(np.array([1.0, 3.0, 3.5]), np.array([5, 7, 5]), 0.5, 6.0), np.array([5, 7]))
    assert tokens.tolist() == [[0.5, 0.0], [2.0, 1.0], [0.5, 0.0]]
    batch = collate_events([Stretch(tokens, 1, 2, 3, 2.5), Stretch(tokens, 0, 0, 2, 0.0)])
    assert batch.before.tolist() == [[[2.0, 1.0]], [[0.0, 0.0]]]
    assert batch.before_mask.tolist() == [[False], [True]]
    assert batch.x.tolist() == [[[0.5, 0.0], [0.0, 0.0]], [[0.5, 0.0], [2.0, 1.0]]]
    assert batch.padding_mask.tolist() == [[False, True], [False, False]]
    assert (batch.clock.tolist(), batch.number.tolist()) == ([0.5, 0.0], [1, 0])
    assert batch.tail.tolist() == [2.5, 0.0]
