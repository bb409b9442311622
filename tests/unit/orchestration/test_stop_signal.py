"""Ctrl-C: once politely, twice at once."""

import os
import signal

import pytest

from pgpo_async.orchestration.stop_signal import StopSignal


def press():
    os.kill(os.getpid(), signal.SIGINT)


def test_the_first_signal_in_a_step_asks_and_the_second_interrupts():
    said = []
    with StopSignal(said.append) as stop:
        stop.polite(True)
        press()
        assert stop.requested
        assert "SIGINT" in said[0]
        with pytest.raises(KeyboardInterrupt):
            press()


def test_outside_a_step_the_first_signal_interrupts():
    with StopSignal(print) as stop, pytest.raises(KeyboardInterrupt):
        press()
    assert stop.requested


def test_the_former_handlers_come_back():
    before = signal.getsignal(signal.SIGTERM)
    with StopSignal(print):
        assert signal.getsignal(signal.SIGTERM) != before
    assert signal.getsignal(signal.SIGTERM) == before
