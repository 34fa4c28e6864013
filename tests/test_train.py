import pytest
import torch
from torch import nn

from aaren.tensor_files import read_tensors
from aaren.train import Recipe, fit


class Numbers(tuple):
    def to(self, device):
        return self


def make_model():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 8), nn.Dropout(0.2), nn.Linear(8, 1))


def batch(number):
    g = torch.Generator().manual_seed(number)
    x = torch.randn(16, 3, generator=g)
    return Numbers((x, x.sum(dim=1, keepdim=True)))


def loss(model, numbers):
    x, y = numbers
    return (model(x) - y).square().mean()


def validate(model, device):
    return loss(model, batch(10**6)).item()


RECIPE = Recipe(updates=60, learning_rate=1e-2, warmup=5, validate_every=10)


class Stop(Exception):
    pass


def stopping_after(count):
    def stop(number):
        if number >= count:
            raise Stop
        return batch(number)

    return stop


def weights(model):
    return torch.cat([p.detach().flatten() for p in model.parameters()])


def test_learns_and_keeps_the_best_validation():
    model = make_model()
    before = validate(model.eval(), None)
    done = fit(model, batch, loss, validate, RECIPE)
    assert done.updates == 60
    assert validate(model, None) == pytest.approx(done.best_validation)
    assert done.best_validation == min(entry["validation"] for entry in done.history) < before / 4
    assert [entry["update"] for entry in done.history] == [10, 20, 30, 40, 50, 60]
    assert not model.training


@pytest.mark.parametrize("stop_at", [1, 10, 25, 59])
def test_interrupted_training_ends_with_the_same_weights(tmp_path, stop_at):
    whole, halved = make_model(), make_model()
    expected = fit(whole, batch, loss, validate, RECIPE, seed=3)
    file = tmp_path / "checkpoint"
    torch.manual_seed(77)  # noise from outside must not matter
    with pytest.raises(Stop):
        fit(halved, stopping_after(stop_at), loss, validate, RECIPE, seed=3, checkpoint=file)
    again = make_model()
    torch.manual_seed(78)
    done = fit(again, batch, loss, validate, RECIPE, seed=3, checkpoint=file)
    assert torch.equal(weights(again), weights(whole))
    assert done == expected


def test_seed_decides_the_dropout():
    a, b, c = make_model(), make_model(), make_model()
    for model, seed in ((a, 0), (b, 0), (c, 1)):
        fit(model, batch, loss, validate, RECIPE, seed=seed)
    assert torch.equal(weights(a), weights(b))
    assert not torch.equal(weights(a), weights(c))


def test_training_leaves_the_global_random_state_alone():
    model = make_model()
    before = torch.get_rng_state()
    fit(model, batch, loss, validate, Recipe(updates=3, validate_every=1))
    assert torch.equal(torch.get_rng_state(), before)


def test_stops_early_without_improvement():
    recipe = Recipe(updates=1000, validate_every=5, patience=3)
    scores, seen = iter([4.0, 3.0, 1.0, *[2.0] * 1000]), []

    def scripted(model, device):
        seen.append(weights(model).clone())
        return next(scores)

    model = make_model()
    done = fit(model, batch, loss, scripted, recipe)
    assert (done.best_update, done.updates) == (10, 25)
    assert torch.equal(weights(model), seen[2])  # of the best validation, not of the last
    assert not torch.equal(seen[2], seen[-1])


def test_a_start_that_no_update_makes_better_is_kept():
    scores = iter([1.0, *[2.0] * 1000])
    model = make_model()
    start = weights(model).clone()
    done = fit(model, batch, loss, lambda *_: next(scores), Recipe(updates=1000, validate_every=5, patience=3))
    assert (done.best_update, done.best_validation, done.updates) == (0, 1.0, 15)
    assert torch.equal(weights(model), start)


def test_checkpoint_is_safetensors_and_of_one_run(tmp_path):
    file = tmp_path / "checkpoint"
    with pytest.raises(Stop):
        fit(make_model(), stopping_after(20), loss, validate, RECIPE, checkpoint=file, run="a")
    tensors, metadata = read_tensors(file, "aaren checkpoint")
    assert metadata["run"] == "a"
    assert "optimiser.0.exp_avg" in tensors
    with pytest.raises(ValueError, match="checkpoint must be of this run, got one of another"):
        fit(make_model(), batch, loss, validate, RECIPE, checkpoint=file, run="b")
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(ValueError, match="must be a whole safetensors file"):
        fit(make_model(), batch, loss, validate, RECIPE, checkpoint=file, run="a")


def test_a_loss_that_is_not_finite_stops_with_its_update():
    def bad(model, numbers):
        return loss(model, numbers) * (float("nan") if numbers[0][0, 0] > 1 else 1.0)

    with pytest.raises(FloatingPointError, match=r"must be finite, got loss nan in update \d+; lower learning_rate"):
        fit(make_model(), batch, bad, validate, RECIPE)


def test_a_validation_that_is_not_finite_stops_too():
    with pytest.raises(FloatingPointError, match="validation must be finite, got nan after 0 updates"):
        fit(make_model(), batch, loss, lambda *_: float("nan"), RECIPE)


def test_learning_rate_rises_and_falls_to_zero():
    recipe = Recipe(updates=100, warmup=10, learning_rate=1.0)
    rates = [recipe.rate(update) for update in range(100)]
    assert rates[0] == pytest.approx(0.1)
    assert max(rates) == pytest.approx(1.0, abs=0.03)
    assert rates[99] < 1e-3
    assert Recipe(updates=100, warmup=0, learning_rate=1.0).rate(0) == 1.0


@pytest.mark.unchecked
def test_bad_recipe_is_named():
    with pytest.raises(ValueError, match="updates must be a whole number at least 1, got 0"):
        Recipe(updates=0)
    with pytest.raises(ValueError, match="weight_decay must be a number at least 0, got -1"):
        Recipe(weight_decay=-1)
    with pytest.raises(ValueError, match="learning_rate must be a number above 0, got nan"):
        Recipe(learning_rate=float("nan"))
    with pytest.raises(ValueError, match=r"batch_size must be a whole number at least 1, got 2.5"):
        Recipe(batch_size=2.5)  # pyright: ignore[reportArgumentType]


def test_progress_bar(capsys, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")  # as on a terminal
    fit(make_model(), batch, loss, validate, RECIPE, progress=True)
    assert "60/60" in capsys.readouterr().err
