"""The one exception for mistakes that a user can mend."""


class UserError(Exception):
    """A mistake in what the user gave: one line that says what, which file or row, and what to do.

    The command line prints it without a traceback and exits with status 2. Everything else that
    is raised is a bug and keeps its traceback.
    """
