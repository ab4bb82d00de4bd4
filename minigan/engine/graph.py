"""The graph behind tensors: what is recorded of an operation, and when nothing is.

The graph consists of nodes, not of tensors. A node knows its parents and their VJPs; a tensor
knows its node. References run from results to inputs only, never in a circle, so a graph is
freed the moment the last tensor that needs it goes out of scope.
"""

from __future__ import annotations

import itertools
import operator
from contextlib import contextmanager
from contextvars import ContextVar

_next_serial = itertools.count().__next__

# What the engine remembers between two lines of a program: whether operations are recorded, and the
# frozen leaves. Each thread has its own, and so has each task of asyncio, as one may sample while
# another trains.
mode: ContextVar[tuple[bool, frozenset]] = ContextVar("mode", default=(True, frozenset()))
mode_now = mode.get


class Node:
    """The record of one operation: who its inputs were and how a gradient gets back to them.

    `edges` holds (parent node, VJP, parent's version at the time). `output` is the result's
    array where a VJP asked to be given it: an array, not the tensor, which would close a circle.
    `shared` computes from g what several VJPs need.
    Nodes are numbered as they are made, and an input is always made before its result: the
    order of creation is a topological order.
    """

    __slots__ = ("edges", "output", "serial", "shape", "shared")

    # What a leaf has of its own, and a view takes from its leaf, is the same for all other nodes.
    name = ""
    version = 0
    root = None

    def __init__(self, shape, edges=(), output=None, shared=None):
        self.serial = _next_serial()
        self.shape = shape
        self.edges = edges
        self.output = output
        self.shared = shared


class Leaf(Node):
    """A node without parents: a parameter, or an input whose gradient is wanted.

    `version` counts in-place updates; `grad` is what `backward()` has accumulated.
    """

    __slots__ = ("grad", "name", "version")

    def __init__(self, shape, name=""):
        super().__init__(shape)
        self.version = 0
        self.grad = None
        self.name = name


class View(Node):
    """A result that may share its input's memory: it is frozen or updated when its input is.

    `root` is the input at the beginning of a chain of views.
    """

    __slots__ = ("root",)

    def __init__(self, shape, edges):
        super().__init__(shape, edges)
        parent = edges[0][0]
        self.root = parent.root if isinstance(parent, View) else parent

    name = property(operator.attrgetter("root.name"))
    version = property(operator.attrgetter("root.version"))


def is_recording() -> bool:
    """Whether operations are being recorded: no inside no_grad() and plain gradients."""
    return mode_now()[0]


@contextmanager
def record_if(on: bool):
    before, frozen = mode_now()
    mode.set((on, frozen))
    try:
        yield
    finally:  # of the other half whatever it is by then: a generator may end at any time
        mode.set((before, mode_now()[1]))


def no_grad():
    """`with no_grad():` operations inside, in this thread, are not recorded."""
    return record_if(False)
