"""What makes a run safe around a loop that stays in the example, with its two moves.

options (the command line), program (how a run ends), record (its numbers), watch (what goes wrong,
in words), checkpoint (save and resume), sampler (its generator, for other scripts); and `Session`,
which holds them together.
"""

from minigan.training import checkpoint, options
from minigan.training.checkpoint import CheckpointError
from minigan.training.options import OptionError
from minigan.training.program import Interrupt, Progress, make_folder, run, save_json
from minigan.training.record import Record
from minigan.training.sampler import Sampler, generated
from minigan.training.session import Session
from minigan.training.watch import GAME, LOST, Watch, spread

__all__ = [
    "GAME",
    "LOST",
    "CheckpointError",
    "Interrupt",
    "OptionError",
    "Progress",
    "Record",
    "Sampler",
    "Session",
    "Watch",
    "checkpoint",
    "generated",
    "make_folder",
    "options",
    "run",
    "save_json",
    "spread",
]
