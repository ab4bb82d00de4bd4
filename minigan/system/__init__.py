"""What a program owes the machine it runs on.

Whole files, text that never ends a run, and memory that is used again.

In the order of reading: terminal, files, memory.
"""

from minigan.system.files import remove_leftovers, write
from minigan.system.memory import keep_freed_memory
from minigan.system.terminal import Quiet, bar, guarded, quiet
