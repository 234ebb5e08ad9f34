"""``vrft`` that makes the logits of four tokens at a time: devices do so differently often."""

import sys

from vrft.cli.commands import main
from vrft.policy import logprobs

logprobs.CHUNK = 4
if __name__ == "__main__":
    sys.exit(main())
