"""The one exception that a user's mistake raises."""


class PilotageError(ValueError):
    """Bad input, told in one sentence that names the setting, the value and what is allowed.

    The command line prints the sentence and exits with status 2; no traceback is shown.
    """
