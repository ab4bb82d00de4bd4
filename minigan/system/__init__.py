"""What a program owes the machine that it runs on.

Files are written in one instant, and nothing that only prints ends a run. Neither knows of
tensors, so this floor is open to everything that shows a bar or writes a file.
"""

from minigan.system.files import remove_leftovers, write
from minigan.system.terminal import Quiet, bar, guarded, quiet

__all__ = ["Quiet", "bar", "guarded", "quiet", "remove_leftovers", "write"]
