"""What is wrong with a value that somebody made by hand, said as a person needs it: what, what is allowed, and no more.

What pydantic says has a link to its own pages, and repeats names that were passed.
"""

from collections.abc import Collection
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ValidationError

AN_ID = "1 to 128 printable ASCII characters without spaces"
_A_CATEGORY = "1 to 64 of a-z, 0-9, _ and -, the first a letter"
FORMS = {"category": _A_CATEGORY, "categories": _A_CATEGORY, "groups": _A_CATEGORY, "until": "a day, YYYY-MM-DD"}
"""What a field has to look like that must match a pattern; the others are ids."""


def plainly(error: ValidationError, fields: Collection[str] = ()) -> str:
    """Return what is wrong: that there is no such field, where there are `fields`; or what one of them needs to be."""
    wrong = error.errors(include_url=False, include_context=True, include_input=False)
    first = next((one for one in wrong if fields and one["type"] == "extra_forbidden"), wrong[0])
    place = first["loc"][: first["loc"].index("groups") + 1] if "groups" in first["loc"] else first["loc"]
    field, context = ".".join(map(str, place)), first.get("ctx", {})  # without the keys that somebody chose
    match first["type"]:
        case "extra_forbidden" if fields:  # first: what it was meant for may be missing, too
            near = get_close_matches(field, fields, n=1)
            meant = f"; did you mean {near[0]}?" if near else f"; there are {', '.join(fields)}"
            return f"no field of that name (length {len(field)}){meant}"
        case "missing":
            need = "is missing"
        case "string_pattern_mismatch":
            form = next((FORMS[one] for one in place if one in FORMS), None)
            form = form or (AN_ID if "!-~" in context["pattern"] else f"of the form {context['pattern']}")
            need = f"needs to be {form}"
        case "too_short" | "too_long":
            counted = f"{context['field_type'].lower()} of"
            need = f"needs to be a {counted} {_bound(context)}, and has {context['actual_length']:,}"
        case "bytes_too_short" | "bytes_too_long":
            need = f"needs to be {_bound(context)} bytes"
        case "model_type":
            need = f"needs to be of class {context['class_name']}"
        case _:
            need = first["msg"].removeprefix("Value error, ").replace("Input should be", "needs to be")
    return f"{field}: {need}" if field else need


def _bound(context: dict[str, Any]) -> str:
    return f"at least {context['min_length']:,}" if "min_length" in context else f"at most {context['max_length']:,}"


if TYPE_CHECKING:
    from pydantic._internal._model_construction import ModelMetaclass
else:
    ModelMetaclass = type(BaseModel)  # it has no public name


class MadeByHand(ModelMetaclass):
    """Has a class that people call say plainly what is wrong. What is read, from a log say, is not made this way."""

    def __call__(cls, *args: Any, **fields: Any) -> Any:
        try:
            return super().__call__(*args, **fields)
        except ValidationError as error:
            model: Any = cls  # a model, which a metaclass does not know
            wrong = f"{cls.__name__}: {plainly(error, model.model_fields)}"
        raise ValueError(wrong)
