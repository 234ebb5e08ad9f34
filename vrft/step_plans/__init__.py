"""``vrft plan``: what a training step holds and takes, rehearsed on the shape of its model."""
