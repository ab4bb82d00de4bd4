"""A graph is freed the moment nobody holds it, without the garbage collector's help.

Device memory is not the collector's business: it runs when many objects exist, not when a few of
them hold gigabytes. So a circle anywhere (an operation whose rule holds its own result) is a
leak in practice, and every operation is looked at here with the collector off.
"""

import gc
import tracemalloc
import weakref

import numpy as np
import pytest
from checks import OPERATIONS, leaves, operands

from minigan.engine import Tensor, frozen, grad, tensor
from minigan.engine.graph import Node


@pytest.fixture(scope="module", autouse=True)
def others_set_aside():
    """What was there before is not looked at: other libraries bring a hundred thousand objects."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture
def no_collector():
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def alive(kind):
    return sum(issubclass(type(thing), kind) for thing in gc.get_objects())


@pytest.mark.parametrize("name", OPERATIONS)
def test_an_operation_and_its_derivatives_leave_nothing_behind(no_collector, name):
    f = OPERATIONS[name].f
    xs = leaves(operands(name))

    def once():
        y = f(*xs)
        results = [weakref.ref(y)]
        ones = tensor(np.ones(y.shape), requires_grad=True)
        first = grad(y, xs, cotangent=ones, create_graph=True)
        results += map(weakref.ref, first)
        for g in first:
            if g.requires_grad:
                seconds = grad(g, [*xs, ones], cotangent=np.ones(g.shape), unused="zeros")
                results += map(weakref.ref, seconds)
        return results

    before = alive(Node), alive(Tensor)
    results = once()
    assert len(results) > 1
    assert all(ref() is None for ref in results)
    assert (alive(Node), alive(Tensor)) == before


def network(x, weights):
    for w in weights:
        x = OPERATIONS["leaky_relu"].f(x @ w)
    return (x * x).mean()


def test_fifty_training_steps_need_no_more_memory_than_one(no_collector):
    weights = leaves([np.ones((16, 16), np.float32) / 16] * 4)
    x = tensor(np.ones((256, 16), np.float32), requires_grad=True)

    def step():
        (g,) = grad(network(x, weights), [x], create_graph=True)
        penalty = ((g * g).sum(axis=1) - 1.0) ** 2
        penalty.mean().backward()
        for w, d in zip(weights, grad(network(x, weights), weights), strict=True):
            w.data -= 1e-3 * d.data
            w.node.version += 1
            w.node.grad = None

    step()
    tracemalloc.start()
    try:
        sizes = []
        for _ in range(50):
            step()
            sizes.append(tracemalloc.get_traced_memory()[0])
    finally:
        tracemalloc.stop()
    # Python keeps some small tuples for reuse; one array left behind per step would be fifty.
    smallest = weights[0].data.nbytes
    assert max(sizes) - sizes[0] < 30 * smallest


def test_activations_die_with_the_loss(no_collector):
    """The last reference to the loss is the last reference to all that led to it."""
    x, w = leaves([np.ones((4, 4)), np.ones((4, 4))])
    hidden = x @ w
    activation = weakref.ref(hidden.data)
    loss = (hidden * hidden).sum()
    del hidden
    assert activation() is not None  # the rule of * needs it
    grad(loss, [w])
    assert activation() is not None  # and may be asked again
    del loss
    assert activation() is None


def test_a_rule_keeps_only_what_it_uses(no_collector):
    """Neither + nor a sum needs its input's values, so they are free while the graph lives."""
    (x,) = leaves([np.ones((4, 4))])
    hidden = x + 1.0
    kept = weakref.ref(hidden.data)
    loss = hidden + 2.0
    del hidden
    assert kept() is None
    np.testing.assert_array_equal(grad(loss, [x], cotangent=np.ones((4, 4)))[0].data, 1)


def test_gradients_hold_on_to_no_graph(no_collector):
    x, w = leaves([np.ones((4, 4)), np.ones((4, 4))])
    before = alive(Node)
    first = grad((x @ w).sum(), [x, w])
    assert alive(Node) == before
    assert not any(g.requires_grad for g in first)


def test_a_frozen_network_s_constants_are_not_recorded(no_collector):
    (w,) = leaves([np.ones((4, 4))])
    before = alive(Node)
    with frozen([w]):
        y = (w @ w).sum()
    assert alive(Node) == before
    assert not y.requires_grad


@pytest.mark.parametrize("keep", [False, True], ids=["add", "tanh"])
def test_a_hundred_thousand_operations(no_collector, keep):
    """Walking and freeing are loops: no recursion as deep as the graph."""
    tanh = OPERATIONS["tanh"].f
    (x,) = leaves([np.zeros(())])
    before = alive(Node)
    y = x
    for _ in range(100_000):
        y = tanh(y) if keep else y + 1.0
    assert grad(y, [x])[0].item() == 1.0
    y.backward()
    assert x.grad.item() == 1.0
    assert alive(Node) == before + 100_000
    del y
    assert alive(Node) == before


def test_a_wide_diamond_chain_is_walked_in_linear_time(no_collector):
    """2¹⁰⁰ paths, 100 nodes."""
    (x,) = leaves([np.array(1.0)])
    y = x
    for _ in range(100):
        y = y + y
    assert grad(y, [x])[0].item() == 2.0**100
