"""The error that says: the command line itself is wrong."""

__all__ = ["UsageError"]


class UsageError(ValueError):
    """Options or arguments that cannot mean anything, whatever the files hold; the command ends with status 2."""
