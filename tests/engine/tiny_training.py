"""A tiny checkpoint with a tokenizer that reads words, and rows in its language."""

from pathlib import Path

from tiny import write_checkpoint
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from guards.engine.training.rows import Row

WORDS = [f"w{index}" for index in range(100)]
SPECIAL = ["<pad>", "<bos>", "<eos>", "<user>", "<assistant>", "<unk>"]
TEMPLATE = (
    "{% for turn in messages %}{{ '<' + turn['role'] + '> ' + turn['content'] + ' ' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<assistant> ' }}{% endif %}"
)


def write_model(folder: Path, seed: int = 0, layers: int = 4) -> Path:
    """A seeded random Llama with a tokenizer beside it."""
    write_checkpoint(folder, "llama", seed, num_hidden_layers=layers)
    vocabulary = {word: index for index, word in enumerate([*SPECIAL, *WORDS])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    wrapped = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<bos>", eos_token="<eos>", pad_token="<pad>", unk_token="<unk>"
    )
    wrapped.chat_template = TEMPLATE
    wrapped.save_pretrained(folder)
    return folder


def rows(first: int, number: int, length: int = 5) -> list[Row]:
    """Different questions with different answers; some are longer than others."""
    found = []
    for index in range(first, first + number):
        words = [WORDS[(7 * index + 3 * place) % len(WORDS)] for place in range(length + index % 3)]
        found.append(Row(" ".join([WORDS[index % 100], *words[:3]]), " ".join(words)))
    return found
