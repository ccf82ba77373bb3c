"""Files of TOML that somebody prepared: whatever reads one says which file it is, and does nothing by half of it."""

from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

from lastresort.adapters.documents.statements import StatementError, texts

from .cli_kit import run, url
from .stores import opened

__all__ = ["run", "url"]
HOSTILE = {
    "nested without end": b"a = " + b"[" * 100_000,
    "tables without end": b"a." * 1_500 + b"a = 1",
    "a number without end": b"a = " + b"9" * 5_000,
    "no UTF-8": b"a = \xff",
    "no date": b"a = 2026-13-45T99:99:99",
    "twice": b"a = 1\na = 2",
}


@pytest.mark.parametrize("what", HOSTILE)
def test_each_reader_names_the_file(what: str, url: str, tmp_path: Path, run: Callable[..., Result]) -> None:
    file, folder = tmp_path / "hostile.toml", tmp_path / "texts"
    file.write_bytes(HOSTILE[what])
    folder.mkdir()
    (folder / "xx.toml").write_bytes(HOSTILE[what])
    for command in (
        ("retain", "--schedules", file, "--operator", "op", "--store", url),
        ("cost", url, "--prices", file),
        ("serve", "--config", file),
    ):
        done = run(*command, status=2, input="")
        assert "toml" in done.output.lower(), (command, done.output)
        assert len(done.output) < 1_000
    with pytest.raises(StatementError, match=r"xx\.toml"):
        texts("xx", folder)


def test_a_schedule_that_cannot_be_kept_is_refused_before_any_other_erases(
    url: str, tmp_path: Path, run: Callable[..., Result]
) -> None:
    file = tmp_path / "schedules.toml"
    file.write_text('[[schedule]]\nname = "a"\nafter = "0h"\n[[schedule]]\nname = "b"\nafter = "999999w"\n')
    done = run("retain", "--schedules", file, "--operator", "op", "--store", url, status=2)
    assert "schedule 2: after: 36,500 days at most" in done.output
    with opened(url) as chats:
        assert not any(one.kind == "ContentErased" for one in chats.store.log())
