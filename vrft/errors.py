"""The exceptions for mistakes that a user can mend."""


class UserError(Exception):
    """A mistake in the user's input, as one line: what is wrong, in which file or row, what to do.

    The command line prints the line without a traceback and exits with status 2. Any other
    exception is a bug and keeps its traceback.
    """


class PictureError(UserError):
    """A picture that cannot be read; ``data.on_bad_picture`` says what a run makes of its sample.

    No other mistake may be raised as one: samples are left out for it.
    """
