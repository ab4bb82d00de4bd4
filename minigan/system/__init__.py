"""What a program owes the machine it runs on: whole files, and text that never ends a run.

In the order of reading: terminal, files.
"""

from minigan.system.files import remove_leftovers, write
from minigan.system.terminal import Quiet, bar, guarded, quiet
