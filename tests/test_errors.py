"""The exception for users' mistakes."""

from vrft.errors import UserError


def test_a_users_mistake_is_not_caught_with_pythons_own_errors() -> None:
    # Readers catch ValueError and OSError to explain them; a message that is already written for
    # the user must pass through them.
    assert not issubclass(UserError, ValueError | OSError | RuntimeError | KeyError)
