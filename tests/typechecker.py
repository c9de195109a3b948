"""The type checker of the test run."""

from collections.abc import Callable
from typing import Any

from beartype import BeartypeConf, beartype

# an int is fine where a float is asked for
_checked = beartype(conf=BeartypeConf(is_pep484_tower=True))


def check(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function with its annotations enforced.

    Constructors are left alone: what they say of a setting of the wrong type is itself under test.
    """
    return function if function.__name__ == "__init__" else _checked(function)
