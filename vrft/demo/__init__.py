"""The embedded demo: pictures, a tiny model, and the commands that made them."""
