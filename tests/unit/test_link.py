"""The link's rules: waits as OCPP has them, a dead line is noticed, a good one is left alone."""

from agent.net import link
from agent.net.link import CONNECT, DROP, NOTHING, PING, BackOff, Link


def most(n):
    """A random source that always draws the highest number."""
    return n


def back_off(minimum_s=3, range_s=2, repeat=2, random=most):
    return BackOff(minimum_s, range_s, repeat, random)


def connected(keepalive_s=60):
    """A link that came up at 2,000 ms."""
    one = Link(back_off(), keepalive_s, 0)
    one.poll(2_000)
    one.up(2_000)
    return one


def run(one, start_ms, end_ms, answers=False, step_ms=100):
    """Poll until something else than NOTHING: (when, what); a live line answers pings."""
    for now_ms in range(start_ms, end_ms + 1, step_ms):
        asked = one.poll(now_ms)
        if asked == PING and answers:
            one.sent(now_ms, False)
            one.heard(now_ms, False)
        elif asked != NOTHING:
            return now_ms, asked
    return end_ms, NOTHING


def test_waits_double_so_many_times_and_stay():
    waits = back_off()
    assert [waits.next_ms() for _ in range(5)] == [5_000, 8_000, 14_000, 14_000, 14_000]
    waits.reset()
    assert waits.next_ms() == 5_000


def test_waits_without_luck_are_the_minimum():
    waits = back_off(random=lambda n: 0)
    assert [waits.next_ms() for _ in range(4)] == [3_000, 6_000, 12_000, 12_000]


def test_the_first_try_waits_for_the_random_part_only():
    one = Link(back_off(), 60, 1_000)
    assert one.wait_ms(1_000) == 2_000
    assert one.poll(2_999) == NOTHING
    assert one.poll(3_000) == CONNECT
    assert (one.state, one.wait_ms(3_000)) == (link.CONNECTING, 0)
    assert one.poll(3_000) == NOTHING


def test_a_broker_that_refuses_is_asked_ever_more_rarely():
    one = Link(back_off(), 60, 0)
    tries = []
    now_ms = 0
    for _ in range(4):
        now_ms, asked = run(one, now_ms, now_ms + 60_000, step_ms=1)
        assert asked == CONNECT
        tries.append(now_ms)
        one.down(now_ms, "refused")
    assert tries == [2_000, 7_000, 15_000, 29_000]
    assert (one.state, one.reason) == (link.BACKING_OFF, "refused")


def test_a_connection_that_is_not_made_in_time_is_given_up():
    one = Link(back_off(), 60, 0)
    one.poll(2_000)
    assert run(one, 2_000, 60_000) == (2_000 + link.CONNECT_TIMEOUT_MS, DROP)
    assert one.state == link.STALLED and "no connection within" in one.reason
    one.down(22_000, "closed")
    assert "no connection within" in one.reason
    assert one.wait_ms(22_000) == 5_000  # it never was a good one: the full wait


def test_a_quiet_line_is_asked_before_the_broker_loses_patience():
    one = connected(keepalive_s=60)
    one.heard(2_100, False)
    run(one, 2_100, 5_000, answers=True)  # the question after coming up
    assert run(one, 5_000, 200_000) == (4_100 + 45_000, PING)


def test_a_line_on_which_only_we_talk_is_asked_too():
    one = connected()
    for now_ms in range(3_000, 30_000, 1_000):
        one.sent(now_ms, True)
        asked = one.poll(now_ms)
        if asked == PING:
            break
    assert (now_ms, asked) == (4_000, PING)


def test_a_silence_after_traffic_is_questioned_once():
    one = connected()
    one.heard(2_000, True)
    assert run(one, 2_000, 60_000) == (2_000 + link.PROBE_MS, PING)
    one.sent(4_000, False)
    one.heard(4_100, False)
    assert run(one, 4_100, 40_000) == (40_000, NOTHING)
    one.sent(40_000, True)
    assert run(one, 40_000, 60_000) == (42_000, PING)
    one.heard(42_100, False)
    one.heard(50_000, True)
    assert run(one, 50_000, 60_000) == (52_000, PING)


def test_while_something_comes_nothing_is_asked():
    one = connected()
    for now_ms in range(2_000, 46_000, 1_900):
        one.heard(now_ms, True)
        assert one.poll(now_ms) == NOTHING
    assert one.state == link.CONNECTED


def test_a_dead_line_is_noticed_and_tried_again_at_once():
    one = connected()
    one.heard(60_000, True)
    one.sent(60_000, True)
    asked_ms, asked = run(one, 60_000, 90_000)
    assert (asked_ms, asked) == (60_000 + link.PROBE_MS, PING)
    one.sent(asked_ms, False)
    dropped_ms, asked = run(one, asked_ms, 90_000)
    assert (dropped_ms, asked) == (asked_ms + link.ANSWER_MS, DROP)
    assert (one.state, one.reason) == (link.STALLED, "silent for 6000 ms")
    assert one.poll(dropped_ms) == NOTHING
    one.down(dropped_ms, "closed by us")
    assert one.wait_ms(dropped_ms) == link.STALL_SPREAD_MS
    assert one.reason == "silent for 6000 ms"


def test_any_sign_of_life_answers_the_question():
    one = connected()
    asked_ms, _ = run(one, 2_000, 60_000)
    one.heard(asked_ms + link.ANSWER_MS - 1, False)
    assert run(one, asked_ms + link.ANSWER_MS, asked_ms + 40_000) == (asked_ms + 40_000, NOTHING)


def test_a_connection_that_lived_makes_the_waits_short_again():
    one = Link(back_off(), 60, 0)
    for now_ms in (2_000, 10_000, 20_000):
        assert one.poll(now_ms) == CONNECT
        one.down(now_ms, "refused")
    assert one.poll(40_000) == CONNECT
    one.up(40_000)
    one.down(40_000 + link.STEADY_MS, "reset by the broker")
    assert one.wait_ms(40_000 + link.STEADY_MS) == 5_000


def test_a_connection_that_breaks_at_once_is_no_good_one():
    one = connected()
    one.down(2_000 + link.STEADY_MS - 1, "reset")
    first_ms = one.wait_ms(2_000 + link.STEADY_MS - 1)
    one.poll(60_000)
    one.up(60_000)
    one.down(60_001, "reset")
    assert (first_ms, one.wait_ms(60_001)) == (5_000, 8_000)


def test_no_keepalive_no_ping():
    one = connected(keepalive_s=0)
    run(one, 2_000, 10_000, answers=True)
    assert run(one, 10_000, 1_000_000, step_ms=1000) == (1_000_000, NOTHING)


def test_the_table_leads_back_to_a_try_from_everywhere():
    for state in (link.CONNECTING, link.CONNECTED, link.STALLED, link.BACKING_OFF):
        assert link.TRANSITIONS[(state, link.DOWN)] == link.BACKING_OFF
