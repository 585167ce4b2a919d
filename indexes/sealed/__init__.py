"""Sealed entries: what is kept of an entry whose text is not kept.

- *Phrases and names* become the nodes of the trie in which they are looked up: a node is the keyed hash (HMAC-SHA256,
  8 bytes) of the node before it and a word, so the same word hashes differently in every phrase but at its beginning.
  They are stored sorted: neither their order nor which belong together can be seen.
- *Details* (four-byte hashes of words and sounds) are hashed again with the key.
- *Embeddings* are kept as they are; `docs/threat-model.md` says what they tell.

Rotation without the text: the value under keys 1..n is the hash, with key n, of the value under keys 1..n-1. A new key
is therefore laid over what is stored, and from then on the former keys alone open nothing. All keys stay needed, oldest
first, until the entries of their time have been imported again.

- `keys`     what everything is hashed with
- `kept`     what is stored of an entry
- `sealing`  makes it of an entry
- `lookup`   finds it again in a text
"""
