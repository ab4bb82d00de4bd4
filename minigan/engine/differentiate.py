"""Reverse-mode differentiation: one walk back through the graph."""

from __future__ import annotations

import operator

from minigan.engine.checks import ShapeError, StaleGraphError
from minigan.engine.graph import Leaf, Node, mode_now, record_if
from minigan.engine.operations import add, sum_to
from minigan.engine.tensors import Tensor, is_number, lift, named, tensor


def grad(y: Tensor, xs, *, cotangent=None, create_graph=False, unused="error") -> list[Tensor]:
    """The gradients of y in each of `xs`, a list of tensors shaped as they are.

    y:            a scalar; or of any shape with `cotangent`, the vector of the product, given.
    create_graph: record the gradients' own computation, so that they can be differentiated.
    unused:       what to do about an x on which y does not depend: "error" or "zeros".

    ValueError if y or an x has no place in the graph, or y does not depend on an x;
    StaleGraphError if a parameter was updated after the graph was built.
    """
    if isinstance(xs, Tensor) or not hasattr(xs, "__iter__"):
        raise TypeError(f"grad: xs is a {type(xs).__name__}, expected a list of tensors")
    xs = list(xs)
    for k, x in enumerate(xs):
        if x.node is None:
            raise ValueError(f"grad: xs[{k}], of shape {x.shape}, does not require a gradient")
    gradients = _walk_back(y, _seed(y, cotangent), [x.node for x in xs], create_graph)
    for k, (x, g) in enumerate(zip(xs, gradients, strict=True)):
        if g is None and unused != "zeros":
            why = 'it was not used, or was detached or frozen; unused="zeros" accepts that'
            raise ValueError(f"grad: y does not depend on xs[{k}]{named(x.node)}, {x.shape}: {why}")
        if g is None:
            gradients[k] = Tensor(x.backend.xp.zeros_like(x.data))
    return gradients


def _walk_back(y: Tensor, seed, targets: list[Node], create_graph) -> list[Tensor | None]:
    """Reverse accumulation: every node's gradient is complete before it is passed on."""
    gradients = {y.node: seed}
    order = _ancestors(y.node)
    wanted = _leading_to(order, targets)
    asked = set(targets)
    with record_if(create_graph):
        for node in reversed(order):
            g = gradients.get(node) if node in asked else gradients.pop(node, None)
            if g is None or node not in wanted:
                continue
            given = ()  # what the VJPs of the node are called with beside g
            if node.output is not None:
                given = (Tensor(node.output, node),)
            elif node.shared is not None:
                given = (node.shared(g),)
            for parent, vjp, version in node.edges:
                if parent.version != version:
                    raise StaleGraphError(_stale(parent, version))
                if vjp is None or parent not in wanted:
                    continue
                part = vjp(g, *given)
                if part.data.shape != parent.shape:
                    part = sum_to(part, parent.shape)
                gradients[parent] = add(gradients[parent], part) if parent in gradients else part
    return [gradients.get(node) for node in targets]


def _seed(y: Tensor, cotangent) -> Tensor:
    """The gradient that the walk begins with."""
    if y.node is None:
        raise ValueError("grad: y was not recorded: no input requires a gradient, or no_grad is on")
    if cotangent is None:
        if y.size != 1:
            raise ValueError(f"grad: y has shape {y.shape}, not one value: give a cotangent")
        return Tensor(y.backend.xp.ones(y.shape, y.dtype))
    v = lift(cotangent)
    if is_number(v):
        v = tensor(v.data, device=y.backend, dtype=y.dtype)
    if v.shape != y.shape or v.dtype != y.dtype:
        raise ShapeError(f"grad: the cotangent is {v.dtype} {v.shape}, y is {y.dtype} {y.shape}")
    return v


def _ancestors(node: Node) -> list[Node]:
    """All nodes that `node` was computed from, itself included, oldest first."""
    seen, stack = {node}, [node]
    while stack:
        for parent, vjp, _ in stack.pop().edges:
            if vjp is not None and parent not in seen:
                seen.add(parent)
                stack.append(parent)
    return sorted(seen, key=operator.attrgetter("serial"))


def _leading_to(order: list[Node], targets) -> set[Node]:
    """The nodes of `order` through which a gradient can reach one of the targets."""
    wanted = set(targets)
    for node in order:
        for parent, vjp, _ in node.edges:
            if vjp is not None and parent in wanted:
                wanted.add(node)
                break
    return wanted


def _stale(leaf, version) -> str:
    times = f"was updated {leaf.version - version} time(s) after this graph was built"
    mend = "compute the forward pass again after the update (for a generator step, D(fake) anew)"
    return f"parameter{named(leaf)} of shape {leaf.shape} {times}, so this would be wrong: {mend}"


def backward(y: Tensor, cotangent=None):
    """Adds d y / d leaf to the `.grad` of every leaf that y depends on: y.backward().

    `grad(y, xs)` is the form to prefer: it returns gradients instead of storing them, and
    walks only the paths that lead to `xs`.
    """
    seed, (_, frozen) = _seed(y, cotangent), mode_now()
    nodes = _ancestors(y.node)
    leaves = [node for node in nodes if isinstance(node, Leaf) and node not in frozen]
    for leaf, g in zip(leaves, _walk_back(y, seed, leaves, False), strict=True):
        if g is not None:
            leaf.grad = g if leaf.grad is None else Tensor(leaf.grad.data + g.data)


Tensor.backward = backward
