"""The rate of a training is that of the last two minutes, and is not made up."""

from postq.learning.encoder.training.pace import Pace


def test_the_rate_is_that_of_the_last_two_minutes() -> None:
    now = 0.0
    pace = Pace(lambda: now)
    # An hour at one document a second, then two minutes at five
    done = 0
    for seconds, each in ((3600, 1), (120, 5)):
        for _ in range(seconds // 10):
            now += 10
            done += each * 10
            rate = pace.after(done)
    assert rate == 5


def test_the_first_report_and_a_restarted_window_have_no_rate() -> None:
    now = 10.0
    pace = Pace(lambda: now)
    assert pace.after(400) == 0
    now = 12.0
    assert pace.after(384) == 0
