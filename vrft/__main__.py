"""``python -m vrft`` is ``vrft``; launchers use it: ``accelerate launch -m vrft train ...``."""

import sys

from vrft.cli.commands import main

if __name__ == "__main__":
    sys.exit(main())
