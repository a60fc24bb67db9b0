"""No path of moves does what must never happen."""

from hypothesis import given
from hypothesis import strategies as st

from models.rules.lifecycle import LIFTED_BY, MOVES, STANDING, TERMINAL, Cause, Status, move

paths = st.lists(st.sampled_from(Cause), max_size=30)


@given(st.sampled_from(Status), paths)
def test_no_path_of_moves_leaves_an_ended_membership(start: Status, path: list[Cause]) -> None:
    status = start
    for cause in path:
        leads_to = move(status, cause) or status
        assert leads_to is status or status not in TERMINAL
        status = leads_to


@given(st.sampled_from(Status), st.sampled_from(Cause))
def test_a_repeated_cause_changes_nothing(status: Status, cause: Cause) -> None:
    once = move(status, cause)
    if once is not None:
        assert once is not status
        assert move(once, cause) is None


@given(paths)
def test_only_what_answers_a_suspension_opens_the_door_again(path: list[Cause]) -> None:
    status, suspended_for = Status.ACTIVE, None
    for cause in path:
        leads_to = move(status, cause, suspended_for)
        if leads_to is None:
            continue
        if status is Status.SUSPENDED and STANDING[leads_to].enters:
            assert suspended_for is not None
            assert cause in LIFTED_BY[suspended_for]
        status, suspended_for = leads_to, cause if leads_to is Status.SUSPENDED else None


def test_every_state_can_be_reached_and_every_cause_moves_something() -> None:
    reached, frontier = set[Status](), {Status.PENDING}
    while frontier:
        reached |= frontier
        frontier = {leads_to for (status, _), leads_to in MOVES.items() if status in reached} - reached
    assert reached == set(Status)
    assert {cause for _, cause in MOVES} == set(Cause)


def test_whoever_enters_is_billed_and_is_active_to_the_course_system() -> None:
    assert all(standing.bills and standing.coursepro == "Active" for standing in STANDING.values() if standing.enters)
    assert not any(STANDING[status].bills or STANDING[status].enters for status in TERMINAL)
