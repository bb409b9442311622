import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgpo_async.demo.tiny_vlm import tiny_vlm_path
from pgpo_async.report.tokens.pieces import TokenTexts

# Lone surrogates are no text, and a tokenizer takes none.
TEXTS = st.text(st.characters(codec="utf-8"), max_size=60)


@pytest.fixture(scope="module")
def tokenizer():
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(tiny_vlm_path())


@pytest.fixture(scope="module")
def texts(tokenizer):
    return TokenTexts(tokenizer)


def ids_of(tokenizer, text):
    return tokenizer.encode(text, add_special_tokens=False)


@given(text=TEXTS)
def test_the_pieces_of_any_text_join_to_it(tokenizer, texts, text):
    ids = ids_of(tokenizer, text)
    pieces = texts.pieces(ids)
    assert len(pieces) == len(ids)
    assert "".join(pieces) == text
    assert texts.join_to(ids, tokenizer.decode(ids, skip_special_tokens=True))


@given(ids=st.lists(st.integers(0, 410), max_size=40))
def test_the_pieces_of_any_tokens_hold_all_their_bytes_and_no_replacement_character(texts, ids):
    pieces = texts.pieces(ids)
    assert len(pieces) == len(ids)
    assert "\ufffd" not in "".join(pieces)
    whole = b"".join(texts.token_bytes(token) for token in ids)
    assert "".join(pieces).lower() == whole.decode(errors="backslashreplace").lower()


@given(ids=st.lists(st.integers(0, 399), max_size=40))
def test_a_response_joins_to_the_text_that_its_tokenizer_decodes(tokenizer, texts, ids):
    assert texts.join_to(ids, tokenizer.decode(ids, skip_special_tokens=True))


def test_a_character_of_several_tokens_belongs_to_the_one_that_begins_it(tokenizer, texts):
    ids = ids_of(tokenizer, "a\U0001f600b")
    assert len(ids) == 6  # the picture is four bytes, of which this vocabulary knows no longer piece
    assert texts.pieces(ids) == ("a", "\U0001f600", "", "", "", "b")


def test_a_response_cut_inside_a_character_shows_its_bytes(tokenizer, texts):
    ids = ids_of(tokenizer, "a\U0001f600")[:-2]
    assert texts.pieces(ids) == ("a", "\\xF0", "\\x9F")


def test_special_tokens_are_told_and_are_no_part_of_the_text(tokenizer, texts):
    ids = [*ids_of(tokenizer, " red"), tokenizer.eos_token_id]
    assert texts.pieces(ids)[-1] == "<|im_end|>"
    assert [texts.is_special(token) for token in ids] == [False] * (len(ids) - 1) + [True]
    assert texts.join_to(ids, " red")
    assert not texts.join_to(ids, " blue")


def test_a_number_that_is_no_token_is_shown_as_one(texts):
    assert texts.pieces(np.array([99_999])) == ("<token 99999>",)
