"""Checks that all operations share: each names the operation, what it got and what it wanted."""

from __future__ import annotations

import math
import operator

from minigan.backend import DeviceError


class ShapeError(ValueError):
    """The shapes of an operation's inputs do not fit together."""


class StaleGraphError(RuntimeError):
    """A gradient was asked through a graph whose parameters have been updated since."""


def check_alike(op, a, b):
    """DeviceError or TypeError, naming the operation, unless two tensors share device and dtype."""
    if type(a.data) is type(b.data) and a.data.dtype is b.data.dtype:
        return
    if a.backend is not b.backend:
        raise DeviceError(f"{op}: one operand is on {a.backend.name}, one on {b.backend.name}")
    if a.dtype != b.dtype:
        raise TypeError(f"{op}: dtypes {a.dtype} and {b.dtype} differ: convert one with .astype()")


def check_broadcast(op, a: tuple, b: tuple):
    """ShapeError, naming the operation, unless the two shapes broadcast against each other."""
    for m, n in zip(reversed(a), reversed(b), strict=False):
        if m != n and m != 1 and n != 1:
            raise ShapeError(f"{op}: shapes {a} and {b} do not broadcast: {m} and {n} differ")


def check_fits(op, shape: tuple, into: tuple):
    """ShapeError, naming the operation, unless `shape` broadcasts to exactly `into`."""
    sides = zip(reversed(shape), reversed(into), strict=False)
    if len(shape) > len(into) or any(m not in (1, n) for m, n in sides):
        raise ShapeError(f"{op}: shape {shape} does not broadcast to {into}")


def expect(fits, what, value, expected):
    """The value. ValueError, saying what it is and what was expected, unless it `fits`."""
    if not fits:
        raise ValueError(f"{what} is {value}, expected {expected}")
    return value


def whole_number(what, value, least=-math.inf) -> int:
    """`value` as a Python int, NumPy's integers too. TypeError, naming what it is, for all else;
    ValueError below `least`.
    """
    if type(value) is not int:
        try:
            if isinstance(value, bool):
                raise TypeError
            value = operator.index(value)
        except TypeError:
            raise TypeError(f"{what} is {value!r}, expected an integer") from None
    return expect(value >= least, what, value, f"at least {least}")


def check_sizes(layer, *sizes) -> tuple:
    """The sizes as Python ints. ValueError or TypeError, naming the layer, unless all are ≥ 1."""
    return tuple(whole_number(f"{layer}: a size", size, 1) for size in sizes)


def pair(what, value, least=1) -> tuple[int, int]:
    """One integer for both directions, or (vertical, horizontal), each at least `least`."""
    both = value if isinstance(value, (tuple, list)) else (value, value)
    if len(both) != 2:
        raise TypeError(f"{what} {value!r} is no pair of integers, (vertical, horizontal)")
    return whole_number(what, both[0], least), whole_number(what, both[1], least)


def wrong_shape(op, x, expected) -> ShapeError:
    """The error of an operation that got a tensor of another shape than it expected."""
    return ShapeError(f"{op}: got shape {x.shape}, expected {expected}")


def axis_of(op, axis: int, shape: tuple) -> int:
    """The axis counted from the front. ShapeError, naming the operation, if there is none such."""
    if type(axis) is not int:  # else no text need be made
        axis = whole_number(f"{op}: axis", axis)
    if not -len(shape) <= axis < len(shape):
        raise ShapeError(f"{op}: axis {axis} is out of range for shape {shape}")
    return axis % len(shape)
