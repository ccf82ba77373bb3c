"""Everything of an account in a folder, or a ZIP file of it, for somebody who has the right to it.

    manifest.json                   what is in it: digests of all files, the checkpoints that proofs are under, and whom
                                    the account stands for, if that is known
    conversations/N/log.jsonl       the events, as an exported log: `lastresort import` takes it, `audit` reads it
    conversations/N/words.jsonl     the words that are kept: branch, version, digest, text
    conversations/N/conversation.json  all that there is of it, as `export-conversation` prints it: its title and system
                                    prompt too, and every part of its words by kind and place
    conversations/N/reasons-B.json  what the B-th branch ended for, if it ended as last resort
    conversations/N/B.tlog-proof    the proof of the ending of the B-th branch, if the store has a transparency log

A conversation is complete once its `complete.json` is there. If this is interrupted, the same again goes on: what is
complete, and is still as it was, is not written again.
"""

import hashlib
import json
import os
import shutil
import stat
from collections.abc import Callable, Iterator
from errno import EACCES, ENOTDIR
from pathlib import Path
from typing import Any, NamedTuple
from zipfile import ZIP_DEFLATED, ZipFile

from lastresort.application.accounts import conversations_of, export_one
from lastresort.application.conversations import Conversations
from lastresort.domain.canonical import canonical
from lastresort.domain.events import ConversationEnded, content_of
from lastresort.domain.values import Ground
from lastresort.projections.reports.grounds import grounds

from .account import conversation_json
from .whole_file import place_of

FORMAT = {"format": "lastresort-archive", "version": 1}
Prove = Callable[[str], str | None]
"""Returns the proof of a branch's ending, None if there is none."""


class Archived(NamedTuple):
    """How many conversations an archive has, how many were written this time, and how many endings lack a proof."""

    conversations: int
    written: int
    unproven: int


def archive(conversations: Conversations, account: str, path: Path, prove: Prove) -> Archived:
    """Write an account to a folder; or to a ZIP file, if the path ends so.

    Args:
        conversations: of the store.
        account: whose.
        path: where to.
        prove: makes proofs of endings.

    Raises:
        OSError: it cannot be written. What is complete stays, and the same again goes on from there.
        SealBroken: kept bytes are not what was sealed there.
    """
    zipped = path.suffix == ".zip"
    path = place_of(path) if zipped else path
    folder = path.with_name(f"{path.name}.part") if zipped else path
    _make_private(folder)
    written = unproven = number = 0
    for number, row in enumerate(conversations_of(conversations, account), start=1):
        place = folder / "conversations" / str(number)
        heads = {head.branch: head.version for head in conversations.store.heads(row.conversation)}
        told = _complete(place)
        if told.get("heads") != heads:
            shutil.rmtree(place, ignore_errors=True)
            place.mkdir(parents=True)
            told = {"conversation": row.conversation, "heads": heads}
            told["unproven"] = _write(conversations, row.conversation, place, prove)
            (place / "complete.json").write_text(json.dumps(told), encoding="utf-8")
            written += 1
        unproven += told["unproven"]
    _write_manifest(folder, account, conversations.person_of(account), number)
    if zipped:
        _zip(folder, path)
    return Archived(number, written, unproven)


def _make_private(folder: Path) -> None:
    """Make a folder for its owner alone, unless there is one; check the one that there is, as words go into it.

    Raises:
        OSError: others can look into that, or it is another user's.
    """
    try:
        folder.mkdir(mode=0o700)
    except FileExistsError:
        found = folder.lstat()
        if not stat.S_ISDIR(found.st_mode):
            raise NotADirectoryError(ENOTDIR, "something else is there", str(folder)) from None
        if found.st_uid != os.geteuid() or found.st_mode & 0o077:
            why = "others can look into it, or prepared it; if it is yours, run: chmod 700"
            raise PermissionError(EACCES, why, str(folder)) from None


def _complete(place: Path) -> dict[str, Any]:
    path = place / "complete.json"
    try:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    except (ValueError, RecursionError):  # it was not written whole
        return {}
    return found if isinstance(found, dict) else {}


def _write(conversations: Conversations, tree: str, place: Path, prove: Prove) -> int:
    """Write a conversation; return how many endings of it have no proof."""
    events = conversations.tree_log(tree)
    lines = (canonical(one._replace(position=at)) for at, one in enumerate(events, start=1))
    (place / "log.jsonl").write_bytes(b"".join(line + b"\n" for line in lines))
    words = conversations.words(events)
    with (place / "words.jsonl").open("w", encoding="utf-8") as file:
        for one in events:
            digest = content_of(one.event)
            if digest is not None and digest in words:
                told = {"branch": one.branch, "version": one.version, "digest": digest, "text": str(words[digest])}
                file.write(json.dumps(told) + "\n")
    unproven = 0
    with (place / "conversation.json").open("w", encoding="utf-8") as file:
        file.writelines(conversation_json(export_one(conversations, tree)))
    for number, branch in enumerate(conversations.tree(tree), start=1):
        unproven += _write_ending(conversations, branch, place, number, prove)
    return unproven


def _write_ending(conversations: Conversations, branch: str, place: Path, number: int, prove: Prove) -> int:
    path = conversations.path(branch)
    ending = next((one.event for one in path if isinstance(one.event, ConversationEnded)), None)
    if ending is None:
        return 0
    if ending.ground == Ground.LAST_RESORT:
        (place / f"reasons-{number}.json").write_text(grounds(path).model_dump_json(), encoding="utf-8")
    proof = prove(branch)
    if proof is not None:
        (place / f"{number}.tlog-proof").write_text(proof, encoding="utf-8")
    return int(proof is None)


def _write_manifest(folder: Path, account: str, person: str | None, conversations: int) -> None:
    files = {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in _files(folder)}
    proofs = (path.read_text(encoding="utf-8") for _, path in _files(folder) if path.suffix == ".tlog-proof")
    heads = sorted({proof.partition("\n\n")[2] for proof in proofs})  # more than one, if it was gone on with later
    told = FORMAT | {"account": account, "person": person, "conversations": conversations}
    told |= {"checkpoints": heads, "sha256": files}
    (folder / "manifest.json").write_text(json.dumps(told, indent=1), encoding="utf-8")


def _files(folder: Path) -> Iterator[tuple[str, Path]]:
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.name != "manifest.json":
            yield path.relative_to(folder).as_posix(), path


def _zip(folder: Path, path: Path) -> None:
    """Write a ZIP file of a folder, in place of it, for its owner alone."""
    draft = folder / "manifest.zip"
    draft.touch(mode=0o600)
    with ZipFile(draft, "w", ZIP_DEFLATED) as file:
        file.write(folder / "manifest.json", "manifest.json")
        for name, one in _files(folder):
            if one != draft:
                file.write(one, name)
    draft.replace(path)
    shutil.rmtree(folder)
