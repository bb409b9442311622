"""Response tokens as pieces of text that join to the response, byte for byte.

Owns what each token contributes. A character whose bytes lie in several tokens belongs to the one that begins
it; those that only continue it are empty pieces. Bytes that are no UTF-8 (a response cut inside a character)
are written as `\\xE2`, never as a replacement character. Works for the byte-level vocabularies of the
supported models. Called by `run` and `model`.
"""

from collections.abc import Sequence
from typing import Any


class TokenTexts:
    """The texts of a tokenizer's tokens (a Hugging Face one)."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self._alphabet = byte_alphabet()
        self._added = {int(number): token for number, token in tokenizer.added_tokens_decoder.items()}
        self._known: dict[int, bytes] = {}

    def is_special(self, token_id: int) -> bool:
        """Whether a response's text leaves the token out, as it does the end of the turn."""
        return token_id in self._added and bool(self._added[token_id].special)

    def token_bytes(self, token_id: int) -> bytes:
        """Return the bytes that a token stands for; of one that the vocabulary lacks, `<token 123>`."""
        if token_id not in self._known:
            self._known[token_id] = self._bytes(token_id)
        return self._known[token_id]

    def pieces(self, token_ids: Sequence[int]) -> tuple[str, ...]:
        """Return one text for each token; joined they are the response, its special tokens included."""
        parts = [self.token_bytes(int(token_id)) for token_id in token_ids]
        owners = [number for number, part in enumerate(parts) for _ in part]
        pieces = [""] * len(parts)
        place = 0
        # Every byte that is none of a character's becomes one surrogate, so that places can be counted.
        for letter in b"".join(parts).decode(errors="surrogateescape"):
            stray = "\udc80" <= letter <= "\udcff"
            pieces[owners[place]] += f"\\x{ord(letter) - 0xDC00:02X}" if stray else letter
            place += 1 if stray else len(letter.encode())
        return tuple(pieces)

    def join_to(self, token_ids: Sequence[int], text: str) -> bool:
        """Whether a response of these tokens has this text: false where another tokenizer wrote it."""
        parts = (self.token_bytes(int(token)) for token in token_ids if not self.is_special(int(token)))
        return b"".join(parts).decode(errors="replace") == text

    def _bytes(self, token_id: int) -> bytes:
        if token_id in self._added:
            return str(self._added[token_id].content).encode(errors="replace")
        try:
            token = self._tokenizer.convert_ids_to_tokens(token_id)
        except (OverflowError, IndexError):  # no number of a token at all
            token = None
        if token is None:
            return f"<token {token_id}>".encode()
        if all(letter in self._alphabet for letter in token):
            return bytes(self._alphabet[letter] for letter in token)
        return str(token).encode(errors="replace")


def byte_alphabet() -> dict[str, int]:
    """The byte that each letter of a byte-level vocabulary stands for.

    Bytes that print as Latin-1 stand for themselves, the others, in order, for the letters from U+0100 on.
    """
    printing = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printing]
    letters = {chr(byte): byte for byte in printing}
    return letters | {chr(0x100 + number): byte for number, byte in enumerate(others)}
