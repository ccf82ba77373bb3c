"""What 10^9 conversations take: the page says what the script computes, and the model what was measured of bytes."""

from bench.billion import MEASURED, Prices, Unit, measured, plan, told

from .stores import ROOT

PAGE = ROOT / "docs" / "explanation" / "a-billion-conversations.md"


def test_the_page_has_the_table_that_the_script_prints() -> None:
    assert told() in PAGE.read_text()


def test_what_is_doubled_takes_twice_as_much() -> None:
    one, two = plan(1e8), plan(2e8)
    assert (two.turns_a_second, two.terabytes) == (2 * one.turns_a_second, 2 * one.terabytes)
    assert plan(1e9, prices=Prices(copies=1)).dollars_a_month * 3 == plan(1e9).dollars_a_month
    assert plan(10).databases == plan(10).cores == 1
    assert plan(1e9, Unit(0.0, MEASURED.bytes_a_turn, 0.0)).cores == 1


def test_two_databases_have_little_more_than_one_of_the_same_conversations() -> None:
    one, two = (measured(databases, 20).bytes_a_turn for databases in (1, 2))
    assert 0.9 < two / one < 2.5  # each has tables and pages of its own, which so few conversations do not fill
