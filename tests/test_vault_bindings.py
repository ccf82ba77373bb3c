"""Sealed words are bound to who said them, and keys to whose they are; what was sealed before opens as ever."""

from collections.abc import Iterator
from typing import Any

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from lastresort import StoreError
from lastresort.adapters.opening import open_store
from lastresort.adapters.vault import sealing
from lastresort.adapters.vault.keys import MemoryKeys, name_of, new_key
from lastresort.adapters.vault.sealing import AesGcmVault
from lastresort.adapters.vault.wrapped import fingerprint, wrap
from lastresort.application.ports import Place, SealBroken
from lastresort.domain.values import Messages

from .narrow import present
from .stores import STORES, new_url
from .vault_kit import FormerKeys, forged

CANARY = "xylophone-canary"


@pytest.fixture(params=STORES)
def vault(request: pytest.FixtureRequest) -> Iterator[AesGcmVault]:
    store, vault, _ = open_store(new_url(request.param, request))
    yield vault
    vault.close()
    store.close()


def test_sealed_words_open_as_nobody_elses(vault: AesGcmVault) -> None:
    """What a user said cannot be made what the model said, nor another user's, by whoever writes the log."""
    user = "UserTurnTaken user:ann"
    sealed = vault.seal("c", "b", 7, CANARY, user)
    assert vault.open("c", "b", 7, sealed, user) == CANARY
    for other in ("AssistantTurnTaken model:m", "UserTurnTaken user:bob", "FeedbackGiven user:ann", ""):
        with pytest.raises(SealBroken):
            vault.open("c", "b", 7, sealed, other)


@pytest.mark.parametrize("form", [b"", b" 2"])
def test_words_of_the_earlier_forms_open_as_ever(form: bytes) -> None:
    """Under a key that was named by 8 bytes, also where the bytes begin as those of this form do."""
    keys = FormerKeys()
    vault = AesGcmVault(keys)
    name, cipher, _ = vault._to_seal_with("c")
    marked = b"t" + CANARY.encode() if form else CANARY.encode()
    for _ in range(2):
        data = name[:8] + b"n" * 12 + cipher.encrypt(b"n" * 12, marked, b"c b 7" + form)
        assert vault.open("c", "b", 7, forged(data), "UserTurnTaken user:ann") == CANARY
        with pytest.raises(SealBroken):
            vault.open("c", "b", 8, forged(data))
        while not name.startswith(b"\x03"):
            name = name_of(key := new_key())
        keys.have("c", key)
        cipher = AESGCM(key)


def test_padding_makes_lengths_alike() -> None:
    """And leaves the words as they are, whatever they end in."""
    keys = MemoryKeys()
    vault, other = AesGcmVault(keys, pad_words=64), AesGcmVault(keys)
    said = ["", "x" * 62, "ends in nothing\0\0", "\x80", "\udc80", Messages("{}")]
    sealed = [vault.seal("c", "b", 7, words) for words in said]
    assert {len(one.data) - len(sealed[0].data) for one in sealed} == {0}
    for words, one in zip(said, sealed, strict=True):
        opened = other.open("c", "b", 7, one)
        assert (type(opened), opened) == (type(words), words)
    assert len(vault.seal("c", "b", 7, "x" * 63).data) == len(sealed[0].data) + 64


class AskedKeys(MemoryKeys):
    """Keys in memory that remember whose was asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[str] = []

    def of(self, conversation: str) -> bytes | None:
        self.asked.append(conversation)
        return super().of(conversation)


@pytest.mark.parametrize(("room", "asked"), [(1, "abca"), (2, "abca"), (3, "abc")])
def test_as_many_keys_are_at_hand_as_there_is_room_for(monkeypatch: pytest.MonkeyPatch, room: int, asked: str) -> None:
    """The one that came first goes first, and is looked up when it is needed again."""
    monkeypatch.setattr(sealing, "_AT_HAND", room)
    keys = AskedKeys()
    vault = AesGcmVault(keys, lambda: 0.0)
    for conversation in "abcca":
        vault.seal(conversation, conversation, 2, "hello")
    assert "".join(keys.asked) == asked


@pytest.mark.parametrize("kind", STORES)
def test_a_key_is_destroyed_for_its_owner_alone(kind: str, request: pytest.FixtureRequest) -> None:
    """Whatever key the rows of a conversation name: who can write the log can put another's bytes there.

    Whether the log permits it is not asked here: tests/test_destroyed_keys.py does.
    """
    store, opened, _ = open_store(new_url(kind, request))
    vault = AesGcmVault(opened._keys)
    mine, theirs = vault.seal("c", "c", 2, "mine"), vault.seal("d", "d", 2, "theirs")
    vault.forget("c", vault.retire("c"), {Place("c", 2): (mine, ""), Place("c", 3): (theirs, "")})
    after = AesGcmVault(vault._keys)
    assert after.open("c", "c", 2, mine) is None
    assert after.open("d", "d", 2, theirs) == "theirs"
    retired = vault.retire("d")
    vault.forget("c", sealed={Place("c", 3): (theirs, "")})
    assert AesGcmVault(vault._keys).open("d", "d", 2, theirs) == "theirs"
    vault.forget("d", retired)
    assert AesGcmVault(vault._keys).open("d", "d", 2, theirs) is None
    vault.close()
    store.close()


@pytest.mark.parametrize("kind", STORES[1:])
def test_a_wrapped_key_is_bound_to_its_owner(kind: str, request: pytest.FixtureRequest) -> None:
    """Whoever can write the keys' file cannot give a conversation another's key; a retired one is still its owner's."""
    store, vault, _ = open_store(new_url(kind, request))
    sealed = vault.seal("c", "c", 2, "mine")
    keys: Any = vault._keys
    name, wrapped = present(keys._keys.of("c"))
    assert len(name) == 16
    keys._keys.assign(name, wrapped, "d")
    with pytest.raises(StoreError, match="damaged, or not its owner's"):
        AesGcmVault(vault._keys).seal("d", "d", 2, "theirs")
    keys._keys.assign(name, wrapped, "c")
    vault.retire("c")
    assert AesGcmVault(vault._keys).open("c", "c", 2, sealed) == "mine"
    vault.close()
    store.close()


@pytest.mark.parametrize("kind", STORES[1:])
def test_keys_of_before_open_and_go_as_ever(kind: str, request: pytest.FixtureRequest) -> None:
    """They have names of 8 bytes, which alone they are bound to."""
    store, opened, _ = open_store(new_url(kind, request))
    keys: Any = opened._keys
    vault = AesGcmVault(keys)
    key = new_key()
    name, nonce = name_of(key)[:8], b"n" * 12
    keys._keys.add([(name, nonce + AESGCM(keys.masters.current).encrypt(nonce, key, name))], "c")
    sealed = vault.seal("c", "c", 2, "new words")
    former = forged(name + nonce + AESGCM(key).encrypt(nonce, b"t" + b"old words", b"c c 3 2"))
    assert sealed.data[1:9] == name
    for opening in (vault, AesGcmVault(vault._keys)):
        assert (opening.open("c", "c", 2, sealed), opening.open("c", "c", 3, former)) == ("new words", "old words")
    vault.forget("c", sealed={Place("c", 2): (sealed, "")})
    assert AesGcmVault(vault._keys).open("c", "c", 3, former) is None
    vault.close()
    store.close()


@pytest.mark.parametrize("kind", STORES[1:])
def test_a_key_whose_name_is_taken_is_not_dropped_in_silence(kind: str, request: pytest.FixtureRequest) -> None:
    """Words that are sealed with it would never open again. The key that has the name stays as it is."""
    store, opened, _ = open_store(new_url(kind, request))
    keys: Any = opened._keys
    key, other = new_key(), new_key()
    name, master = name_of(key), fingerprint(keys.masters.current)
    kept, another = wrap(keys.masters.current, key, "c"), wrap(keys.masters.current, other, "d")
    assert keys._keys.add([(name, kept)], "c", master)
    with pytest.raises(StoreError):
        keys._keys.add([(name_of(other), another), (name, another)], "d", master)
    assert keys._keys.of("c") == (name, kept)
    assert keys._keys.of("d") in (None, (name_of(other), another))
    opened.close()
    store.close()
