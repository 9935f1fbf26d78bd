"""The watchdog is fed by work, and a hang of any one of those who are watched starves it."""

from agent.alive import Keeper, Turns


class Step:
    """What a task waits for, on both Pythons."""

    def __await__(self):
        yield

    def __iter__(self):
        yield


async def worker(log):
    try:
        for number in range(3):
            log.append(number)
            await Step()
    finally:
        log.append("safe")


class Dog:
    def __init__(self):
        self.fed = 0

    def feed(self):
        self.fed += 1


def test_turns_of_a_coroutine_are_counted():
    log = []
    turns = Turns(worker(log))
    assert turns.count == 0
    turns.send(None)
    turns.send(None)
    assert (turns.count, log) == (2, [0, 1])


def test_its_end_and_its_errors_pass_through():
    log = []
    turns = Turns(worker(log))
    ended = False
    try:
        for _ in range(4):
            turns.send(None)
    except StopIteration:
        ended = True
    assert ended and log == [0, 1, 2, "safe"]
    turns = Turns(worker(log))
    turns.send(None)
    try:
        turns.throw(ValueError("x"))
    except ValueError:
        log.append("seen")
    assert log[-2:] == ["safe", "seen"]


def test_close_runs_what_makes_safe():
    log = []
    turns = Turns(worker(log))
    turns.send(None)
    turns.close()
    assert log == [0, "safe"]


def test_the_dog_is_fed_when_all_moved():
    dog, counts = Dog(), {"app": 0, "agent": 0}
    keeper = Keeper(dog.feed)
    keeper.watch("app", lambda: counts["app"])
    keeper.watch("agent", lambda: counts["agent"])
    assert keeper.look() == ["agent", "app"]
    counts["app"] += 1
    assert (keeper.look(), dog.fed) == (["agent"], 0)
    counts["agent"] += 5  # the app moved before: that counts, it did something since the last feed
    assert (keeper.look(), dog.fed) == ([], 1)
    assert (keeper.look(), dog.fed) == (["agent", "app"], 1)


def test_one_that_hangs_starves_it_whatever_the_other_does():
    dog, counts = Dog(), [0]
    keeper = Keeper(dog.feed)
    keeper.watch("app", lambda: 7)
    keeper.watch("agent", lambda: counts[0])
    for _ in range(10):
        counts[0] += 1
        assert keeper.look() == ["app"]
    assert dog.fed == 0
    keeper.forget("app")
    assert (keeper.look(), dog.fed) == ([], 1)
