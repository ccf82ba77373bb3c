"""What 10^9 conversations take: a cost model, and measurements of 1, 2 and 4 databases that it is checked against.

python -m bench.billion             # the model, from the constants here: no clock, always the same
python -m bench.billion --measure   # 1, 2 and 4 SQLite databases on this machine, beside what the model says
"""

import sys
import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from lastresort import Conversations, open_conversations

TURNS = 10  # of a conversation: a user's and a model's, in turn
WORDS = "x" * 200
SECONDS_A_YEAR = 365 * 86_400


class Unit(NamedTuple):
    """What was measured of one database. `bench.billion --measure` measures it again."""

    cpu_us_a_turn: float
    bytes_a_turn: float
    ms_a_page: float


class Prices(NamedTuple):
    """What is paid, in US dollars. They are assumptions: put yours here."""

    core_month: float = 30.0
    gigabyte_month: float = 0.10
    copies: int = 3  # a quorum of three nodes; each has all, and as many cores


class Plan(NamedTuple):
    """What so many conversations take, kept for a year in which they come evenly."""

    databases: int
    turns_a_second: float
    cores: float
    terabytes: float
    dollars_a_month: float
    ms_a_page: float


ASSUMED = Prices()
MEASURED = Unit(cpu_us_a_turn=940.0, bytes_a_turn=880.0, ms_a_page=1.05)
PEAK = 4.0  # times the mean rate, at the busiest hour
BUSY = 0.5  # of a core that may be used at the peak
LARGEST = 0.5  # terabytes that a database may have: what is backed up, restored and moved in hours


def plan(conversations: float, unit: Unit = MEASURED, prices: Prices = ASSUMED) -> Plan:
    """Return what the model says of so many conversations a year."""
    turns = conversations * TURNS
    rate = turns / SECONDS_A_YEAR
    cores = max(1.0, rate * PEAK * unit.cpu_us_a_turn / 1e6 / BUSY)
    terabytes = turns * unit.bytes_a_turn / 1e12
    databases = max(1, round(0.5 + terabytes / LARGEST))
    dollars = prices.copies * (cores * prices.core_month + terabytes * 1_000 * prices.gigabyte_month)
    return Plan(databases, rate, cores, terabytes, dollars, databases * unit.ms_a_page)


def told(sizes: Sequence[float] = (1e6, 1e7, 1e8, 1e9)) -> str:
    """Return the model as a table."""
    lines = ["conversations  databases  turns/s  cores      TB  $/month  ms/page"]
    for size in sizes:
        one = plan(size)
        lines.append(
            f"{size:13,.0f}  {one.databases:9,}  {one.turns_a_second:7,.1f}  {one.cores:5,.1f}  {one.terabytes:6,.3f}  "
            f"{one.dollars_a_month:7,.0f}  {one.ms_a_page:7,.0f}"
        )
    return "\n".join(lines)


def measured(databases: int, conversations: int) -> Unit:
    """Write conversations to so many databases, and measure."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "shards.toml"
        step = 256 // databases
        path.write_text(
            "".join(
                f'[[shard]]\nrange = "{step * one}-{step * one + step - 1}"\nurl = "sqlite:///{one}.db"\n'
                for one in range(databases)
            )
        )
        with open_conversations(str(path)) as chats:
            begun = time.process_time()
            for _ in range(conversations):
                _talk(chats)
            cpu = time.process_time() - begun
            chats.list(limit=50)  # which brings the directory up to date
            begun = time.process_time()
            for _ in range(20):
                chats.list(limit=50)
            page = (time.process_time() - begun) / 20
        size = sum(one.stat().st_size for one in Path(folder).glob("*.db*"))
    turns = conversations * TURNS
    return Unit(cpu * 1e6 / turns, size / turns, page * 1e3)


def _talk(chats: Conversations) -> None:
    chat = chats.start(model="m", account="somebody")
    for _ in range(TURNS // 2):
        chat.user_turn(WORDS)
        chat.assistant_turn(WORDS)


def main() -> None:
    """Print the model, or the measurements beside it."""
    if "--measure" not in sys.argv:
        print(told())
        return
    found = {databases: measured(databases, 300) for databases in (1, 2, 4)}
    print("databases  us/turn  model  bytes/turn  model  ms/page  model")
    for databases, one in found.items():
        of_one = found[1]
        print(
            f"{databases:9}  {one.cpu_us_a_turn:7.0f}  {of_one.cpu_us_a_turn:5.0f}  {one.bytes_a_turn:10.0f}  "
            f"{of_one.bytes_a_turn:5.0f}  {one.ms_a_page:7.2f}  {of_one.ms_a_page * databases:5.2f}"
        )


if __name__ == "__main__":
    main()
