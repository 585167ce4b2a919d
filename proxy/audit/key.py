"""The key that signs the audit log and receipts: Ed25519, so that who verifies need not be able to sign.

The private key is made on first use and lies in the state folder, readable by its owner only. The public key is part of
every receipt; an auditor should be given it by another way as well, once.
"""

import base64
import binascii
import hashlib
import hmac
import os
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

KEY_BYTES = 32


class AuditKeyError(Exception):
    """The key cannot be used; the message names the file and the cure."""


class PublicKey:
    """Checks signatures."""

    def __init__(self, raw: bytes) -> None:
        self._raw = raw
        self._key = Ed25519PublicKey.from_public_bytes(raw)

    @classmethod
    def parse(cls, written: str) -> "PublicKey":
        """From base64, as receipts hold it. Raises AuditKeyError."""
        try:
            return cls(base64.b64decode(written.strip(), validate=True))
        except (ValueError, binascii.Error):
            raise AuditKeyError("a public key is 32 bytes in base64, as 'lethe audit key' prints it") from None

    def __str__(self) -> str:
        return base64.b64encode(self._raw).decode()

    def signed(self, message: bytes, signature: str) -> bool:
        """Whether the signature (base64) is this key's for the message."""
        try:
            self._key.verify(base64.b64decode(signature, validate=True), message)
        except (InvalidSignature, ValueError, binascii.Error):
            return False
        return True


class SigningKey:
    """Signs, and hashes content so that only who has the key can tell what a hash stands for."""

    def __init__(self, raw: bytes) -> None:
        self._key = Ed25519PrivateKey.from_private_bytes(raw)
        # A plain hash of a forget text could be looked up by guessing texts.
        self._content = hashlib.sha256(b"lethe audit content" + raw).digest()
        self.public = PublicKey(self._key.public_key().public_bytes_raw())

    @classmethod
    def at(cls, path: Path) -> "SigningKey":
        """Reads the key, or makes one. Raises AuditKeyError."""
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                file.write(os.urandom(KEY_BYTES))
                file.flush()
                os.fsync(file.fileno())
        except FileExistsError:
            pass
        except OSError as error:
            raise AuditKeyError(f"the audit key {path} cannot be made ({type(error).__name__})") from None
        try:
            return cls(path.read_bytes())
        except (OSError, ValueError):
            raise AuditKeyError(
                f"the audit key {path} cannot be read: restore it, or remove it to begin a log under a new key"
            ) from None

    def sign(self, message: bytes) -> str:
        """The signature in base64."""
        return base64.b64encode(self._key.sign(message)).decode()

    def content_hash(self, content: bytes) -> str:
        """A keyed hash that stands for a content."""
        return hmac.new(self._content, content, hashlib.sha256).hexdigest()
