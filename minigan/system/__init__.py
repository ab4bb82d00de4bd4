"""What a program owes the machine it runs on.

Cores, other processes of the same run, whole files, text that never ends a run, and memory that is
used again.

In the order of reading: cores, parallel, launcher, terminal, files, memory.
"""

from minigan.system.files import remove_leftovers, write
from minigan.system.memory import keep_freed_memory
from minigan.system.parallel import ParallelError, world
from minigan.system.terminal import Quiet, bar, guarded, quiet
