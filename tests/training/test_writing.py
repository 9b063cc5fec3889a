"""What is written beside training is written in order, to the end, and not in silence where it fails."""

import threading

import pytest

from gha.training.writing import BackgroundWriter


def test_writes_happen_beside_the_caller_and_in_order():
    go, written = threading.Event(), []
    with BackgroundWriter() as writer:
        writer.write(lambda: (go.wait(10), written.append(1)))
        writer.write(lambda: written.append(2))
        assert written == []
        go.set()
        writer.finish()
        assert written == [1, 2]
        writer.write(lambda: written.append(3))
    assert written == [1, 2, 3]


def test_whoever_brings_more_than_may_be_in_memory_waits():
    running, most, lock = [0], [0], threading.Lock()

    def job(held):
        with lock:
            running[0] -= 1
        del held

    with BackgroundWriter(ahead=2) as writer:
        for _ in range(20):
            with lock:
                running[0] += 1
                most[0] = max(most[0], running[0])
            writer.write(lambda: job(bytearray(1)))
    assert running == [0]
    assert most[0] <= 3  # two, and the one that waits to be handed over


def test_an_error_is_raised_by_a_later_call():
    def fail():
        raise OSError("no space left")

    with BackgroundWriter() as writer:
        writer.write(fail)
        with pytest.raises(OSError, match="no space left"):
            writer.finish()
    forgotten = BackgroundWriter()
    forgotten.write(fail)
    with pytest.raises(OSError, match="no space left"):
        forgotten.__exit__(None, None, None)


def test_an_error_of_the_caller_is_the_one_that_is_raised_and_the_other_is_logged(caplog):
    written = []

    def fail():
        written.append(1)
        raise OSError("no space left")

    def err():
        with BackgroundWriter() as writer:
            writer.write(fail)
            raise KeyError

    with pytest.raises(KeyError):
        err()
    assert written == [1]
    assert "no space left" in caplog.text


def test_what_is_brought_after_a_failure_is_written_all_the_same():
    written = []

    def fail():
        raise OSError("no space left")

    with BackgroundWriter(ahead=1) as writer:
        writer.write(fail)
        with pytest.raises(OSError, match="no space left"):
            writer.write(lambda: written.append(1))
    assert written == [1]


def test_a_failure_can_be_asked_for_without_waiting():
    go = threading.Event()

    def fail():
        go.wait(10)
        raise OSError("no space left")

    with BackgroundWriter() as writer:
        writer.write(fail)
        writer.check()
        go.set()
        with pytest.raises(OSError, match="no space left"):
            writer.finish()
        writer.check()
