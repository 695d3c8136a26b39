"""Tokenizers with the special tokens of PROSPECT."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

PAD, EOS, IMAGE, STEP, DST, ASST, USER, SUM = (
    "<pad>",
    "<eos>",
    "<image>",
    "<step>",
    "[DST]",
    "[ASST]",
    "[USER]",
    "[SUM]",
)


SPECIAL_TOKENS = (PAD, EOS, IMAGE, STEP, DST, ASST, USER, SUM)


@dataclass(frozen=True)
class SpecialIds:
    """Ids of the special tokens; each has its own row in the embedding table."""

    pad: int
    eos: int
    image: int
    step: int
    dst: int
    asst: int
    user: int
    sum: int

    @staticmethod
    def of(tokenizer: Any) -> SpecialIds:
        """Look up the ids in a tokenizer.

        Raises:
            ValueError: If a special token is missing or two share an id.
        """
        ids = [tokenizer.convert_tokens_to_ids(token) for token in SPECIAL_TOKENS]
        lacking = [t for t, i in zip(SPECIAL_TOKENS, ids, strict=True) if i is None or i == tokenizer.unk_token_id]
        if lacking or len(set(ids)) != len(ids):
            raise ValueError(f"the tokenizer lacks special tokens {lacking or SPECIAL_TOKENS}")
        return SpecialIds(*ids)

    @property
    def new(self) -> tuple[int, ...]:
        """All ids except the image slot, the only special token that published models know."""
        return tuple(number for name, number in vars(self).items() if name != "image")

    @property
    def unsayable(self) -> tuple[int, ...]:
        """All ids except eos; no reply may contain them."""
        return tuple(number for name, number in vars(self).items() if name != "eos")


def digest_tokenizer(tokenizer: Any) -> str:
    """Compute a digest of the vocabulary and of the tokens of a probe text.

    It differs between tokenizers that give other ids to the same text, and does not depend on the
    version in which a tokenizer was saved.
    """
    probe = "S1 (completed 2nd, 41 s): wipe the red cone\n[DST] Where's the 3rd äöü\u3042?"
    ids = tokenizer(probe, add_special_tokens=False, split_special_tokens=True).input_ids
    return hashlib.sha256(json.dumps([sorted(tokenizer.get_vocab().items()), ids]).encode()).hexdigest()


#: function words, which form one piece with the next word
_FUNCTION_WORDS = "a|an|the|in|with|from"


#: pieces that BPE never merges across, in this order: a step's id without the space before it;
#: words in parentheses; a word with the function words before it; punctuation; white space
_PIECES = (
    r"\p{L}+\p{N}+"
    r"| ?\(\p{L}+(?: \p{L}+)*\)?"
    rf"| ?(?:(?i:{_FUNCTION_WORDS}) )*(?!\p{{L}}+\p{{N}})[\p{{L}}\p{{N}}]+"
    r"| ?[^\s\p{L}\p{N}]+"
    r"|\s+"
)


def train_tokenizer(texts: Iterable[str], vocab_size: int) -> Any:
    """Train a byte-level BPE tokenizer; the same texts give the same tokenizer.

    ``S4 (not started): wipe the red cone with the cloth`` can be seven tokens, and so can every
    line of that form. A small model learns much faster if the relevant words are always the same
    number of tokens away. A step's id is the same token at every place.

    Args:
        texts: Training texts.
        vocab_size: Maximum number of entries.
    """
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    words = pre_tokenizers.Split(Regex(_PIECES), "isolated")
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [words, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=list(SPECIAL_TOKENS),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token=PAD, eos_token=EOS, clean_up_tokenization_spaces=False
    )


def add_tokenizer_special_tokens(tokenizer: Any) -> int:
    """Add the special tokens to a published tokenizer, with different pad and eos tokens.

    Returns:
        The number of new entries.
    """
    added: int = tokenizer.add_special_tokens({"additional_special_tokens": list(SPECIAL_TOKENS[2:])})
    added += tokenizer.add_special_tokens({"pad_token": PAD, "eos_token": EOS})
    return added
