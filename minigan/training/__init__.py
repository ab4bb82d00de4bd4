"""What makes a run safe around a loop that stays in the example, with its two moves.

The options of a command line, how a program ends, the numbers of a run, what goes wrong in words,
saving and resuming, a generator for other scripts and its latent space, a classifier that is kept
for the next call; and `Session`, which holds them together.

In the order of reading: checkpoint, options, program, record, troubles, watch, sampler, space,
kept, apply, session, beside.
"""

from minigan.training import beside, checkpoint, options, troubles
from minigan.training.apply import apply_to_folder
from minigan.training.checkpoint import CheckpointError
from minigan.training.kept import kept_classifier
from minigan.training.options import OptionError
from minigan.training.program import Interrupt, Progress, make_folder, run, save_json
from minigan.training.record import Record
from minigan.training.sampler import Sampler, generated, in_chunks
from minigan.training.session import Session
from minigan.training.space import LatentSpace
from minigan.training.watch import GAME, LOST, Watch
