"""Ctrl-C and SIGTERM as a question that training asks after every step."""

import signal
from types import FrameType
from typing import Self

INTERRUPTED = 130  # the exit status


class Interrupts:
    """Whether training should stop: asked after every step, it answers yes after Ctrl-C or SIGTERM.

    Before it was asked for the first time, and at a second Ctrl-C, the interrupt comes at once.
    """

    def __enter__(self) -> Self:
        self._asked, self._raised = False, False
        signals = (signal.SIGINT, signal.SIGTERM)
        self._before = {number: signal.signal(number, self._note) for number in signals}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def __call__(self) -> bool:
        """Whether a signal has come."""
        self._asked = True
        return self._raised

    def _note(self, number: int, frame: FrameType | None) -> None:
        if not self._asked or (self._raised and number == signal.SIGINT):
            raise KeyboardInterrupt
        self._raised = True
