"""A clock that was set is noticed; one that merely runs is not."""

from hypothesis import given
from hypothesis import strategies as st

from smolmon.exporter.clock import StepWatch


class Clocks:
    """Two clocks that a test moves, in nanoseconds."""

    def __init__(self):
        self.wall, self.monotonic = 1_700_000_000_000_000_000, 5_000_000_000
        self.watch = StepWatch(lambda: self.wall, lambda: self.monotonic)

    def wait(self, seconds, drift=0.0):
        self.monotonic += round(seconds * 1e9)
        self.wall += round(seconds * (1 + drift) * 1e9)


@given(st.lists(st.tuples(st.floats(0, 100), st.floats(-4e-4, 4e-4))))
def test_time_that_passes_is_no_step(intervals):
    clocks = Clocks()
    for seconds, drift in intervals:
        clocks.wait(seconds, drift)
        assert clocks.watch.check() == 0
    assert clocks.watch.steps == 0


@given(st.floats(0, 2), st.floats(0.002, 1e6), st.booleans())
def test_a_step_is_noticed_once_and_measured(seconds, size, back):
    clocks = Clocks()
    clocks.wait(seconds)
    clocks.wall += round((-size if back else size) * 1e9)
    assert abs(clocks.watch.check() - (-size if back else size)) < 1e-6
    clocks.wait(seconds)
    assert clocks.watch.check() == 0
    assert clocks.watch.steps == 1


def test_a_process_that_is_held_up_while_it_reads_sees_no_step():
    """Taken off the processor between the two clocks for 50 ms, all but once."""
    pauses = iter([0] * 3 + [50_000_000, 0] * 3 + [0] * 50)
    now = [10**9]

    def read():
        now[0] += 100
        return now[0]

    def monotonic():
        value = read()
        now[0] += next(pauses)
        return value

    watch = StepWatch(lambda: read() + 10**18, monotonic)
    for _ in range(4):
        assert watch.check() == 0
