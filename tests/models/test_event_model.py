"""What is particular to the event model; the laws are in tests/layers/test_laws.py."""

import torch
from torch.testing import assert_close

from aaren.models.event_model import EventModel


def make(marks=3):
    torch.manual_seed(0)
    model = EventModel(
        marks,
        mixture=2,
        periods=[2.0, 30.0],
        d_model=8,
        nhead=2,
        dim_feedforward=8,
        num_layers=1,
    )
    model.scale(0.3, 1.2, 2.0, 0.01, 50.0)
    return model


def test_the_clock_is_exact_far_out_and_starts_again_at_a_reset():
    model = make(marks=0).double()
    gaps = torch.tensor([[[1e9, 0], [0.25, 0], [0.5, 0]]], dtype=torch.float64)
    _, state = model(gaps)
    assert state["clock"].item() == 1e9 + 0.75
    _, state = model(gaps, reset=torch.tensor([[False, True, False]]))
    assert state["clock"].item() == 0.75


def test_a_first_event_without_a_start_tells_nothing_of_its_gap():
    model = make(marks=0).eval()
    x = torch.tensor([[[-1.0, 0], [2.0, 0]]])
    h, state = model.encode(x)
    other, _ = model.encode(torch.tensor([[[0.0, 0], [2.0, 0]]]))
    assert state["clock"].item() == 2.0
    assert not torch.allclose(h[:, 0], other[:, 0])


def test_the_memory_is_the_last_event_under_any_mask():
    model = make().eval()
    x = torch.rand(2, 5, 2)
    mask = torch.tensor([[False, False, True, True, False], [True] * 5])
    h, state = model.encode(x, padding_mask=mask)
    assert_close(state["latest"][0], h[0, 4])
    assert state["latest"][1].tolist() == [0.0] * 8


def test_marks_outside_the_vocabulary_are_one_other_mark():
    model = make().eval()
    one, other, known = (model.encode(torch.tensor([[[1.0, place]]]))[0] for place in (3.0, 17.0, 2.0))
    assert_close(one, other)
    assert not torch.allclose(one, known)


def test_training_teaches_the_other_mark():
    model = make().train()
    h, _ = model.encode(torch.tensor([[[1.0, 1.0]] * 2000]))
    h.square().sum().backward()
    assert model.embed_mark is not None
    assert model.embed_mark.weight.grad is not None
    assert model.embed_mark.weight.grad[3].abs().sum() > 0


def test_a_mark_that_training_never_saw_can_be_said_again():
    torch.manual_seed(0)
    model = EventModel(50, d_model=64, num_layers=1).eval()  # not trained at all
    x = torch.tensor([[[1.0, 7.0], [1.0, 31.0], [2.0, 31.0]]])
    numbers, _ = model(x)
    assert model.next_event(numbers).mark_probabilities.argmax(dim=-1).tolist() == [[7, 31, 31]]
