"""ERNIE's tokenizer: the same ids as PaddleNLP's ``ErnieTokenizer``, without PaddleNLP.

    special tokens that the text spells out   "[SEP]" in a text becomes the token, as PaddleNLP has it
    -> character table                        control dropped, CJK, punctuation, symbols apart, lower case, accents off
    -> words -> longest pieces first          WordPiece (Schuster and Nakajima 2012), at most 100 characters a word

WordPiece is that of the ``tokenizers`` library. Its normalizer is not used: it sorts characters by another Unicode
version than PaddleNLP does and joins symbols to words, so that every id behind an emoji or a currency sign moves.
"""

from __future__ import annotations

import re
import sys
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer
from tokenizers.models import WordPiece

from devices.errors import TokenizerError

PAD, CLS, SEP, MASK, UNK = SPECIAL_TOKENS = ("[PAD]", "[CLS]", "[SEP]", "[MASK]", "[UNK]")
_SPECIAL = re.compile("(" + "|".join(re.escape(token) for token in SPECIAL_TOKENS) + ")")
_LONGEST_WORD = 100  # characters; PaddleNLP makes longer words [UNK]
# the CJK ideograph blocks, each of whose characters is a word (BERT's list, which PaddleNLP keeps)
_CJK = (
    (0x4E00, 0x9FFF),
    (0x3400, 0x4DBF),
    (0x20000, 0x2A6DF),
    (0x2A700, 0x2B73F),
    (0x2B740, 0x2B81F),
    (0x2B820, 0x2CEAF),
    (0xF900, 0xFAFF),
    (0x2F800, 0x2FA1F),
)
# letters and numbers by Unicode, symbols by PaddleNLP's own list
_ALSO_SYMBOLS = frozenset("\u00b2\u00b5\u00ba\u00d8\u014b\u01b1\u3007")


@dataclass(frozen=True)
class Encoded:
    """Several texts as one batch.

    Attributes:
        input_ids: (N, L) int64, [CLS] ... [SEP], padded behind with the pad id.
        token_type_ids: (N, L) int64, all zero: every text is one segment.
        lengths: Per text, tokens before the padding.
    """

    input_ids: NDArray[np.int64]
    token_type_ids: NDArray[np.int64]
    lengths: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Window:
    """A part of a text that one run of a model sees.

    Attributes:
        ids: (L,) int32, [CLS] ... [SEP], without padding.
        start: The part's first character's index in the text.
        end: The index behind its last character.
    """

    ids: NDArray[np.int32]
    start: int
    end: int


class ErnieTokenizer:
    """Text to ids.

    Args:
        vocab: One token a line, as the bytes of ``vocab.txt``, its path, or the tokens themselves. The line number is
            the id; of a token that stands twice the later line counts (ERNIE 3.0 has ``$`` at 12084 and 18005).
        lowercase: Lower case and no accents, as ``do_lower_case`` in ``tokenizer_config.json``.

    Raises:
        TokenizerError: The file is missing, is not UTF-8, or lacks a special token.
    """

    def __init__(self, vocab: Path | bytes | Sequence[str], lowercase: bool = True) -> None:
        tokens = read_vocab(vocab)
        self.vocab_size = len(tokens)
        ids = {token: index for index, token in enumerate(tokens)}
        if missing := [token for token in SPECIAL_TOKENS if token not in ids]:
            raise TokenizerError(
                f"The vocabulary of {len(tokens)} tokens lacks {', '.join(missing)}.",
                remedy="Use the vocab.txt that came with the model.",
            )
        self.pad_id, self._cls, self._sep = (ids[token] for token in (PAD, CLS, SEP))
        self._wordpiece = Tokenizer(WordPiece(ids, unk_token=UNK, max_input_chars_per_word=_LONGEST_WORD))
        self._table = _CharacterTable(lowercase)

    def encode(self, texts: Sequence[str], max_length: int, *, multiple_of: int = 1) -> Encoded:
        """Turn texts into one batch, padded to the longest.

        Args:
            texts: At least one; an empty one becomes [CLS] [SEP].
            max_length: Tokens, with [CLS] and [SEP]; what is beyond is cut from the end.
            multiple_of: Pad further, to the next multiple of this, but never beyond ``max_length``.
        """
        rows = [self.ids(text, max_length) for text in texts]
        lengths = tuple(len(row) for row in rows)
        width = min(-(-max(lengths) // multiple_of) * multiple_of, max_length)
        input_ids = np.full((len(rows), width), self.pad_id, np.int64)
        for row, ids in zip(input_ids, rows, strict=True):
            row[: len(ids)] = ids
        return Encoded(input_ids, np.zeros_like(input_ids), lengths)

    def ids(self, text: str, max_length: int) -> list[int]:
        """One text's ids with [CLS] and [SEP], at most ``max_length``, without padding."""
        room = max_length - 2
        if room < 0:
            raise ValueError(f"max_length is {max_length}; [CLS] and [SEP] alone need 2.")
        words: list[str] = []
        for part in _SPECIAL.split(text):
            words += [part] if part in SPECIAL_TOKENS else part.translate(self._table).split()
        # every word gives at least one token, so that words beyond the room need not be looked up
        found = self._wordpiece.encode(words[:room], is_pretokenized=True, add_special_tokens=False).ids
        return [self._cls, *found[:room], self._sep]

    def windows(self, text: str, max_length: int, overlap: int) -> list[Window]:
        """The whole text in parts of at most ``max_length`` tokens, each with [CLS] and [SEP].

        The first is what ``ids(text, max_length)`` gives. Each further one begins with the last ``overlap`` tokens of
        the one before, or more of them in the last part, which is as long as the others.
        """
        room = max_length - 2
        if not 0 <= overlap < room:
            raise ValueError(f"an overlap of {overlap} does not fit into {room} tokens")
        tokens = np.array(self.ids(text, sys.maxsize)[1:-1], np.int32)
        if len(tokens) <= room:
            return [self._window(tokens, 0, len(text))]
        places = self.offsets(text, sys.maxsize)[1:-1]
        last = len(tokens) - room
        return [
            self._window(
                tokens[first : first + room],
                places[first][0] if first else 0,
                len(text) if first == last else places[first + room - 1][1],
            )
            for first in [*range(0, last, room - overlap), last]
        ]

    def _window(self, tokens: NDArray[np.int32], start: int, end: int) -> Window:
        return Window(np.concatenate([[self._cls], tokens, [self._sep]], dtype=np.int32), start, end)

    def offsets(self, text: str, max_length: int) -> list[tuple[int, int]]:
        """Where each token of ``ids(text, max_length)`` stands in ``text``: its first character, and the one behind.

        White space and characters that the table drops belong to no token, unless they stand inside one. [CLS] and
        [SEP] stand nowhere: (0, 0). Several tokens can stand on one character that the table writes as many.
        """
        room = max_length - 2
        if room < 0:
            raise ValueError(f"max_length is {max_length}; [CLS] and [SEP] alone need 2.")
        words, places = self._words_and_places(text, room)
        encoding = self._wordpiece.encode(words, is_pretokenized=True, add_special_tokens=False)
        found = [
            (places[word][start], places[word][end - 1] + 1)
            for word, (start, end) in zip(encoding.word_ids[:room], encoding.offsets[:room], strict=True)
            if word is not None  # it never is without special tokens; the library's type allows for it
        ]
        return [(0, 0), *found, (0, 0)]

    def _words_and_places(self, text: str, room: int) -> tuple[list[str], list[list[int]]]:
        """The first ``room`` words that ``ids`` looks up, and of each of their letters its character's index."""
        words: list[str] = []
        places: list[list[int]] = []
        word: list[str] = []
        place: list[int] = []

        def finish() -> None:
            if word:
                words.append("".join(word))
                places.append(place.copy())
            word.clear()
            place.clear()

        begin = 0
        for part in _SPECIAL.split(text):
            finish()
            if part in SPECIAL_TOKENS:
                word.append(part)
                place.extend(range(begin, begin + len(part)))
                finish()
            else:
                for index, character in enumerate(part, begin):
                    for shown in self._table[ord(character)]:
                        if shown == " ":
                            finish()
                        else:
                            word.append(shown)
                            place.append(index)
                    if len(words) > room:
                        break
            if len(words) > room:
                break
            begin += len(part)
        finish()
        return words[:room], places[:room]


class _CharacterTable(dict[int, str]):
    """For ``str.translate``: what becomes of each character, worked out when it is first met."""

    def __init__(self, lowercase: bool) -> None:
        super().__init__()
        self._lowercase = lowercase

    def __missing__(self, code: int) -> str:
        self[code] = result = self._replacement(code)
        return result

    def _replacement(self, code: int) -> str:
        character = chr(code)
        if character in "\t\n\r":
            return " "
        if code == 0xFFFD or unicodedata.category(character).startswith("C"):
            return ""
        if character.isspace():
            return " "
        shown = character
        if self._lowercase:
            decomposed = unicodedata.normalize("NFD", character.lower())
            shown = "".join(part for part in decomposed if unicodedata.category(part) != "Mn")
        shown = "".join(f" {part} " if _stands_alone(part) else part for part in shown)
        return f" {shown} " if any(low <= code <= high for low, high in _CJK) else shown


def _stands_alone(character: str) -> bool:
    """Punctuation and symbols, which PaddleNLP (2.4 and later) makes words of their own."""
    if character.isascii():
        return character.isprintable() and not character.isalnum() and character != " "
    return unicodedata.category(character)[0] in "PS" or character in _ALSO_SYMBOLS


def read_vocab(vocab: Path | bytes | Sequence[str]) -> Sequence[str]:
    """The tokens of a vocabulary in the order of their ids; see ``ErnieTokenizer`` for what it may be."""
    if isinstance(vocab, Path):
        try:
            content = vocab.read_bytes()
        except FileNotFoundError as error:
            raise TokenizerError(f"The vocabulary {vocab} is missing.") from error
    elif isinstance(vocab, bytes):
        content = vocab
    else:
        return vocab
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise TokenizerError(f"The vocabulary is not UTF-8: byte {error.start} cannot be read.") from error
    # not splitlines(): tokens such as U+2028 are characters here, not ends of lines
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    return lines[:-1] if lines[-1] == "" else lines
