"""``python -m vrft``, the same as ``vrft``: ``accelerate launch -m vrft train ...`` needs it."""

import sys

from vrft.cli.commands import main

# Worker processes that are spawned import this module again; they must not run the command.
if __name__ == "__main__":
    sys.exit(main())
