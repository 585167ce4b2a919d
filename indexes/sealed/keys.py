"""The keys of sealed entries: what is looked up and what is stored is hashed with all of them, oldest first."""

import hmac
import re
import secrets
from collections.abc import Sequence
from functools import lru_cache

NODE_BYTES = 8  # the chance that any of a million entries' nodes is met by accident in a text is about 1e-12 a word
KEY_LETTERS = 32  # of a key at least; `new_key` makes 64

NO_KEY = (
    "there are sealed entries, and no key to recognise them by: set ledger.sealing_key_file to the keys that they were "
    "sealed with"
)


class SealError(ValueError):
    """Keys that cannot be used. The message names the cure, never a key."""


def new_key() -> str:
    """256 random bits as text."""
    return secrets.token_hex(32)


class SealingKeys:
    """The keys that sealed entries are hashed with, oldest first. Never shown."""

    def __init__(self, keys: Sequence[str]) -> None:
        """Raises SealError."""
        if not keys or any(len(key) < KEY_LETTERS for key in keys):
            raise SealError(
                f"a sealing key has at least {KEY_LETTERS} characters: make one with 'lethe ledger new-key'"
            )
        if len(set(keys)) < len(keys):
            raise SealError("a sealing key stands there twice: each is laid over the former ones once")
        self._keys = tuple(key.encode() for key in keys)
        self._wrapped = lru_cache(65536)(self._wrap)

    @classmethod
    def read(cls, text: str) -> "SealingKeys":
        """Keys as a file or a variable holds them: one a line, or with commas between. Raises SealError."""
        return cls([key for key in re.split(r"[\s,]+", text) if key])

    def __len__(self) -> int:
        return len(self._keys)

    def __repr__(self) -> str:
        return f"SealingKeys({len(self)})"

    @property
    def fingerprint(self) -> str:
        """Tells keys apart without telling anything of them."""
        return self._over(b"fingerprint", b"lethe", 8).hex()

    @property
    def newest(self) -> str:
        """The key that was laid over last."""
        return self._keys[-1].decode()

    def plain(self) -> list[str]:
        """The keys themselves, for a process of this server: never on a command line."""
        return [key.decode() for key in self._keys]

    def first(self, count: int) -> "SealingKeys":
        """The oldest of the keys."""
        return SealingKeys(self.plain()[:count])

    # -- what is looked up while a text is read

    def step(self, node: int, word: str) -> int:
        """The node after a node and a word, under the first key: how a walk goes on."""
        told = b"node" + node.to_bytes(NODE_BYTES, "little") + word.encode("utf-8", "surrogatepass")
        return int.from_bytes(hmac.digest(self._keys[0], told, "sha256")[:NODE_BYTES], "little") or 1

    def stored(self, node: int) -> int:
        """A node as it is stored: under all keys."""
        return node if len(self._keys) == 1 else self._wrapped(node)

    @lru_cache(65536)  # noqa: B019 - there is one object of this kind in a process
    def number(self, plain: int) -> int:
        """A detail's hash under all keys; 0 stays 0, which stands for none."""
        return int.from_bytes(self._over(b"detail", plain.to_bytes(4, "little"), 4), "little") if plain else 0

    def text(self, plain: str) -> str:
        """A text that is only compared, such as a digest."""
        return self._over(b"text", plain.encode(), 16).hex()

    def laid_over(self, told: str) -> str:
        """What `text` gives under all keys, from what it gave under all but the newest."""
        return hmac.digest(self._keys[-1], b"text" + bytes.fromhex(told), "sha256")[:16].hex()

    def _wrap(self, node: int) -> int:
        for key in self._keys[1:]:
            node = laid_over(key, b"node", node, NODE_BYTES)
        return node

    def _over(self, domain: bytes, plain: bytes, size: int) -> bytes:
        for key in self._keys:
            plain = hmac.digest(key, domain + plain, "sha256")[:size]
        return plain


def laid_over(key: bytes, domain: bytes, number: int, size: int) -> int:
    """A hash of so many bytes, with one more key over it."""
    told = domain + number.to_bytes(size, "little")
    return int.from_bytes(hmac.digest(key, told, "sha256")[:size], "little")
