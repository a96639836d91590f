"""What signals ask of a server: to end, or to start anew. An order to end is the last word.

No order is lost, whenever it comes. From the first line of the program on a restart waits until
it can be obeyed; a server that starts anew lets all orders wait until the next program has begun,
and ends there if one of them says so.
"""

import os
import signal
from collections.abc import Callable

RESTART_SIGNAL = signal.SIGUSR1
_ENDING = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP}


def begin() -> bool:
    """Call it first of all; False when an order to end came while the program was started anew."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {RESTART_SIGNAL})
    if any(number in _ENDING for number in signal.sigpending()):
        return False
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _ENDING)
    return True


class Orders:
    """The orders that came so far. Only for the main thread."""

    def __init__(self) -> None:
        self.wants_restart = False
        self.wants_end = False
        self.is_in_a_hurry = False
        """An order to end came twice."""
        self._is_served = False

    def take(self, obey: Callable[[], object]) -> None:
        """From now on call `obey` after each, between any two lines; those that waited come first.

        Ctrl-C, SIGTERM and a terminal that closes are orders to end. Under nohup, which ignores
        it, the terminal may close.
        """

        def note(number: int, _frame: object) -> None:
            if self._is_served:
                self._late(number)
            else:
                self._note(number)
                obey()

        for number in (*_ENDING, RESTART_SIGNAL):
            if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:
                signal.signal(number, note)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {*_ENDING, RESTART_SIGNAL})

    def served(self) -> None:
        """Nothing is left to be ended in good order: another order to end is obeyed at once."""
        self._is_served = True

    def hold_back(self) -> bool:
        """Let what comes from now on wait for the next program; whether one is to be started."""
        signal.pthread_sigmask(signal.SIG_BLOCK, {*_ENDING, RESTART_SIGNAL})
        return self.wants_restart

    def _note(self, number: int) -> None:
        if number == RESTART_SIGNAL:
            self.wants_restart = not self.wants_end
            return
        self.is_in_a_hurry = self.wants_end
        self.wants_end, self.wants_restart = True, False

    def _late(self, number: int) -> None:
        if number != RESTART_SIGNAL:
            os._exit(0)
        self._note(number)
