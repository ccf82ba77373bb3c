"""The commands `log` and `witness`."""

import json
from pathlib import Path

import pytest

from lastresort.adapters.tlog.notes import COSIGNED_ED25519, ED25519, Signer

from .operations_kit import checks, in_database, run
from .stores import ROOT

ORIGIN = "log.example/chats"
REFUSED, BAD_INPUT = 1, 2


@pytest.fixture
def url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LASTRESORT_LOG_KEY", "log.key")
    found = "sqlite:///log.db"
    assert run("simulate", str(ROOT / "examples" / "ends-as-last-resort.jsonl"), "--store", found).exit_code == 0
    return found


def begun(url: str, *more: str) -> str:
    done = run("log", "init", "--origin", ORIGIN, "--store", url, *more)
    assert done.exit_code == 0, done.output
    return done.output


def told(*arguments: str) -> dict[str, object]:
    done = run(*arguments, "--json")
    found: dict[str, object] = json.loads(done.stdout)
    return found


def test_from_a_store_to_a_proof(url: str, tmp_path: Path) -> None:
    key = begun(url).splitlines()[1]
    assert "25 events are in the tree" in run("log", "sequence", "--store", url).output
    assert "25 entries, published; cosigned by nobody" in run("log", "checkpoint", "--store", url).output
    assert run("log", "prove", "ends-as-last-resort", "--store", url).stdout.startswith("c2sp.org/tlog-proof@v1\n")
    run("log", "prove", "ends-as-last-resort", "--version", "2", "--output", "two.tlog-proof", "--store", url)
    assert (tmp_path / "two.tlog-proof").exists()
    assert run("log", "consistency", "3", "7", "--store", url).stdout.startswith(f"{ORIGIN}\n3\n")
    assert told("log", "export-tiles", "tiles", "--store", url) == {"folder": "tiles", "size": 25, "new": 25}
    assert "25 entries, 0 of them new" in run("log", "export-tiles", "tiles", "--store", url).output
    (tmp_path / "policy").write_text(f"log {key}\nquorum none\n")
    found = run("log", "verify", "--store", url, "--policy", "policy", "--tiles", "tiles")
    assert "nothing is wrong with the 25 entries" in found.output
    assert (
        "nothing is wrong with the 25 entries" in run("log", "verify", "--policy", "policy", "--tiles", "tiles").output
    )
    monitor = ("log", "monitor", "tiles", "--policy", "policy", "--state", "state")
    assert told(*monitor)["entries"] == 25
    assert told(*monitor)["entries"] == 0


def test_what_is_wrong_is_exit_status_1(url: str, tmp_path: Path) -> None:
    key = begun(url).splitlines()[1]
    run("log", "checkpoint", "--store", url)
    (tmp_path / "policy").write_text(f"log {key}\nquorum none\n")
    in_database(url, "UPDATE stored_events SET command_id='other' WHERE rowid=3")
    done = run("log", "verify", "--store", url)
    assert done.exit_code == REFUSED
    assert "changed: position 3 is not what was published" in done.output
    assert told("log", "verify", "--store", url)["findings"] == [
        {"kind": "changed", "text": "position 3 is not what was published"}
    ]
    done = run("log", "verify", "--store", url, "--policy", "policy", "--max-age", "60")
    assert "stale: no witness tells a time" in done.output
    done = run("log", "checkpoint", "--store", url)
    assert (done.exit_code, "nothing" in done.output) == (0, False)  # what was signed is not looked at again here
    witness = Signer.generate("w.example/w", COSIGNED_ED25519).verifier
    (tmp_path / "policy").write_text(f"witness w {witness} http://127.0.0.1:9\nquorum w\n")
    done = run("log", "checkpoint", "--store", url, "--policy", "policy")
    assert done.exit_code == REFUSED
    assert "signed, and not published: too few witnesses" in done.output
    assert "w did not cosign: " in done.output
    assert told("log", "checkpoint", "--store", url, "--policy", "policy")["published"] is False


def test_after_a_loss_a_new_origin(url: str) -> None:
    begun(url)
    run("log", "checkpoint", "--store", url)
    in_database(url, "DELETE FROM stored_events WHERE rowid > 20", "DELETE FROM branches WHERE position > 20",
                "UPDATE branches SET ended=NULL")  # fmt: skip
    assert "it has 20 entries, and 25 were published" in run("log", "checkpoint", "--store", url).output
    second = ("log", "init", "--store", url, "--key", "second.key")
    assert "has a transparency log" in run(*second, "--origin", "log.example/2").output
    assert "needs another" in run(*second, "--origin", ORIGIN, "--new-origin").output
    assert "name another file" in run("log", "init", "--store", url, "--origin", "b.example", "--new-origin").output
    assert told(*second, "--origin", "log.example/2", "--new-origin")["continues"] == {"origin": ORIGIN, "size": 25}
    done = run("log", "checkpoint", "--store", url, "--key", "second.key")
    assert "log.example/2: 21 entries, published" in done.output


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("log", "init", "--origin", "two words"), "--origin: a name of a key has no spaces"),
        (("log", "init", "--origin", "a", "--new-origin"), "no published checkpoint is kept"),
        (("log", "sequence"), "No such file"),
        (("log", "prove", "ends-as-last-resort"), "no transparency log"),
        (("log", "verify"), "nothing of the log is published"),
        (("log", "export-tiles", "tiles"), "no transparency log"),
        (("log", "export-tiles", "log.db"), "log.db: is part of the store that is read"),
    ],
)
def test_what_cannot_be(url: str, arguments: tuple[str, ...], why: str) -> None:
    done = run(*arguments, "--store", url)
    assert (done.exit_code, why in done.output) == (BAD_INPUT, True), done.output


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("log", "verify"), "name a store, or --tiles"),
        (("log", "verify", "--tiles", "t"), "name a --policy"),
        (("log", "monitor", "t", "--policy", "p", "--state", "s"), "no folder t"),
        (("log", "monitor", ".", "--policy", "bad", "--state", "s"), "line 1 of the policy"),
        (("log", "init", "--origin", "a", "--key", "k", "--store", "memory:"), "memory: is gone"),
        (("log", "init", "--origin", "a", "--key", "k", "--store", "sqlite:///a.db?synchronous=NORMAL"), "FULL"),
        (("witness", "--key", "k", "--name", "two words"), "--name: a name of a key"),
        (("witness", "--key", "k"), "name a --policy"),
    ],
)
def test_wrong_usage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], why: str) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bad").write_text("nonsense\n")
    (tmp_path / "p").write_text(f"log {Signer.generate('a', ED25519).verifier}\nquorum none\n")
    done = run(*arguments)
    assert (done.exit_code, why in done.output) == (BAD_INPUT, True), done.output


def test_the_doctor_says_whether_it_comes_along(url: str, tmp_path: Path) -> None:
    assert "transparency log" not in checks(url)
    begun(url)
    found = checks(url)["transparency log"]
    assert (found.ok, found.found) == (False, "0 entries are published, 25 are not evident yet")
    run("log", "checkpoint", "--store", url)
    assert checks(url)["transparency log"].ok
    witness = Signer.generate("w.example/w", COSIGNED_ED25519).verifier
    (tmp_path / "policy").write_text(f"witness w {witness} http://127.0.0.1:9\nquorum w\n")
    run("simulate", str(ROOT / "examples" / "goodbye.jsonl"), "--store", url)
    run("log", "checkpoint", "--store", url, "--policy", "policy")
    assert "too few witnesses cosigned 32" in checks(url)["transparency log"].found
    run("log", "checkpoint", "--store", url)
    in_database(url, "DELETE FROM stored_events WHERE rowid > 20")
    assert "was cut or restored" in checks(url)["transparency log"].found


def test_the_keys_of_a_witness(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    done = run("witness", "--key", "w.key", "--name", "w.example/w")
    assert [line.partition("+")[0] for line in done.stdout.splitlines()] == ["w.example/w"] * 2
    assert (tmp_path / "w.key").stat().st_mode & 0o077 == 0
    assert "File exists" in run("witness", "--key", "w.key", "--name", "w.example/w").output


def test_the_service_is_started_with_the_logs_of_the_policy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import uvicorn

    started = list[object]()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(uvicorn, "run", lambda app, **options: started.append(options))
    run("witness", "--key", "w.key", "--name", "w.example/w")
    (tmp_path / "p").write_text(f"log {Signer.generate('a', ED25519).verifier}\nquorum none\n")
    assert run("witness", "--key", "w.key", "--policy", "p", "--state", "s").exit_code == 0
    assert started == [{"host": "127.0.0.1", "port": 7380, "log_level": "warning", "access_log": False}]
