"""How parameters move: optimisers, their learning rates, bounds, and averages of weights.

In the order of reading: checks, schedules, rules, constraints, average.
"""

from minigan.optim.average import EMA
from minigan.optim.constraints import clip_weights
from minigan.optim.rules import SGD, Adam, Optimizer, RMSprop
from minigan.optim.schedules import Growth, Scheduled, constant, cosine, linear_decay
