"""A kernel timer that an event loop can wait for (timerfd_create(2)): event loops themselves count in milliseconds."""

from __future__ import annotations

import ctypes
import os
import time

_CLOCK_MONOTONIC = 1
_TFD_NONBLOCK, _TFD_CLOEXEC = 0o4000, 0o2000000
_TFD_TIMER_ABSTIME = 1
_BILLION = 1_000_000_000


class _Timespec(ctypes.Structure):
    _fields_ = (("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long))


class _Itimerspec(ctypes.Structure):
    _fields_ = (("interval", _Timespec), ("value", _Timespec))


class Timer:
    """Becomes readable at a time of `time.monotonic_ns`. Close it after use. Raises OSError where there is none."""

    def __init__(self) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)
        self.fd: int = self._libc.timerfd_create(_CLOCK_MONOTONIC, _TFD_NONBLOCK | _TFD_CLOEXEC)
        if self.fd < 0:
            raise OSError(ctypes.get_errno(), "timerfd_create")
        self._spec = _Itimerspec()
        self._address = ctypes.byref(self._spec)

    def set(self, at_ns: int) -> None:
        """Become readable at that time, at once if it has passed."""
        # A value of zero would disarm it.
        seconds, nanoseconds = divmod(max(at_ns, 1), _BILLION)
        self._spec.value.seconds, self._spec.value.nanoseconds = seconds, nanoseconds
        if self._libc.timerfd_settime(self.fd, _TFD_TIMER_ABSTIME, self._address, None) < 0:
            raise OSError(ctypes.get_errno(), "timerfd_settime")

    def clear(self) -> None:
        """Read what made it readable."""
        try:
            os.read(self.fd, 8)
        except BlockingIOError:
            return

    def close(self) -> None:
        """Give the descriptor back."""
        os.close(self.fd)


def now_ns() -> int:
    """The timer's clock."""
    return time.monotonic_ns()
