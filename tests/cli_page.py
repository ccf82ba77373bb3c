"""The page of the command line, docs/reference/cli.md, made of its own help: `python -m tests.cli_page` writes it."""

from collections.abc import Iterator

import click

from lastresort.adapters.console.cli import main

from .stores import ROOT

PAGE = ROOT / "docs" / "reference" / "cli.md"
COLUMNS = 80
INTRODUCTION = """# Command line

<!-- made by python -m tests.cli_page; do not edit -->

The extra `cli` brings the command `lastresort`; `python -m lastresort` is the same. What each command prints with
`--json` is in [formats](formats.md#--json). When the exit status is 1 rather than 0 is in
[decision 0015](../decisions/0015-exit-status.md).

"""


def helps(command: click.Command, name: str, above: click.Context | None = None) -> Iterator[tuple[str, str]]:
    """Give the full name and the help of a command, and then of those below it."""
    settings = {**command.context_settings, "terminal_width": COLUMNS, "max_content_width": COLUMNS}
    context = click.Context(command, parent=above, info_name=name, **settings)
    yield context.command_path, command.get_help(context)
    if isinstance(command, click.Group):
        for below in command.list_commands(context):
            found = command.get_command(context, below)
            assert found is not None
            yield from helps(found, below, context)


def page() -> str:
    """Return the page, a section a command."""
    sections = (f"## `{path}`\n\n```text\n{told}\n```\n" for path, told in helps(main, "lastresort"))
    return INTRODUCTION + "\n".join(sections)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
