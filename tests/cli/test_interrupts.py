"""Ctrl-C is heeded wherever it arrives."""

from __future__ import annotations

import os
import signal
import weakref
from threading import Thread

import pytest

from gradcheck_cli.cli.interrupts import Interrupts, interrupts


class Thing:
    """What a weak reference can point to."""


def press(_: object = None, number: int = signal.SIGINT) -> None:
    os.kill(os.getpid(), number)
    for _ in range(1000):  # the handler runs between two instructions
        pass


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_is_raised_at_once_where_it_can_be(number: int) -> None:
    with interrupts(), pytest.raises(KeyboardInterrupt):
        press(number=number)


def test_a_pipeline_that_sends_both_asks_once() -> None:
    with interrupts():
        with pytest.raises(KeyboardInterrupt):
            press()
        press(number=signal.SIGTERM)
        with pytest.raises(KeyboardInterrupt):  # but a person who presses again means it
            press()


def test_what_a_callback_drops_is_raised_again(capsys: pytest.CaptureFixture[str]) -> None:
    thing = Thing()
    reference = weakref.ref(thing, press)
    with interrupts() as interrupted:
        del thing
        assert reference() is None
        with pytest.raises(KeyboardInterrupt):
            interrupted()
    assert capsys.readouterr().err == ""


def test_the_first_waits_until_what_is_begun_is_done() -> None:
    done = []

    def work(interrupted: Interrupts) -> None:
        with interrupted.held():
            press()
            done.append(1)

    with interrupts() as interrupted:
        for _ in range(2):  # a second Ctrl-C doesn't wait
            with pytest.raises(KeyboardInterrupt):
                work(interrupted)
    assert done == [1]


def test_nothing_is_raised_where_nobody_asked() -> None:
    asking = (signal.SIGINT, signal.SIGTERM)
    before = [signal.getsignal(number) for number in asking]
    with interrupts() as interrupted:
        interrupted()
        assert not {signal.getsignal(number) for number in asking} & {*before}
    assert [signal.getsignal(number) for number in asking] == before


def test_other_threads_have_no_signals() -> None:
    found: list[bool] = []

    def work() -> None:
        with interrupts() as interrupted:
            interrupted()
            found.append(True)

    thread = Thread(target=work)
    thread.start()
    thread.join()
    assert found == [True]
