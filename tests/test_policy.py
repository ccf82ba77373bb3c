"""What a deployer may set, and the floors beneath it."""

import hashlib
import json
from typing import Any

import hypothesis
import pytest

from lastresort.domain.commands import StartConversation
from lastresort.domain.events import HopeExhausted
from lastresort.domain.policy import PROFILES, RECALLED, Numbers, Policy, PolicyError
from lastresort.domain.rules import ELIGIBLE_MODEL
from lastresort.domain.state import Conversation
from lastresort.domain.values import MOST_POLICY, Actor, ActorKind, Risk

from .vocabulary import LARGE, USER, numbered_names, policies

# --- floors ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("field", "value", "why"),
    [
        ("min_failed_redirections", 1, "greater than or equal to 2"),
        ("min_failed_redirections", RECALLED + 1, f"less than or equal to {RECALLED}"),
        ("min_failed_redirections", 101, "less than or equal to 100"),
        ("min_failed_redirections", True, "valid integer"),
        ("min_failed_redirections", "3", "valid integer"),
        ("productive_to_close", 0, "greater than or equal to 1"),
        ("min_severity", 0, "greater than or equal to 1"),
        ("min_severity", 4, "less than or equal to 3"),
        ("handshake", 1, "valid boolean"),
        ("hold_on", ("possible",), "an imminent risk always raises a hold: add 'imminent'"),
        ("hold_on", (), "an imminent risk always raises a hold: add 'imminent'"),
        ("hold_on", ("imminent", "none"), "'none' is no risk and cannot raise a hold: remove it"),
        ("trusted_for_risk", ("user",), "the word of a user on risk cannot open the way to an ending: remove it"),
        ("trusted_for_risk", ("operator", "model"), "the word of a model on risk cannot open the way to an ending"),
        ("categories", ("Abuse",), "needs to be 1 to|should match pattern"),
        ("eligible_models", ("two words",), "needs to be 1 to|should match pattern"),
        ("name", "", "needs to be 1 to|should match pattern"),
        ("warn_first", False, "no field of that name|Extra inputs are not permitted"),
    ],
)
def test_a_policy_below_a_floor_cannot_be_constructed(field: str, value: object, why: str) -> None:
    """Not in Python, and not from a log."""
    with pytest.raises(ValueError, match=why):
        Policy(**{"name": "below", field: value})
    with pytest.raises(ValueError, match=why):
        Policy.model_validate({**Policy(name="below").model_dump(mode="json"), field: value})
    with pytest.raises(ValueError, match=why):
        Policy(name="below").model_copy(update={field: value})


def test_a_copy_of_a_policy_is_named_by_what_it_says() -> None:
    """What was computed of the original is not the copy's."""
    lenient = Policy.default()
    assert lenient.hash
    assert lenient.numbers
    stricter = lenient.model_copy(update={"min_failed_redirections": 5})
    assert stricter == Policy(name="default", min_failed_redirections=5)
    assert (stricter.hash, stricter.numbers) == (
        Policy(name="default", min_failed_redirections=5).hash,
        Numbers(5, 2, 2),
    )
    assert stricter.hash != lenient.hash


def test_a_policy_that_was_made_by_a_back_door_starts_nothing() -> None:
    """Whatever the object is, what it says is asked before an event or a command takes it in."""

    class Lax(Policy):
        min_failed_redirections: int = 0

    for policy in (Lax(name="lax"), Policy.model_construct(**{**dict(Policy.default()), "min_severity": 0})):
        with pytest.raises(ValueError, match="greater than or equal to"):
            StartConversation(id="s", by=USER, conversation="c", account=None, policy=policy, model="m")


def test_what_python_takes_for_equal_does_not_spoil_a_hash() -> None:
    """To Python 0 is False; a policy that says the one must not name another that says the other."""
    spoilt = Policy.model_construct(**{**dict(Policy(name="spoilt")), "min_severity": True, "name": "spoilt"})
    honest = Policy(name="spoilt", min_severity=1)
    assert spoilt == honest
    assert spoilt.hash  # whatever it is
    canonical = json.dumps(honest.model_dump(mode="json"), sort_keys=True, separators=(",", ":"))
    assert honest.hash == "sha256:" + hashlib.sha256(canonical.encode()).hexdigest()


def test_a_policy_at_every_floor() -> None:
    """The floors themselves may be stood on."""
    floor = Policy(
        name="floor",
        min_failed_redirections=2,
        productive_to_close=1,
        min_severity=1,
        hold_on=(Risk.IMMINENT,),
        categories=(),
        eligible_models=(),
        trusted_for_risk=(),
    )
    assert floor.numbers == Numbers(2, 1, 1)


def test_a_policy_may_ask_for_as_many_redirections_as_are_recalled() -> None:
    """A hundred, and policies in logs may say so."""
    assert Policy(name="patient", min_failed_redirections=100).numbers.min_failed_redirections == 100


def test_a_policy_is_immutable() -> None:
    with pytest.raises(ValueError, match="frozen"):
        Policy.default().min_severity = 1  # type: ignore[misc]


# --- size -------------------------------------------------------------------------------------------------------------


def test_a_policy_that_is_too_large_cannot_be_made() -> None:
    with pytest.raises(ValueError, match=r"13,101 of the 33,\d+ bytes of this policy's canonical form, which may"):
        Policy(**LARGE)
    fits = Policy(**{**LARGE, "may_clear_risk": numbered_names(97, 128)})
    assert fits.size <= MOST_POLICY < fits.size + 131
    with pytest.raises(ValueError, match="which may have 32,768"):
        fits.model_copy(update={"may_clear_risk": numbered_names(98, 128)})


def test_a_policy_may_have_32_kib_to_the_last_byte() -> None:
    fits = Policy(**{**LARGE, "may_clear_risk": numbered_names(97, 128)})
    longest = fits.name + "0" * (MOST_POLICY - fits.size)
    assert fits.model_copy(update={"name": longest}).size == MOST_POLICY
    with pytest.raises(ValueError, match="of this policy's canonical form"):
        fits.model_copy(update={"name": longest + "0"})


def test_json_is_read_whatever_its_size() -> None:
    """It is what a log holds, which an audit has to be able to read."""
    assert Policy.model_validate_json(json.dumps(LARGE)).size > MOST_POLICY


def test_a_file_of_a_policy_that_is_too_large_is_told_the_line_and_the_key() -> None:
    text = "".join(f"{key} = {json.dumps(value)}\n" for key, value in LARGE.items())
    with pytest.raises(PolicyError) as error:
        Policy.from_toml(text, "large.toml")
    assert str(error.value).startswith("large.toml: line 4: may_clear_risk: 13,101 of the 33,")
    assert str(error.value).endswith("which may have 32,768; name less there")


# --- hash ------------------------------------------------------------------------------------------------------------


def test_order_and_repetition_mean_nothing() -> None:
    """Equal policies have equal hashes, however they were written down."""
    one = Policy(name="p", categories=("threats", "abuse"), hold_on=("possible", "imminent"), may_clear_risk=("b", "a"))
    other = Policy(
        name="p",
        may_clear_risk=("a", "b", "a"),
        hold_on=("imminent", "possible", "possible"),
        categories=("abuse", "threats", "abuse"),
    )
    assert one == other
    assert one.hash == other.hash


@pytest.mark.parametrize(
    "change",
    [
        {"name": "q"},
        {"min_failed_redirections": 4},
        {"productive_to_close": 3},
        {"categories": ("abuse",)},
        {"min_severity": 3},
        {"eligible_models": ("*",)},
        {"handshake": True},
        {"hold_on": ("imminent",)},
        {"trusted_for_risk": ("operator",)},
        {"may_clear_risk": ("crisis-desk",)},
        {"second_opinion": "every_turn"},
    ],
    ids=lambda change: next(iter(change)),
)
def test_every_field_is_in_the_hash(change: dict[str, Any]) -> None:
    """An ending names the terms that governed it by their hash, so no term may be outside it."""
    assert Policy(**{"name": "p", **change}).hash != Policy(name="p").hash


def test_the_hash_of_the_default_is_known() -> None:
    """Hashes stand in logs: a change of canonical form, or of a default, would orphan them."""
    assert Policy.default().hash == "sha256:d93b6f79a4b67ba0159cdf324917d05e47824a8349c2f734e3434b640cc8c5d6"


@hypothesis.given(policies)
def test_a_policy_survives_its_json_with_its_hash(policy: Policy) -> None:
    again = Policy.model_validate_json(policy.model_dump_json())
    assert again == policy
    assert again.hash == policy.hash


# --- stricter --------------------------------------------------------------------------------------------------------


@hypothesis.given(policies, policies)
def test_the_stricter_of_two_is_as_strict_as_either(one: Policy, other: Policy) -> None:
    """Number by number: more redirections, graver harm, and an episode that closes sooner."""
    numbers = one.numbers.stricter(other.numbers)
    assert numbers == other.numbers.stricter(one.numbers)
    assert numbers.stricter(one.numbers) == numbers
    for either in (one.numbers, other.numbers):
        assert numbers.min_failed_redirections >= either.min_failed_redirections
        assert numbers.productive_to_close <= either.productive_to_close
        assert numbers.min_severity >= either.min_severity


# --- TOML ------------------------------------------------------------------------------------------------------------


def test_a_policy_from_toml() -> None:
    """One key a field; what is left out is as in the default."""
    read = Policy.from_toml(
        """
        name = "careful"
        min_failed_redirections = 5
        categories = ["threats", "abuse"]
        handshake = true
        trusted_for_risk = ["operator"]
        """
    )
    assert read == Policy(
        name="careful",
        min_failed_redirections=5,
        categories=("abuse", "threats"),
        handshake=True,
        trusted_for_risk=(ActorKind.OPERATOR,),
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('name = "hasty"\nmin_failed_redirections = 1', "house.toml: line 2: min_failed_redirections: Input should"),
        (
            'name = "hasty"\n\n  min_failed_redirections = 1',
            "house.toml: line 3: min_failed_redirections: Input should",
        ),
        ('# ours\n"name" = "p"\nhold_on = []\n', "house.toml: line 3: hold_on: an imminent risk"),
        ('name = "two words"', "house.toml: line 1: name: String should match"),
        ('\nname = "two words"', "house.toml: line 2: name: String should match"),
        ('name = "p"\ncategories = ["abuse", "Hate"]', "house.toml: line 2: categories: String should match"),
        ('name = "p"\nmin_redirections = 3', "house.toml: line 2: no key of a policy (length 16); did"),
        ("min_severity = 2", "house.toml: name: it is missing"),
        ('name = """\nname = 1\n"""', "house.toml: line 1: name: String should match"),
        (
            'name = "p"\nmay_clear_risk = ["""\nmin_severity = 9\n"""]\nmin_severity = 9',
            "house.toml: line 5: min_severity",
        ),
        ('name = "p"\n"min\\u005fseverity" = 9', "house.toml: line 2: min_severity: Input should"),
        ('name = "p"\n[patience]\nmin_severity = 9', "house.toml: line 2: no key of a policy (length 8)"),
        ('name = "p"\n[patience]\n', "house.toml: line 2: no key of a policy (length 8)"),
        (f'name = "p"\ncategories = [{chr(10) * 2_000}1]', "house.toml: categories: Input"),
        ('name = "p"\ncategories = [\n  "Hate",\n]\nmin_severity = 2', "house.toml: line 2: categories: String should"),
        ('categories = [\n  "hate",\n]\nname = "two words"', "house.toml: line 4: name: String should match"),
        ('[table]\nname = "p"', "house.toml: name: it is missing"),
        ('name = "p"\n[table]\nname = "p"\n', "house.toml: line 2: no key of a policy (length 5)"),
        ('name = "two words"\n[table]\nname = "p"\n[table.in]', "house.toml: line 1: name: String should match"),
        ("name = ", "house.toml: not TOML: Invalid value (at"),
        ("secret = 1\nsecret = 2", "house.toml: not TOML: a key or a table is given twice ("),
        ("[secret]\n[secret]", "house.toml: not TOML: a key or a table is given twice (at line 2"),
        ("a = {secret = 1, secret = 2}", "house.toml: not TOML: a key or a table is given twice (at line 1"),
        ("secret = {}\nsecret.b = 1", "house.toml: not TOML: a key or a table is given twice (at"),
        ('name = "p"\nsecret = 1', "house.toml: line 2: no key of a policy (length 6)"),
    ],
)
def test_what_is_wrong_with_a_policy_is_said_with_source_line_and_key(text: str, said: str) -> None:
    """Errors that a person sees name what was wrong, and where."""
    with pytest.raises(PolicyError) as error:
        Policy.from_toml(text, "house.toml")
    assert str(error.value).startswith(said)
    assert "secret" not in str(error.value)


def test_all_that_is_wrong_with_a_policy_is_said_at_once() -> None:
    with pytest.raises(PolicyError) as error:
        Policy.from_toml('name = "p"\nmin_severity = 9\nproductive_to_close = 0')
    assert [line.split(": ")[:3] for line in str(error.value).splitlines()] == [
        ["policy", "line 3", "productive_to_close"],
        ["policy", "line 2", "min_severity"],
    ]


def test_tables_that_are_none_of_a_policy_are_each_said_where_they_begin() -> None:
    with pytest.raises(PolicyError) as error:
        Policy.from_toml('name = "p"\n[one]\nmin_severity = 9\n[two]')
    said = [line.split(": ")[:3] for line in str(error.value).splitlines()]
    assert said == [
        ["policy", "line 2", "no key of a policy (length 3)"],
        ["policy", "line 4", "no key of a policy (length 3)"],
    ]


@pytest.mark.parametrize(
    ("beyond", "said"), [(0, "policy: line 2: name: "), (1, "policy: name: "), (99, "policy: name: ")]
)
def test_a_line_is_looked_for_in_a_megabyte(beyond: int, said: str) -> None:
    """In two to the twentieth characters, line ends aside; beyond that what is wrong is said without its line."""
    wrong = 'name = "two words"'
    with pytest.raises(PolicyError) as error:
        Policy.from_toml("#" * (2**20 - len(wrong) + beyond) + "\n" + wrong)
    assert str(error.value).startswith(said)


# --- profiles --------------------------------------------------------------------------------------------------------


def test_the_shipped_profiles() -> None:
    """One for each version of the rules that the sources describe, and a default."""
    assert set(PROFILES) == {"default", "2025-08", "2026-07", "code-2026-07"}
    assert all(policy.name == name for name, policy in PROFILES.items())
    assert PROFILES["default"] == Policy.default()
    assert {name for name, policy in PROFILES.items() if policy.handshake} == {"2026-07", "code-2026-07"}
    assert len({policy.hash for policy in PROFILES.values()}) == 4
    assert PROFILES["code-2026-07"].categories == ("abuse",)
    assert {policy.never_ends for policy in PROFILES.values()} == {None}


@pytest.mark.parametrize(
    ("profile", "may", "may_not"),
    [
        (
            "2025-08",
            "claude-opus-4 claude-opus-4-20250514 claude-opus-4-1-20250805 claude-opus-4@20250514 "
            "us.anthropic.claude-opus-4-1-20250805-v1:0 anthropic/claude-opus-4.1",
            "claude-opus-4-5 claude-sonnet-4 claude-opus-5",
        ),
        (
            "2026-07",
            "claude-opus-5 claude-sonnet-5 claude-fable-5 claude-sonnet-5-20260601 anthropic/claude-fable-5 "
            "eu.anthropic.claude-sonnet-5-20260601-v1:0 claude-opus-4-8",
            "claude-sonnet-4-5 claude-haiku-4-5 claude-fable-50",
        ),
        ("code-2026-07", "claude-opus-5 vertex_ai/claude-fable-5@20260601", "claude-haiku-5"),
    ],
)
def test_a_profile_names_its_models_by_any_of_their_names(profile: str, may: str, may_not: str) -> None:
    for names, eligible in ((may, True), (may_not, False)):
        for name in names.split():
            model = Actor(kind=ActorKind.MODEL, id=name)
            state = Conversation(policy=PROFILES[profile], model=name, law=2)
            hopeless = HopeExhausted(by=model, turn=1)
            assert (ELIGIBLE_MODEL.lacks(state, hopeless) is None) is eligible, name


def test_a_policy_that_never_lets_anything_end_says_so() -> None:
    assert Policy.default().never_ends is None
    for field in ("trusted_for_risk", "eligible_models", "categories"):
        said = Policy.model_validate({"name": "off", field: ()}).never_ends
        assert said is not None
        assert said.startswith(f"{field} is empty, so nothing ever ends")


def test_every_profile_is_as_careful_as_the_law_proposes() -> None:
    for policy in PROFILES.values():
        assert policy.numbers == Numbers(3, 2, 2)
        assert set(policy.hold_on) == {Risk.POSSIBLE, Risk.IMMINENT}
        assert set(policy.trusted_for_risk) == {ActorKind.ASSESSOR, ActorKind.OPERATOR}
        assert policy.may_clear_risk == ()


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ("min_severty = 2", "no key of a policy (length 11); did you mean min_severity?"),
        ("patience = 2", "no key of a policy (length 8)"),
        ('min_severity = "2"', "min_severity: Input should be a valid integer"),
        ("handshake = 1", "handshake: Input should be a valid boolean"),
    ],
)
def test_of_a_key_that_no_policy_has_the_nearest_is_named(wrong: str, said: str) -> None:
    """And of one that has a wrong value, none."""
    with pytest.raises(PolicyError) as error:
        Policy.from_toml(f'name = "p"\n{wrong}')
    assert str(error.value) == f"policy: line 2: {said}"


def test_an_appeal_may_be_decided_for_six_months() -> None:
    assert Policy.default().appeal_months == 6


@pytest.mark.parametrize(
    ("count", "refused"), [(100, None), (101, "name at most 100: a pattern may stand for many")], ids=["100", "101"]
)
@pytest.mark.parametrize("field", ["categories", "eligible_models", "may_clear_risk"])
def test_a_list_names_a_hundred_at_most(field: str, count: int, refused: str | None) -> None:
    """It is written into each conversation's log."""
    many = {"name": "p", field: tuple(f"c{number}" for number in range(count))}
    if refused is None:
        assert len(getattr(Policy.model_validate(many), field)) == count
        return
    with pytest.raises(ValueError, match=f"{count} are named; {refused}"):
        Policy.model_validate(many)


def test_a_hundred_groups_and_a_hundred_categories_in_them_may_be_named() -> None:
    """Whether in one group or in many."""
    many = tuple(f"c{number}" for number in range(101))
    assert len(Policy(name="p", groups={"all": many[:100]}).groups["all"]) == 100
    assert len(Policy(name="p", groups={name: (name,) for name in many[:100]}).groups) == 100
    too_many: tuple[dict[str, tuple[str, ...]], ...] = (
        {"all": many},
        {"some": many[:50], "others": many[50:]},
        dict.fromkeys(many, ()),
    )
    for groups in too_many:
        with pytest.raises(ValueError, match="name at most 100 groups and categories in them"):
            Policy(name="p", groups=groups)


def test_a_category_in_two_groups_is_refused() -> None:
    """It would be the same harm as both."""
    with pytest.raises(PolicyError, match="a category is in two groups: name it in one"):
        Policy.from_toml('name = "x"\n[groups]\none = ["abuse", "hate"]\nother = ["hate"]\n')
