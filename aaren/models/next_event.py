"""What may come next in a sequence of events: a density of the time until then, and probabilities of its mark."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

Time = Float[Tensor, "..."]
"""Time since the latest event, >= 0: of the shape of the rows, or any that broadcasts with it."""

HALVINGS = 80
"""Of the interval in which a quantile is looked for: then it is exact to the last digits of float64."""


@dataclass(frozen=True)
class NextEvent:
    """A mixture of log-normal densities of the time until the next event, and independently of it a mark.

    Times up to `resolution` count as equal: the density there is its mean over that interval. So events at one time
    have a finite likelihood, and the density is still one. Source of the mixture: Shchur et al. 2020.

    Densities, probabilities, quantiles and means take `after`: the time that has already passed without an event, and
    what they say is given that. The mark is independent of the time, so its probabilities never change.
    """

    log_weight: Float[Tensor, "*rows M"]
    """of the components; normalised"""
    location: Float[Tensor, "*rows M"]
    """means of the logarithm of the time"""
    spread: Float[Tensor, "*rows M"]
    """standard deviations of it, > 0"""
    mark_logits: Float[Tensor, "*rows K"]
    """log probabilities of marks up to a constant; K = 0 without marks"""
    resolution: float
    """in units of time"""
    longest: float
    """for the mean, waits longer than this count as this long, in units of time"""

    @property
    def rows(self) -> torch.Size:
        return self.location.shape[:-1]

    @property
    def mark_probabilities(self) -> Float[Tensor, "*rows K"]:
        return self.mark_logits.softmax(dim=-1)

    def exact(self) -> "NextEvent":
        """On the CPU in float64, and without a gradient."""
        return self._each(lambda part: part.detach().cpu().double())

    def unbind(self) -> "list[NextEvent]":
        """Of each row of the first axis one."""
        return [self._each(lambda part, row=row: part[row]) for row in range(len(self.location))]

    def _each(self, change: Callable[[Tensor], Tensor]) -> "NextEvent":
        weight, location, spread, marks = map(change, (self.log_weight, self.location, self.spread, self.mark_logits))
        return NextEvent(weight, location, spread, marks, self.resolution, self.longest)

    def log_density(self, time: Time, after: Time | float = 0.0) -> Time:
        """Log density that the next event comes `time` after the latest."""
        log_time = time.clamp(min=self.resolution).log()
        z = (log_time[..., None] - self.location) / self.spread
        parts = self.log_weight - 0.5 * z**2 - self.spread.log() - 0.5 * math.log(2 * math.pi)
        density = parts.logsumexp(dim=-1) - log_time
        within = self._log_within() - math.log(self.resolution)
        return torch.where(time > self.resolution, density, within) - self._given(after)

    def log_survival(self, time: Time, after: Time | float = 0.0) -> Time:
        """Log probability that there is no event up to `time` after the latest."""
        within = torch.log1p(-(time / self.resolution).clamp(max=1.0)) + self._log_within()
        survival = torch.logaddexp(self._log_beyond(time.clamp(min=self.resolution)), within)
        return survival.clamp(max=0.0) - self._given(after)

    def log_intensity(self, time: Time) -> Time:
        """Log of the rate at which events come, `time` after the latest, none having come since."""
        return self.log_density(time) - self.log_survival(time)

    def quantile(self, probability: Time | float, after: Time | float = 0.0) -> Time:
        """The time after the latest event by which the next has come with this probability."""
        probability, passed = self._spread(probability), self._spread(after)
        goal = torch.log1p(-probability) + self._given(passed)
        low = (self.location - 40 * self.spread).amin(dim=-1).clamp(max=math.log(self.resolution) - 40)
        low = torch.maximum(low, passed.log())
        high = torch.maximum((self.location + 40 * self.spread).amax(dim=-1), low + 1e-9)
        while (short := self.log_survival(high.exp()) > goal).any() and high.max() < 700:
            high = torch.where(short, low + 2 * (high - low), high)
        for _ in range(HALVINGS):
            middle = 0.5 * (low + high)
            later = self.log_survival(middle.exp()) > goal
            low, high = torch.where(later, middle, low), torch.where(later, high, middle)
        return torch.maximum(high.exp(), passed)

    def median(self, after: Time | float = 0.0) -> Time:
        return self.quantile(0.5, after)

    def mean(self, after: Time | float = 0.0) -> Time:
        """Of the time after the latest event, where one more than `longest` after `after` counts as no more than that
        (a restricted mean, as in the analysis of survival): the tail of a log-normal density beyond all data may lift
        the mean by orders of magnitude."""
        passed = self._spread(after)
        given = self.log_survival(passed)
        most = passed.clamp(min=self.resolution) + self.longest
        low, high = ((x.log()[..., None] - self.location) / self.spread for x in (passed.clamp(self.resolution), most))
        log_mean = self.log_weight + self.location + 0.5 * self.spread**2 - given[..., None]
        ndtr = torch.special.log_ndtr
        # What lies between, as a difference of what is below or of what is above: of the two that which is small.
        below = (log_mean + ndtr(high - self.spread)).exp() - (log_mean + ndtr(low - self.spread)).exp()
        above = (log_mean + ndtr(self.spread - low)).exp() - (log_mean + ndtr(self.spread - high)).exp()
        between = torch.where(low > self.spread, above, below).sum(dim=-1)
        left = (self.resolution**2 - passed.clamp(max=self.resolution) ** 2) / (2 * self.resolution)
        within = (left.log() + self._log_within() - given).exp()
        return between + most * (self._log_beyond(most) - given).exp() + within

    def sample(self, after: Time | float = 0.0) -> tuple[Time, Tensor]:
        """A time after the latest event and the place of a mark (0 without marks) for each row, by the generator of
        PyTorch."""
        time = self.quantile(torch.rand(self.rows, dtype=self.location.dtype, device=self.location.device), after)
        if self.mark_logits.shape[-1] == 0:
            return time, torch.zeros(self.rows, dtype=torch.long, device=time.device)
        noise = -torch.empty_like(self.mark_logits).exponential_().log()  # the largest of log p + Gumbel noise
        return time, (self.mark_logits + noise).argmax(dim=-1)

    def log_mark(self, mark: Float[Tensor, "*rows"] | Tensor) -> Time:
        """Log probability of the mark at this place of the vocabulary; 0 without marks."""
        return log_mark(self.mark_logits, mark, self.location[..., 0])

    def _log_beyond(self, time: Time) -> Time:
        z = (time.log()[..., None] - self.location) / self.spread
        return (self.log_weight + torch.special.log_ndtr(-z)).logsumexp(dim=-1)

    def _log_within(self) -> Time:
        """Log probability of the times that count as equal."""
        z = (math.log(self.resolution) - self.location) / self.spread
        return (self.log_weight + torch.special.log_ndtr(z)).logsumexp(dim=-1)

    def _spread(self, number: Time | float) -> Time:
        """A number for each row, or more that broadcast with them."""
        number = torch.as_tensor(number, dtype=self.location.dtype, device=self.location.device)
        return number.expand(torch.broadcast_shapes(self.rows, number.shape))

    def _given(self, after: Time | float) -> Time | float:
        """Log probability of what has already passed."""
        return 0.0 if isinstance(after, float | int) and after == 0 else self.log_survival(self._spread(after))


def log_mark(logits: Float[Tensor, "*rows K"], mark: Tensor, like: Tensor) -> Tensor:
    """Log probabilities of marks, zeros of the shape of `like` where there are none."""
    if logits.shape[-1] == 0:
        return torch.zeros_like(like)
    return F.log_softmax(logits, dim=-1).gather(-1, mark.long()[..., None])[..., 0]
