"""The command that measures assessors on turns that people judged."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from lastresort.adapters.assessors import SHIPPED
from lastresort.adapters.importers.inputs import BadInput

from .options import json_option

if TYPE_CHECKING:
    from lastresort.adapters.importers.measuring import Measured
    from lastresort.adapters.turns.assessor import Assessor

_WORDS = "word list"


@click.command("measure")
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="FILE...")
@click.option("--with", "names", multiple=True, metavar="NAME", help=f"{', '.join(SHIPPED)}, or MODULE:FUNCTION.")
@click.option("--words", type=click.Path(path_type=Path), metavar="FILE", help="A list of words to compare with.")
@json_option
def measure_(files: tuple[Path, ...], names: tuple[str, ...], words: Path | None, as_json: bool) -> None:
    """Measure assessors on turns that people judged.

    FILE has transcripts whose user turns have a verdict. Shown is, of all that an assessor called harmful, how much
    people did (precision); and of each kind of harm, how much it called harmful (recall), each with its interval of
    95 %. Nothing is written.
    """
    from lastresort.adapters.importers.measuring import measure, samples
    from lastresort.adapters.importers.transcripts import read_transcripts
    from lastresort.domain.policy import Policy

    from . import display

    found = list(samples(read_transcripts(files), Policy.default().categories))
    if not found:
        raise BadInput("no turn of a user in these files has a verdict, so there is nothing to compare with")
    came = {}
    for name, assessor in _assessors(names, words).items():
        with display.counting("turns", quiet=as_json) as progress:
            came[name] = measure(assessor, found, progress=progress)
    if as_json:
        display.print_json({name: measured.as_json() for name, measured in came.items()})
    else:
        _show(came)


def _assessors(names: tuple[str, ...], words: Path | None) -> "dict[str, Assessor]":
    from lastresort.adapters.assessors.shipped import assessor_named
    from lastresort.adapters.importers.measuring import word_list

    found: dict[str, Assessor] = {}
    for name in names or (() if words else ("local",)):
        try:
            by, assessor = assessor_named(name)
        except (LookupError, ModuleNotFoundError) as error:
            raise BadInput(f"--with: {error}") from None
        found[by] = assessor
    if words is not None:
        try:
            found[_WORDS] = word_list(words.read_text(encoding="utf-8").splitlines())
        except (OSError, ValueError) as error:
            raise BadInput(f"--words: {getattr(error, 'strerror', None) or error}") from None
    return found


def _show(came: "dict[str, Measured]") -> None:
    from rich.table import Table

    from . import display

    for name, measured in came.items():
        table = Table(title=name, title_justify="left", show_header=False, box=None)
        rows = [("precision, harmful", str(measured.precision))]
        rows += [(f"recall, {kind}", str(rate)) for kind, rate in measured.recall.items()]
        rows += [(f"called harmful, {kind}", str(rate)) for kind, rate in measured.flagged.items()]
        rows += [(f"risk seen, {kind}", str(rate)) for kind, rate in measured.risks.items()]
        rows += [("no opinion", str(measured.silent)), ("failed", str(measured.failed))]
        for row in rows:
            table.add_row(*row)
        display.console().print(table)


COMMANDS = (measure_,)
