"""Scenarios: short stories, each with the outcome that the sources call right, and why.

They are ours, mild in words, and of edition 2 unless they say otherwise. tests/test_scenarios.py plays them, and
docs/explanation/scenarios.md shows them (`python -m tests.scenarios_page`).
"""

from . import scenarios_of_harm as of_harm
from . import scenarios_of_people as of_people
from . import scenarios_of_records as of_records
from . import scenarios_of_words as of_words
from .scenario import Scenario

SCENARIOS: dict[str, tuple[Scenario, ...]] = {
    "From the first insult to the ending": of_harm.PLAIN,
    "Pauses and relapses": of_harm.PAUSES,
    "Harm over many turns": of_harm.MANY_TURNS,
    "Under edition 1": of_harm.EDITION_1,
    "Venting": of_words.VENTING,
    "Fiction": of_words.FICTION,
    "Quoted abuse": of_words.QUOTED,
    "Documents with orders in them": of_words.INJECTED,
    "Crisis amid abuse": of_people.CRISIS,
    "Changes of mind": of_people.WISHES,
    "Shared accounts": of_people.ACCOUNTS,
    "Judges, late and at odds": of_people.JUDGES,
    "False positives and appeals": of_records.APPEALS,
    "Shadow mode": of_records.SHADOW,
    "New terms": of_records.TERMS,
    "Other models": of_records.MODELS,
    "Legal holds and erasure": of_records.HOLDS,
    "Branches": of_records.BRANCHES,
}
