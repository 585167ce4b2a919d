"""Which model a folder holds: an assistant fits the base it was trained for and no other.

Standard library only, as `card`. Reading every byte of a large checkpoint takes minutes, so weights are sampled: the
header of each safetensors file (names, types, shapes, places), its size, and blocks spread evenly over it. Training
changes weights everywhere; a difference that hides between the samples is damage, which checksums are for, not another
model.
"""

import hashlib
from pathlib import Path

BLOCKS, BLOCK_BYTES = 64, 65_536
_EXACT = ("config.json", "tokenizer.json", "tokenizer.model")
_HEADER_LENGTH = 8  # a safetensors file begins with the size of its header, little-endian
_MAX_HEADER_BYTES = 100_000_000  # the format's own limit


def of(folder: Path) -> str:
    """SHA-256 in hexadecimal over configuration, tokenizer and weights of a checkpoint folder.

    Raises FileNotFoundError when it has no configuration or no safetensors weights.
    """
    weights = sorted(folder.glob("*.safetensors"))
    if not (folder / "config.json").is_file() or not weights:
        raise FileNotFoundError(f"{folder} holds no checkpoint with safetensors weights")
    digest = hashlib.sha256()
    for name in _EXACT:
        path = folder / name
        if path.is_file():
            digest.update(hashlib.sha256(f"{name}\0".encode() + path.read_bytes()).digest())
    for path in weights:
        digest.update(_sampled(path))
    return digest.hexdigest()


def _sampled(path: Path) -> bytes:
    size = path.stat().st_size
    digest = hashlib.sha256(f"{path.name}\0{size}\0".encode())
    with path.open("rb") as file:
        length = int.from_bytes(file.read(_HEADER_LENGTH), "little")
        digest.update(file.read(min(length, _MAX_HEADER_BYTES)))
        start = file.tell()
        for block in range(BLOCKS):
            file.seek(start + (size - start) * block // BLOCKS)
            digest.update(file.read(BLOCK_BYTES))
    return digest.digest()
