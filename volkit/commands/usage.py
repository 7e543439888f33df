"""The error that says: the command line itself is wrong."""

from volkit.choices import ParameterError

__all__ = ["UsageError"]


class UsageError(ParameterError):
    """Options or arguments that cannot mean anything, whatever the files hold; the command ends with status 2."""
