"""A check that cannot fail is no check: here the engine is broken on purpose, and must be caught.

Each breakage is one that people really make. The second group is right at first order and wrong
at second: such a rule trains a plain GAN well and a WGAN-GP wrongly.
"""

import importlib
import types

import numpy as np
import pytest
import tables
from checks import (
    OPERATIONS,
    check_float32,
    check_gradients,
    check_values,
    fill,
    first_word,
    is_a,
    operands,
    ops,
    public,
)

from minigan import data, functional, gan, models, nn, optim
from minigan.engine import Tensor, conv, record
from minigan.engine.functional import tanh

X, Y = fill((2, 3), "positive", 1), fill((2, 3), "positive", 2)


def wrong_factor(a, b):
    return record(a.data * b.data, (a, lambda g: g * b * 2.0), (b, lambda g: g * a))


def swapped(a, b):
    return record(a.data * b.data, (a, lambda g: g * a), (b, lambda g: g * b))


def forgotten_input(a, b):
    return record(a.data * b.data, (a, lambda g: g * b))


def wrong_in_one_element(a, b):
    def rule(g):
        factor = np.ones(a.shape)
        factor.flat[-1] = 1.001
        return g * b * Tensor(factor)

    return record(a.data * b.data, (a, rule), (b, lambda g: g * a))


def not_a_number(a, b):
    return record(a.data * b.data, (a, lambda g: g * b * float("nan")), (b, lambda g: g * a))


WRONG_AT_ONCE = [wrong_factor, swapped, forgotten_input, wrong_in_one_element, not_a_number]


def reads_the_input_raw(a, b):
    return record(
        a.data * b.data, (a, lambda g: g * Tensor(b.data)), (b, lambda g: g * Tensor(a.data))
    )


def reads_the_gradient_raw(a, b):
    return record(
        a.data * b.data, (a, lambda g: Tensor(g.data) * b), (b, lambda g: Tensor(g.data) * a)
    )


def reads_its_output_raw(a, b):
    y = a.data * np.tanh(b.data)
    return record(
        y,
        (a, lambda g: g * tanh(b)),
        (b, lambda g: g * (a - Tensor(y) * tanh(b))),
    )


def is_constant_in_the_gradient_and_linear(a, b):
    """a + b, whose second derivatives are zero: only the dependence on g can be wrong."""
    return record(a.data + b.data, (a, lambda g: Tensor(g.data)), (b, lambda g: g))


WRONG_AT_SECOND = [
    reads_the_input_raw,
    reads_the_gradient_raw,
    reads_its_output_raw,
    is_constant_in_the_gradient_and_linear,
]


def test_the_check_passes_what_is_right():
    check_gradients(lambda a, b: a * b, X, Y, order=3)
    check_gradients(lambda a, b: tanh(a) / b, X, Y, order=3)


@pytest.mark.parametrize("f", WRONG_AT_ONCE)
def test_a_wrong_rule_fails_at_first_order(f):
    with pytest.raises(AssertionError, match="order 1"):
        check_gradients(f, X, Y, order=1)


@pytest.mark.parametrize("f", WRONG_AT_SECOND)
def test_a_rule_wrong_at_second_order_passes_the_first_and_fails_the_second(f):
    check_gradients(f, X, Y, order=1)
    with pytest.raises(AssertionError, match="order 2"):
        check_gradients(f, X, Y, order=2)


def test_a_rule_wrong_at_third_order_is_found_there():
    def cube(x):
        def rule(g):
            return g * square(x) * 3.0

        return record(x.data**3, (x, rule))

    def square(x):
        return record(x.data**2, (x, lambda g: g * Tensor(x.data) * 2.0))

    check_gradients(cube, X, order=2)
    with pytest.raises(AssertionError, match="order 3"):
        check_gradients(cube, X, order=3)


def test_a_gradient_of_the_wrong_dtype_fails():
    def rule(g):
        return Tensor((g.data * 2.0).astype(np.float32))

    with pytest.raises((AssertionError, TypeError)):
        check_gradients(lambda x: record(x.data * 2.0, (x, rule)), X)


# --- The same in the engine's own operations -----------------------------------------------------


def broken_record(order):
    """`record` with every rule off by a thousandth, or with rules that are constants in g."""

    def spoiled(vjp):
        def rule(g, *y):
            exact = vjp(g, *y)
            return exact * 1.001 if order == 1 else Tensor(exact.data)

        return vjp and rule

    def broken(data, *edges, **options):
        return record(data, *[(x, spoiled(vjp)) for x, vjp in edges], **options)

    return broken


# Those that record themselves; the others are made of these.
RECORDING = [
    "exp", "sqrt", "tanh", "sigmoid", "softplus", "relu", "leaky_relu", "elu", "clip",
    "maximum", "where", "pad", "linear", "softmax", "log_softmax", "normalize", "concatenate",
]  # fmt: skip


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("name", RECORDING)
def test_breaking_a_function_s_rule_is_noticed(monkeypatch, name, order):
    check_gradients(OPERATIONS[name].f, *operands(name))
    monkeypatch.setattr(ops if name == "where" else functional, "record", broken_record(order))
    with pytest.raises(AssertionError, match=f"order {order}"):
        check_gradients(OPERATIONS[name].f, *operands(name))


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("name", ["conv2d", "conv_transpose2d", "conv2d_filter_grad"])
def test_breaking_a_convolution_s_rule_is_noticed(monkeypatch, name, order):
    monkeypatch.setattr(conv, "record", broken_record(order))
    with pytest.raises(AssertionError, match=f"order {order}"):
        check_gradients(OPERATIONS[name].f, *operands(name))


def test_the_two_s_in_the_derivative_of_a_square_is_noticed(monkeypatch):
    """mul with a factor 2 in the operator itself, under every rule that uses it."""

    def twice(a, b):
        a, b = ops.operands("mul", a, b)
        return record(a.data * b.data, (a, lambda g: g * b * 2.0), (b, lambda g: g * a))

    monkeypatch.setattr(ops.Tensor, "__mul__", twice)
    with pytest.raises(AssertionError, match="order 1"):
        check_gradients(lambda x: x * x, X)


def test_a_tanh_that_captures_its_output_as_an_array_is_noticed(monkeypatch):
    def raw_tanh(x):
        y = np.tanh(x.data)
        return record(y, (x, lambda g: g * Tensor(1.0 - y * y)))

    monkeypatch.setattr(functional, "tanh", raw_tanh)
    check_gradients(functional.tanh, X, order=1)
    with pytest.raises(AssertionError, match="order 2"):
        check_gradients(functional.tanh, X)


# --- The other checks ----------------------------------------------------------------------------


def test_values_shapes_and_dtypes_that_differ_are_noticed():
    wrong = [
        (lambda x: x * (1 + 1e-8), lambda x: x),
        (lambda x: x.sum(axis=0, keepdims=True), lambda x: x.sum(axis=0)),
        (lambda x: x.astype("float32"), lambda x: x.astype("float32")),
    ]
    for f, reference in wrong:
        with pytest.raises(AssertionError):
            check_values(f, reference, X)


def test_a_float64_in_a_float32_network_is_noticed():
    def forward(x):
        return Tensor(x.data * np.float64(2))

    def backward(x):
        return record(x.data, (x, lambda g: Tensor(g.data * np.float64(2))))

    for f in (forward, backward):
        with pytest.raises((AssertionError, TypeError), match="float64"):
            check_float32(f, X)


# --- The tables are complete ---------------------------------------------------------------------

# What the files of the engine share, and what is no operation of its own.
INNER = {
    *("record", "grad", "frozen", "no_grad", "is_recording", "tensor", "raw", "operands"),
    *("is_number", "check_broadcast", "check_fits", "axis_of", "check_alike", "check_labels"),
    *("reduced", "whole_number", "backward", "lift", "named", "one_tuple", "record_if"),
    *("check_images", "check_sizes", "expect", "pair", "wrong_shape"),
    *("mean_over_ranks", "rows_of_all_ranks"),  # checked on ranks, in system/test_parallel.py
}


def offered(module, *bases, besides=()):
    """The public names of the module's own functions, or of its classes of a kind."""
    kinds = bases or types.FunctionType
    test = is_a if bases else isinstance
    return {name for name, value in public(module) if test(value, kinds)} - set(besides)


def operations():
    files = ("checks", "graph", "tensors", "operations", "differentiate", "functional", "conv")
    names = [offered(importlib.import_module(f"minigan.engine.{file}")) for file in files]
    return set().union(*names) - INNER


def losses():
    classes = offered(gan, gan.Objective, besides=["Objective"])
    more = offered(gan.distances) | offered(gan.transfer) | offered(gan.variational)
    return classes | offered(gan.losses, besides=["together"]) | more


OFFERED = {
    "OPERATIONS": operations,
    "LAYERS": lambda: offered(nn, nn.Module, besides=["Module"]),
    "INITIALISERS": lambda: offered(nn.initialisers),
    "LOSSES": losses,
    "PENALTIES": lambda: offered(gan.penalties),
    "OPTIMIZERS": lambda: offered(optim, optim.Optimizer, besides=["Optimizer"]),
    "SCHEDULES": lambda: offered(optim.schedules),
    "DENSITIES": lambda: offered(data.toy, object),
    "GENERATORS": lambda: set(models.GENERATORS),
}


def test_every_table_is_held_against_what_there_is():
    assert set(tables.__all__) == OFFERED.keys()


@pytest.mark.parametrize("table", OFFERED)
def test_a_table_is_complete(table):
    """What is added to the package must be added to its table, or this fails."""
    assert {first_word(row) for row in getattr(tables, table)} == OFFERED[table]()


NEW = {  # where it would stand, and what kind of class it would be, if not a function
    "OPERATIONS": (conv, None),
    "LAYERS": (nn, nn.Module),
    "INITIALISERS": (nn.initialisers, None),
    "LOSSES": (gan, gan.Objective),
    "PENALTIES": (gan.penalties, None),
    "OPTIMIZERS": (optim, optim.Optimizer),
    "SCHEDULES": (optim.schedules, None),
    "DENSITIES": (data.toy, object),
}


@pytest.mark.parametrize("table", NEW)
def test_what_is_in_no_table_is_noticed(table, monkeypatch):
    module, base = NEW[table]
    new = (
        type("brand_new", (base,), {})
        if base
        else types.FunctionType(reads_its_output_raw.__code__, {})
    )
    new.__module__ = module.__name__
    monkeypatch.setattr(module, "brand_new", new, raising=False)
    with pytest.raises(AssertionError, match="brand_new"):
        test_a_table_is_complete(table)


def test_a_generator_in_no_table_is_noticed(monkeypatch):
    monkeypatch.setitem(models.GENERATORS, "brand_new", models.mlp)
    with pytest.raises(AssertionError, match="brand_new"):
        test_a_table_is_complete("GENERATORS")
