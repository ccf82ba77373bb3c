"""What tests of the vault share: forged digests, and keys as they were named before."""

import hashlib

from lastresort.adapters.vault.keys import MemoryKeys, OpeningKey, name_of
from lastresort.application.ports import SealedWords


def forged(data: bytes) -> SealedWords:
    """Bytes under the digest that they have now, as if the log had been tampered with to fit them."""
    return SealedWords("sha256:" + hashlib.sha256(data).hexdigest(), data)


class FormerKeys(MemoryKeys):
    """Keys that are found by their first 8 bytes too, by which those of earlier versions went."""

    def have(self, conversation: str, key: bytes) -> None:
        self._by_name[conversation, name_of(key)] = key

    def find(self, conversation: str, name: bytes) -> OpeningKey | None:
        names = [one for of, one in self._by_name if of == conversation and one.startswith(name)]
        return super().find(conversation, names[0]) if names else None
