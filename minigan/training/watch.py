"""What to look at while a run goes on, what goes wrong, and how to say it.

A watch looks every so many steps: it shows the latest numbers behind the bar, says in words what
has begun to go wrong, and notices when all is lost. What it shows and what counts as trouble are
functions of the record's recent means, by column, so that an example may have its own:

    Watch(record, show=lambda now: f"energy {now['energy']:.3f}", troubles={too_cold: None})

What goes wrong in GANs is there, in troubles.py; for those on images see `Watch.of_images`.
"""

from __future__ import annotations

import math
import time

from minigan.backend import cpu
from minigan.data import Dataset, to_unit
from minigan.engine import Tensor
from minigan.engine.functional import mean_over_ranks
from minigan.evaluation import spread
from minigan.training.record import Record
from minigan.training.troubles import collapse, first_lost, no_contest

FRESH = 500  # steps; see COLLAPSED
GAME = ("loss_d", "loss_g", "d_real", "d_fake_before", "d_fake_after")  # columns of a record

LOST = (
    "NaN or infinity: the weights are lost. Resume the last checkpoint, or start again, with lower "
    "learning rates."
)


def game(now: dict) -> str:
    """The columns of GAME in a line."""
    return (
        f"loss D {now['loss_d']:.2f} G {now['loss_g']:.2f}, D(x) {now['d_real']:.2f}, "
        f"D(G(z)) {now['d_fake_before']:.2f} -> {now['d_fake_after']:.2f}"
    )


class Watch:
    """Looks at a run every so many steps; between two looks nothing waits for the device.

    show      a function of the recent means, {column: number}, to a line; None: nothing is shown
    troubles  functions of such means to what is wrong, in one line, or None. Each has another as
              its value, whose line is said when the trouble is over, and then it may be said
              again; with None it is said once
    every     steps between two looks
    recent    steps behind the numbers that are shown
    calm      steps behind those that troubles are judged by
    early     steps in which only lost weights count as trouble
    batch     samples in a step, to show how many a second there are
    real      the spread of real samples. If given, a training step returns G's last batch, and
              the means have "diversity", the spread of this batch as a share of it
    measures  functions of what a training step returns, by the names that their values have among
              the means: numbers, or scalar tensors
    others    records of the same steps, such as one of each parameter's size, to find the number
              that was first not finite in

    `said` is all that it has said.
    """

    def __init__(
        self,
        record: Record,
        *,
        show=None,
        troubles: dict | None = None,
        every=20,
        recent=20,
        calm=100,
        early=FRESH,
        batch: int | None = None,
        real: float | None = None,
        measures: dict | None = None,
        others: tuple[Record, ...] = (),
    ):
        self.record, self.show, self.troubles = record, show, troubles or {}
        self.every, self.recent, self.calm, self.early = every, recent, calm, early
        self.batch, self.real = batch, real
        self.measures, self.others = measures or {}, others
        self.said: list[str] = []
        self._troubled = set()
        self.begin()

    def begin(self):
        """The run begins or goes on: what was done before does not count for its speed."""
        self._looked = time.perf_counter(), len(self.record)

    @classmethod
    def of_images(cls, record, objective, dataset: Dataset, batch, *, low=-1.0, **options):
        """The watch of a game whose record has the columns of GAME, on images.

        low: the darkest pixel of what a step returns, the brightest being 1.
        """
        seen = Tensor(cpu.asarray(to_unit(dataset.images[:1000])))
        real = spread(seen).item() * (1 - low) / 2
        troubles = {collapse: None} if real else {}  # of images that are all alike it is no trouble
        troubles |= {no_contest: None} if objective.probabilistic else {}
        return cls(record, show=game, troubles=troubles, batch=batch, real=real, **options)

    def look(self, step, samples: Tensor | None, progress) -> bool:
        """Shows and says on `progress` what there is to be; False if all is lost.

        samples: what the step has returned. Before the first row there is nothing to see.
        """
        if not len(self.record):
            return True
        now, calm = self.record.latest(self.recent), self.record.latest(self.calm)
        if self.real:
            diversity = mean_over_ranks(spread(samples)).item() / self.real
            now["diversity"] = calm["diversity"] = diversity
        lost = not all(map(math.isfinite, now.values()))
        for name, measure in () if lost else self.measures.items():
            now[name] = calm[name] = float(measure(samples))
        if self.show:
            progress.show(self.show(now) + self._speed())
        if lost or not all(map(math.isfinite, now.values())):
            self._say(progress, step, f"{LOST} {first_lost(self.record, *self.others)}".rstrip())
            return False
        if len(self.record) >= self.early:
            for trouble, over in self.troubles.items():
                words = self._news(trouble, over, calm)
                if words:
                    self._say(progress, step, words)
        return True

    def _say(self, progress, step, words):
        self.said.append(f"step {step:,}: {words}")
        progress.say(self.said[-1])

    def _news(self, trouble, over, now) -> str | None:
        """What to say of one kind of trouble: that it has begun, that it is over, or nothing."""
        words = trouble(now)
        if words and trouble not in self._troubled:
            self._troubled.add(trouble)
            return words
        if not words and over and trouble in self._troubled:
            self._troubled.remove(trouble)
            return over(now)
        return None

    def _speed(self) -> str:
        (then, before), self._looked = self._looked, (time.perf_counter(), len(self.record))
        if not self.batch:
            return ""
        samples = (self._looked[1] - before) * self.batch
        return f", {samples / max(self._looked[0] - then, 1e-9):,.0f} img/s"
