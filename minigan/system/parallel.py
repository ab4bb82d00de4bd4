"""Several processes that train one network: the one file that knows of more than one.

    mpiexec -n 2 python examples/dcgan_mnist.py        two ranks, the same run

Every rank runs the whole program, and they differ in one thing: in a training step, each takes its
rows of every batch and of every noise. What they compute from the same numbers is the same on all,
without a word between them: weights, averages, rates, pictures. What they compute from their own
rows is a mean over the rows of a batch, in the end, and a mean over equal parts is the mean of
their means. So `World.mean` is nearly all there is: of the gradients (optim), of batch norm's
statistics and its gradient's sums (nn), of the numbers of a record (training). It passes arrays to
MPI, and a GPU's to what that device has brought along (backend/nccl.py).

Where a run has one process, a mean is the array itself, and nothing is imported.

Over all ranks are: batch norm, minibatch discrimination, minibatch standard deviation without
groups, feature matching, relativistic means, DRAGAN's σ, BEGAN's control, the history of fakes.
Per rank are: groups (of minibatch standard deviation, of packs, of labels), which follow each
other and must not be cut, and pairs (of `pulling_away`, of `pairwise_distances`, of the blends in
text_to_image.py), which are then those within a rank. Layer norm, instance norm and gradient
penalties look at one sample at a time.

By MPI's rules all ranks must come to the same sums in the same order. So what one rank does the
others do too: nothing here may stand behind an `if rank == 0`, but for writing and printing.
"""

from __future__ import annotations

import functools
import os
import sys
import time
import warnings
from array import array as integers

from minigan.system import cores

# By which mpiexec tells a process how many it has started: MPICH and its kin, then Open MPI.
SIZES = ("PMI_SIZE", "OMPI_COMM_WORLD_SIZE")
RANKS = ("PMI_RANK", "OMPI_COMM_WORLD_RANK")  # which of them this one is
LOCAL = ("MPI_LOCALRANKID", "OMPI_COMM_WORLD_LOCAL_RANK")  # and among those on this machine,
HERE = ("MPI_LOCALNRANKS", "OMPI_COMM_WORLD_LOCAL_SIZE")  # which are so many


class ParallelError(RuntimeError):
    """Ranks can't work together: something isn't installed, or they aren't alike."""


class World:
    """All processes of the run: here, the only one there is.

    `rank` counts from 0 to `size` − 1; `local` is the rank among those on this machine.
    """

    rank, size, local = 0, 1, 0

    def sum(self, array):
        """The sum over ranks of an array that each has, which may be overwritten."""
        return array

    def mean(self, array):
        """The mean likewise, of floats."""
        return array

    def gather(self, value) -> list:
        """A value of each rank, in the order of ranks, on all of them: what pickle can send."""
        return [value]

    def first(self, value):
        """What the value is on rank 0."""
        return value

    def largest(self, number: int) -> int:
        """The largest of the ranks' integers."""
        return number

    def share(self, n: int) -> int:
        """How many of n rows each rank takes. ValueError if they can't be shared out."""
        if n % self.size:
            wanted = f"wanted a multiple of {self.size}"
            raise ValueError(f"a batch of {n} can't be shared by {self.size} ranks: {wanted}")
        return n // self.size

    def part(self, n: int) -> slice:
        """Which of n rows this rank takes."""
        share = self.share(n)
        return slice(self.rank * share, (self.rank + 1) * share)

    def part_with(self, failed: bool) -> bool:
        """The end of a program, which all come to; whether it is this rank that says what failed.

        A rank that failed alone doesn't come back from here unless it is to say so: see `leave`.
        """
        return failed

    def leave(self, status: int):
        """Ends the process. Where others wait for it in vain, they are ended too."""
        sys.exit(status)


class Ranks(World):
    """Several processes, over MPI."""

    PATIENCE = 4.0  # seconds for which one that failed waits to see whether the others did too

    def __init__(self, MPI, local: int):
        self._mpi, self._world = MPI, MPI.COMM_WORLD
        self.rank, self.size, self.local = self._world.rank, self._world.size, local
        # By itself, as the others may be in the middle of a step when one comes to its end.
        self._farewell = self._world.Dup()
        self._devices, self._alone = {}, False

    def join(self, kind: type, communicator):
        """From now on arrays of a device are added up by communicator.all_reduce(array)."""
        self._devices[kind] = communicator

    def sum(self, array):
        if not array.shape:  # NumPy's scalars can't be written to
            return self.sum(array.reshape(1).copy()).reshape(())
        if not array.flags.c_contiguous:
            array = array.copy(order="C")
        device = self._devices.get(type(array))
        if device is None:
            self._world.Allreduce(self._mpi.IN_PLACE, array)
        else:
            device.all_reduce(array)
        return array

    def mean(self, array):
        array = self.sum(array)
        array /= self.size
        return array

    def gather(self, value) -> list:
        return self._world.allgather(value)

    def first(self, value):
        return self._world.bcast(value)

    def largest(self, number):
        found = integers("q", [number])  # twice a step: without a pickle, 14 µs instead of 40
        self._world.Allreduce(self._mpi.IN_PLACE, found, op=self._mpi.MAX)
        return found[0]

    def part_with(self, failed):
        """All failed, as over one mistake of the user: then the first speaks. Or one did, while the
        others work on, or wait for it: then it speaks, and `leave` ends them all.
        """
        mine = bytearray([failed])
        all_of_them = bytearray(self.size)
        request = self._farewell.Iallgather(mine, all_of_them)
        patience = time.monotonic() + self.PATIENCE
        while not request.Test():
            if failed and time.monotonic() > patience:
                self._alone = True
                return True
            time.sleep(0.002)
        return bool(failed) and not any(all_of_them[: self.rank])

    def leave(self, status):
        if not self._alone:  # mpi4py takes its leave at Python's exit, which waits for all
            sys.exit(status)
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        os._exit(status)


@functools.cache
def world() -> World:
    """The processes of this run, as mpiexec has started them.

    ParallelError if there are several, and mpi4py or the MPI library that it needs isn't there.
    """
    size = told(SIZES, 1)
    if size == 1:
        return World()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of another MPI's mpiexec: see below
            from mpi4py import MPI
    except ImportError as error:
        raise ParallelError(f"several ranks need mpi4py ({_line(error)}): {HOW}") from error
    except RuntimeError as error:  # there is mpi4py, but no library that it could load
        raise ParallelError(f"mpi4py has no MPI library ({_line(error)}): {HOW}") from error
    if MPI.COMM_WORLD.size != size:
        raise ParallelError(
            f"{size} ranks were started, but mpi4py's MPI sees {MPI.COMM_WORLD.size}: start them "
            "by the mpiexec of the MPI that mpi4py uses"
        )
    cores.limit_threads(cores.share(told(HERE, size)))
    return Ranks(MPI, told(LOCAL, 0))


HOW = "pip install 'minigan[mpi]'"


def told(names, default: int) -> int:
    """What mpiexec told this process by an environment variable; the default if it told nothing."""
    return int(next((os.environ[name] for name in names if name in os.environ), default))


def is_first() -> bool:
    """Whether this is the rank that prints and writes: rank 0, also before there is a world."""
    return told(RANKS, 0) == 0 or told(SIZES, 1) == 1


def _line(error) -> str:
    return str(error).partition("\n")[0]
