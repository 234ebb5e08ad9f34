"""``vrft`` with logits for four tokens at a time, so that devices make them in different numbers."""

import sys

from vrft import logprobs
from vrft.cli import main

logprobs.CHUNK = 4
if __name__ == "__main__":
    sys.exit(main())
