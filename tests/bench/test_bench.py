"""The instrument itself: its arithmetic, what it writes down, and a round against a server."""

from pathlib import Path

import pytest

from bench import figures, report
from bench.figures import Measured, Section, at_least, at_most
from bench.load import Load, Refused, post
from bench.rounds import interleaved
from bench.servers import House
from local.servers import Pair


def test_figures() -> None:
    assert figures.spread([3.0, 1.0, 2.0]) == (2.0, 1.0, 3.0)
    assert figures.ratios([2.0, 9.0], [1.0, 3.0]) == [2.0, 3.0]
    assert figures.exponent([1, 10, 100], [5, 50, 500]) == pytest.approx(1.0)
    assert figures.exponent([1, 10, 100], [5, 500, 50_000]) == pytest.approx(2.0)
    assert figures.exponent([1, 10, 100], [7, 7, 7]) == pytest.approx(0.0)
    hundred = [float(number) for number in range(1, 101)]
    assert [figures.quantile(hundred, part) for part in (0.5, 0.99, 1.0)] == [50.0, 99.0, 100.0]
    assert figures.quantile([4.0], 0.99) == 4.0


def test_a_target_says_by_how_much_it_is_missed() -> None:
    assert [at_least(0.9).told(value) for value in (0.9, 0.72)] == ["met", "**missed by 20%**"]
    assert [at_most(20).told(value) for value in (20, 30)] == ["met", "**missed: 1.5 times as much**"]
    section = Section("Reads", "How.")
    section.lines += [
        Measured("a", "the limit", [0.8, 0.95, 0.85], at_least(0.9)),
        Measured("b", "the limit", [1.0], at_least(0.9)),
        Measured("time", "", [250.0], None, " ms"),
    ]
    assert [line.what for line in section.missed] == ["a"]
    assert report.written(section).splitlines()[4:9] == [
        "| what | beside | median | range | target | |",
        "|---|---|---|---|---|---|",
        "| a | the limit | 0.85× | 0.80–0.95 | ≥ 0.9× | **missed by 6%** |",
        "| b | the limit | 1.00× |  | ≥ 0.9× | met |",
        "| time |  | 250 ms |  |  |  |",
    ]


def test_what_was_not_measured_now_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report, "RESULTS", tmp_path / "RESULTS.md")
    report.keep({"Reads": "## Reads\n\nfirst\n", "Jobs": "## Jobs\n\nfirst\n"})
    report.keep({"Reads": "## Reads\n\nsecond\n"})
    assert report.RESULTS.read_text() == f"{report.HEAD}\n## Reads\n\nsecond\n\n## Jobs\n\nfirst\n"


def test_rounds_are_taken_in_turns() -> None:
    seen: list[str] = []
    told = interleaved({name: lambda name=name: seen.append(name) for name in "abc"}, 3)  # type: ignore[misc]
    assert "".join(seen) == "abcbcacab"
    assert {name: len(rounds) for name, rounds in told.items()} == {"a": 3, "b": 3, "c": 3}


def test_a_round_counts_answers_and_no_refusal(servers: Pair, tmp_path: Path) -> None:
    load = Load()
    try:
        house = House(servers, load, tmp_path)
        with house.asgi("bench.limit:app", {"DATABASE_URL": servers.database_url}) as limit:
            asked = [post("/graphql", b'{"query":"{ __typename }"}')]
            assert load.run(limit.port, asked, 20, once=True).count == 1
            told = load.run(limit.port, asked, 0.1, connections=4)
            assert told.count == len(told.times) > 4
            assert limit.cpu > 0
            with pytest.raises(Refused):
                load.run(limit.port, [post("/nowhere", b"{}")], 1, connections=1, once=True)
    finally:
        load.close()
