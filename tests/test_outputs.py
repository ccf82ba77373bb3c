"""What commands write: never over what they read, and in place of plain files alone."""

import os
import socket
import stat
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

from lastresort import StoreError
from lastresort.adapters.console.options import OutputFile
from lastresort.adapters.exporters.whole_file import overwrites, write_whole
from lastresort.adapters.importers.inputs import BadInput
from lastresort.adapters.importers.log_file import write_file
from lastresort.adapters.transparency import key_files

from .cli_kit import LASTRESORT, run, url
from .stores import opened
from .test_cli_typed import COMMANDS
from .test_reasons import SERVICE_FILE

__all__ = ["run", "url"]

Run = Callable[..., Result]
OUTPUTS = {
    (*path, param.opts[0] if param.opts[0].startswith("--") else param.human_readable_name)
    for path, command in COMMANDS.items()
    for param in command.params
    if isinstance(param.type, OutputFile)
}


@pytest.fixture
def there(run: Run, url: str) -> str:
    """A log in a file and a service file, in the folder where commands are run."""
    with opened(url) as chats:
        write_file(chats.store.log(), Path("log.jsonl"))
    Path("service.toml").write_text(SERVICE_FILE.read_text())
    return url


def kept(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


# --- Not over what is read --------------------------------------------------------------------------------------------

FROM_FILE = [
    ["report", "log.jsonl", "--html"],
    ["report", "--file", "log.jsonl", "--welfare"],
    ["report", "log.jsonl", "--csv"],
    ["audit", "log.jsonl", "--html"],
    ["show", "c", "--file", "log.jsonl", "--html"],
    ["reasons", "--all", "--service", "service.toml", "--file", "log.jsonl", "--output"],
]


def named_by(how: str, name: str) -> str:
    """Return another name of a file."""
    if how == "path":
        return f"../{Path.cwd().name}/{name}"
    if how == "link":
        Path("link").symlink_to(name)
    elif how == "hard link":
        os.link(name, "link")
    return name if how == "name" else "link"


@pytest.mark.parametrize("how", ["name", "path", "link", "hard link"])
@pytest.mark.parametrize("command", FROM_FILE, ids=" ".join)
def test_a_log_is_never_written_over(run: Run, there: str, tmp_path: Path, command: list[str], how: str) -> None:
    """By whatever name: nothing is written, and the message names the file and both parameters."""
    output = named_by(how, "log.jsonl")
    before = kept(tmp_path)
    told = run(*command, output, status=2)
    assert told.stdout == ""
    assert told.stderr.startswith(f"lastresort: {output}: {command[-1]} would write over what ")
    assert told.stderr.endswith(" reads; name another file\n")
    assert kept(tmp_path) == before


def test_nor_is_a_file_that_says_what_terms_say(run: Run, there: str) -> None:
    for output in ("service.toml", "texts/de.toml"):
        Path("texts").mkdir(exist_ok=True)
        Path("texts/de.toml").write_text("mine")
        before = Path(output).read_text()
        options = "--all", "--service", "service.toml", "--texts", "texts", "--store", there, "--output", output
        assert "would write over what --" in run("reasons", *options, status=2).stderr
        assert Path(output).read_text() == before


@pytest.mark.parametrize(
    "command",
    [
        ["report", "--html"],
        ["audit", "--html"],
        ["show", "c", "--html"],
        ["reasons", "c", "--service", "service.toml", "--output"],
        ["export", "--output"],
        ["export-conversation", "c", "--output"],
        ["export-account", "account", "--output"],
        ["export-account", "account", "--archive"],
        ["erase-account", "account", "--yes", "--receipt"],
        ["log", "prove", "c", "--output"],
        ["log", "export-tiles"],
    ],
    ids=" ".join,
)
def test_nor_is_a_store_whichever_command_reads_it(run: Run, there: str, tmp_path: Path, command: list[str]) -> None:
    """One that only the environment names is not either."""
    before = kept(tmp_path)
    for options in (["--store", there], []):
        told = run(*command, "log.db-keys", *options, status=2, env={"LASTRESORT_STORE": there})
        assert told.stderr == "lastresort: log.db-keys: is part of the store that is read; name another file\n"
    assert kept(tmp_path) == before


def test_nor_is_what_standard_input_is(there: str, tmp_path: Path) -> None:
    before = kept(tmp_path)
    for source in ("-", "/dev/stdin"):
        with open(tmp_path / "log.jsonl") as log:
            done = subprocess.run(
                [str(LASTRESORT), "report", source, "--csv", "log.jsonl"],
                cwd=tmp_path, stdin=log, capture_output=True, text=True, check=False, timeout=60,
            )  # fmt: skip
        assert (done.returncode, "would write over what" in done.stderr) == (2, True)
    assert kept(tmp_path) == before


def test_nor_is_a_file_in_a_folder_that_is_read(run: Run, there: str, tmp_path: Path) -> None:
    """One that is new may lie there."""
    run("export", there, "--format", "parquet", "--output", "parts")
    part = next(path for path in Path("parts").rglob("*.parquet"))
    before = part.read_bytes()
    for output in (part, Path(named_by("hard link", str(part)))):
        told = run("report", "parts", "--csv", output, status=2).stderr
        assert "--csv would write over what URL|FILE reads" in told
    assert part.read_bytes() == before
    run("report", "parts", "--csv", "parts/figures.csv")
    assert Path("parts/figures.csv").stat().st_size


@pytest.mark.parametrize("how", ["name", "path", "link"])
def test_two_outputs_are_not_one_file(run: Run, there: str, how: str) -> None:
    """Though it is not there yet; and nothing is written."""
    output = named_by(how, "a.out")
    told = run("report", "log.jsonl", "--csv", "a.out", "--html", output, status=2).stderr
    assert told.startswith("lastresort: ")
    assert told.endswith("--html and --csv are one file; give each its own\n")
    assert not Path("a.out").exists()


def test_what_leads_nowhere_is_nothing_that_is_read() -> None:
    """A ring of links is said where it is written."""
    assert not overwrites(Path("/dev/null"), Path("/dev/null"))
    assert not overwrites(Path("nowhere/a"), Path("nowhere/b"))


# --- In place of a plain file alone -----------------------------------------------------------------------------------


@pytest.mark.parametrize("output", sorted(OUTPUTS), ids=" ".join)
def test_a_dash_is_no_file(run: Run, there: str, tmp_path: Path, output: tuple[str, ...]) -> None:
    """It stands for standard input where files are read, and for none where they are written."""
    told = run(*output if output[-1].startswith("--") else output[:-1], "-", status=2).stderr
    assert told == f"lastresort: {output[-1]}: - is not a file to write to: name one, or /dev/stdout\n"
    assert not (tmp_path / "-").exists()


def test_which_outputs_there_are() -> None:
    """An option that names what is written is one of them, or it can be written over what is read."""
    assert {
        ("audit", "--html"), ("erase-account", "--receipt"), ("export", "--output"), ("export-account", "--archive"),
        ("export-account", "--output"), ("export-conversation", "--output"), ("log", "export-tiles", "FOLDER"),
        ("log", "monitor", "--state"), ("log", "prove", "--output"), ("reasons", "--output"), ("report", "--csv"),
        ("report", "--html"), ("report", "--welfare"), ("show", "--html"), ("witness", "--state"),
    } == OUTPUTS  # fmt: skip


def test_a_backup_has_a_name(run: Run, there: str) -> None:
    assert "- is not a file to write to" in run("backup", there, "-", status=2).stderr
    run("backup", there, "./-")
    assert Path("-").is_file()


def test_a_file_that_is_called_a_dash(run: Run, there: str, tmp_path: Path) -> None:
    run("report", "log.jsonl", "--csv", "./-")
    assert (tmp_path / "-").is_file()


@pytest.mark.parametrize("command", [["report", "log.jsonl", "--csv"], ["export", "--output"]], ids=" ".join)
def test_a_pipe_is_written_to_and_stays_one(run: Run, there: str, command: list[str]) -> None:
    os.mkfifo("pipe")
    got: list[str] = []
    reader = threading.Thread(target=lambda: got.append(Path("pipe").read_text()))
    reader.start()
    run(*command, "pipe", env={"LASTRESORT_STORE": there})
    reader.join()
    assert stat.S_ISFIFO(Path("pipe").stat().st_mode)
    run(*command, "file", env={"LASTRESORT_STORE": there})
    assert got == [Path("file").read_text()]


def test_what_is_neither_a_file_nor_a_pipe_is_not_replaced(run: Run, there: str, tmp_path: Path) -> None:
    """A socket, here, and a folder: each is named, and stays what it is."""
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind("socket.zip")
        for command in (["report", "log.jsonl", "--csv"], ["export-account", "account", "--archive"]):
            told = run(*command, "socket.zip", status=2, env={"LASTRESORT_STORE": there}).stderr
            assert told.startswith("lastresort: socket.zip: ")
            assert told.endswith("is there, and is not a file\n")
        os.mkfifo("pipe.eval")
        told = run("export", there, "--format", "inspect", "--output", "pipe.eval", status=2).stderr
        assert "pipe.eval: cannot be written: is there, and is not a file" in told
        with pytest.raises(StoreError, match="is there, and is not a file"):
            key_files.write_whole(Path("socket.zip"), "")
        assert stat.S_ISSOCK(Path("socket.zip").stat().st_mode)
        assert stat.S_ISFIFO(Path("pipe.eval").stat().st_mode)
    with pytest.raises(BadInput, match="is there, and is not a file"):
        write_file((), tmp_path)


@pytest.mark.parametrize("into", ["a pipe", "a file"])
def test_standard_output_is_written_to_as_it_is(there: str, tmp_path: Path, into: str) -> None:
    """Into a pipe, and into a file, in which the rest of what is printed follows."""
    csv = subprocess.run(
        [str(LASTRESORT), "report", "log.jsonl", "--csv", "figures.csv"],
        cwd=tmp_path, capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    command = [str(LASTRESORT), "report", "log.jsonl", "--csv", "/dev/stdout"]
    if into == "a pipe":
        told = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True, timeout=60).stdout
    else:
        with open(tmp_path / "out", "w") as out:
            subprocess.run(command, cwd=tmp_path, stdout=out, check=True, timeout=60)
        told = (tmp_path / "out").read_text()
    assert told == (tmp_path / "figures.csv").read_text() + csv.stdout


def test_a_full_device_is_said_and_stays_a_device(tmp_path: Path) -> None:
    """A copy of /dev/full, where one can be made: nobody's device is at stake here."""
    try:
        os.mknod(tmp_path / "full", 0o666 | stat.S_IFCHR, os.makedev(1, 7))
        (tmp_path / "full").open("w").close()
    except OSError:
        pytest.skip("only root may make a device, and only where the file system lets devices be opened")
    with pytest.raises(OSError, match="No space left"):
        write_whole(tmp_path / "full", "words")
    assert stat.S_ISCHR((tmp_path / "full").stat().st_mode)
