"""One run, made safe: all that surrounds the loop of an example, which stays there with its step.

    def step():
        ...                                                     the two moves
        return fake.detach()                                    if the watch judges its diversity

    with Session(args, parts, about=dataset, watch=watch, batches=batches) as session:
        for done in session.steps(step):
            if session.due(args.every):
                session.show(grid(average.network(z)))
    ...                                                         the pictures and the numbers
    return session.status

What is done in which order, for each step: the step itself, captured on a device that can; every
`watch.every` steps a look; the loop's body; then the checkpoint, if it is due, at the end, and when
somebody has pressed Ctrl-C. Where a look finds the weights lost, the loop ends and nothing is saved
any more: neither the body nor a checkpoint sees lost weights, as `due` looks before it says yes.

The other ways to run it:

- without a checkpoint: Session(args), whose `args` need no --resume;
- what must happen before the first step stands before the `for`, if session.start == 0;
- the body has nothing to do: `for _ in session.steps(step): pass`, and saves come every --every;
- looks and saves of different rhythms: due(n) in the body, and Session(…, every=8 * n);
- several loops under one bar: Session(args, total=a + b), then session.steps(first, a) and
  session.steps(second, b), each for that many steps;
- its own words: session.progress.show(…) behind the bar, session.progress.say(…) above it.
"""

from __future__ import annotations

import argparse
import contextlib
import time

from minigan import data, plots
from minigan.backend import get_backend
from minigan.system import world
from minigan.training import checkpoint, options
from minigan.training.checkpoint import CheckpointError
from minigan.training.program import Interrupt, Progress, make_folder
from minigan.training.sampler import Sampler
from minigan.training.watch import Watch


class Session:
    """A run of `total` steps that writes to `args.out`.

    parts    as for `checkpoint.save`; none: there is no checkpoint. `show` adds to a Film "film"
    about    the Dataset, a tuple of two, or the name of a density, that the run learns from
    watch    looks at the run; none: nothing is shown but the bar, and nothing is ever lost
    batches  whose position follows the run's, `moves` of them in a step; or a tuple of such
    total    the steps of the run; by default what --steps or --epochs say
    every    steps between two saves; by default --every, else there is one at the end
    sampler  tells other scripts how to build the generator in the checkpoint

    `start` is the step that the run goes on from, `done` the last one that was made, `seconds` how
    long the `with` has taken, `lost` whether the weights are lost, and `status` the exit status: 1
    if they are, 128 + the signal's number if the run was interrupted, else 0.
    """

    def __init__(
        self,
        args: argparse.Namespace,
        parts: dict | None = None,
        *,
        about: data.Dataset | tuple[data.Dataset, ...] | str | None = None,
        watch: Watch | None = None,
        batches: data.Batches | tuple[data.Batches, ...] | None = None,
        moves: int = 1,
        total: int | None = None,
        every: int | None = None,
        sampler: Sampler | None = None,
    ):
        self.args, self.parts, self.about = args, parts or {}, about
        self.watch, self.sampler = watch, sampler
        several = batches if isinstance(batches, tuple) else (batches,)
        self.batches, self.moves = [b for b in several if b is not None], moves
        self.total = options.length(args, several[0], moves) if total is None else total
        self.every = every or getattr(args, "every", self.total)
        self.start = self.done = 0
        self.lost, self.saved = False, None  # saved: the step of the last save, if there was one
        self._latest, self._looked = None, 0
        self._open = contextlib.ExitStack()

    def __enter__(self):
        """Makes the folder and, with --resume, loads the checkpoint.

        Of several ranks all begin as the first does. OptionError for the folder, or if ranks have
        different data; CheckpointError if the run that is resumed saw other data.
        """
        make_folder(self.args.out)
        about = checkpoint.about_data(self.about)
        options.check_ranks("data", {name: str(value)[:80] for name, value in about.items()})
        self.start = self.done = self._resume()
        checkpoint.from_first(self.parts)
        for batches in self.batches:
            batches.step = self.start * self.moves
        if self.watch is not None:
            self.watch.begin()
        self._began = time.perf_counter()
        self.interrupted = self._open.enter_context(Interrupt())
        self.progress = self._open.enter_context(Progress(self.total, self.start))
        return self

    def __exit__(self, kind, error, traceback):
        with self._open:
            if kind is None and self.done > self.start and self.healthy():
                self.save()
        if kind is None:
            self._ask()
        self.seconds = time.perf_counter() - self._began
        if kind is None:
            self._say_what_became_of_it()

    # --- The loop ---

    def steps(self, step, count: int | None = None):
        """Makes the steps, up to the end or `count` more, and yields after each how many there are.

        step: a function without arguments; see `Backend.capture` for what it may do.
        """
        step = get_backend(self.args.device).capture(step)
        last = self.total if count is None else min(self.total, self.done + count)
        while self.done < last and not self._ask() and not self.lost:
            self._latest = step()
            self.done += 1
            self.progress.advance()
            if self.watch is not None and self.done % self.watch.every == 0 and not self.healthy():
                break
            yield self.done
            if self.due(self.every) or (self._ask() and self.healthy()):
                self.save()

    def _ask(self) -> bool:
        """Whether somebody has interrupted the run; all ranks have to ask, and get one answer.

        A signal that comes while they ask is for the next time: it must not be overwritten.
        """
        status = world().largest(self.interrupted.status)
        if status:
            self.interrupted.status = status
        return status != 0

    def due(self, every: int, *, end=True) -> bool:
        """Whether it is time for what happens every so many steps, and at the end; never if all is
        lost.
        """
        return (self.done % every == 0 or (end and self.done == self.total)) and self.healthy()

    def healthy(self) -> bool:
        """Whether the weights are not lost: looks, once per step."""
        if self.watch is not None and not self.lost and self._looked != self.done:
            self._looked = self.done
            self.lost = not self.watch.look(self.done, self._latest, self.progress)
        return not self.lost

    def show(self, pixels):
        """Pixels (h, w, 3) of the moment: a frame of the film, and a file, twice the size."""
        if "film" in self.parts:
            self.parts["film"].add(pixels)
        plots.save_image(self.args.out / f"samples_{self.done:06d}.png", pixels, scale=2)

    # --- The checkpoint ---

    def save(self):
        """Saves the run as it is; nothing, if that has been done or there are no parts."""
        if not self.parts or self.saved == self.done:
            return
        about, kept = checkpoint.about_data(self.about), options.saved(self.args)
        if about["data_sha256"]:
            options.make_absolute(kept)  # a run may go on from elsewhere
        if self.sampler is not None:
            about["generator"] = self.sampler.recipe()
        path = self.args.out / checkpoint.NAME
        checkpoint.save(path, self.parts, step=self.done, options=kept, **about)
        self.saved = self.done

    def _resume(self) -> int:
        """The step to go on from: 0, or with --resume that of the checkpoint, which is loaded."""
        path = getattr(self.args, "resume", None)
        if path is None:
            return 0
        about = checkpoint.peek(path)
        if not checkpoint.same_data(about, self.about):
            raise CheckpointError(f"{path} was trained on {self._other_data(about)}")
        return checkpoint.load(path, self.parts)["step"]

    def _other_data(self, about: dict) -> str:
        """What was seen, and what there is instead."""
        seen, here = about.get("data"), checkpoint.about_data(self.about)["data"]
        if isinstance(self.about, tuple) and checkpoint.same_data(about, self.about[::-1]):
            return f"{seen}; these are the same two the other way round: swap them"
        unlike = "" if seen != here else ", but not the same ones"
        option = "--pairs" if getattr(self.args, "pairs", None) else "--data"
        return (
            f"{seen}; {option} names {here}{unlike}: "
            "name the same data, or start a new run without --resume"
        )

    # --- The end ---

    @property
    def status(self) -> int:
        """The exit status so far: see the class."""
        return 1 if self.lost else self.interrupted.status

    def _say_what_became_of_it(self):
        if self.about is not None:
            sets = self.about if isinstance(self.about, tuple) else (self.about,)
            name = " and ".join(getattr(part, "name", part) for part in sets)
            took = f"{self.done:,} steps on {name}, {self.seconds:.0f} s"
            print(f"{took}; pictures: {self.args.out}")
        if 0 < self.total <= self.start:
            print(f"{self.start:,} steps were done already: ask for more with --steps")
        if self.interrupted and not self.lost and self.done < self.total:
            saved = self.saved is not None and self.saved == self.done
            print("interrupted and saved: go on with --resume" if saved else "interrupted")
