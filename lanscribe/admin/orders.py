"""Orders to a server by signal: to end, or to restart. Nothing overrules an order to end.

No order is lost, whenever it comes. From the first line of the program, a restart order is held
until it can be obeyed. A restarting server holds all orders until the next program has begun, and
ends there if one of them says so.
"""

import os
import signal
from collections.abc import Callable

RESTART_SIGNAL = signal.SIGUSR1
_ENDING = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP}


def begin() -> bool:
    """Hold restart orders; False if an order to end came during a restart. To be called first."""
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
        """Whether an order to end came twice."""
        self._is_served = False

    def take(self, obey: Callable[[], object]) -> None:
        """Call `obey` after each order from now on, between any two lines; held orders come first.

        Ctrl-C, SIGTERM and a closing terminal (SIGHUP) are orders to end. Under nohup, which
        ignores SIGHUP, the terminal may close.
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
        """Note that serving has ended: a further order to end exits the process at once."""
        self._is_served = True

    def withdraw_restart(self) -> None:
        """Forget the order to restart, because it cannot be obeyed."""
        self.wants_restart = False

    def hold_back(self) -> bool:
        """Hold all orders from now on for the next program; return whether to start one."""
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
