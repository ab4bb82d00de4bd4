"""The engine: tensors, the graph behind them, and gradients of any order.

In the order of reading: checks, graph, tensors, operations, differentiate, functional, winograd,
conv. The operations are reached as operators, and by the names of their files: several are called
what functions of Python's own are.
"""

from minigan.engine.checks import ShapeError, StaleGraphError
from minigan.engine.conv import conv2d, conv_transpose2d
from minigan.engine.differentiate import grad
from minigan.engine.graph import is_recording, no_grad
from minigan.engine.tensors import Tensor, Variable, frozen, record, tensor
