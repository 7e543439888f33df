"""Captions are understood as they are written, and none that is held out is ever drawn."""

import json
import random

import pytest
from toy.grammar import VOCABULARY, Caption, Thing, draw, parse, plain_captions
from toy.networks import LONGEST, MODELS, tokenizer
from toy.pictures import HELD_OUT, held_out, shown


def drawn(count, never=()):
    chance = random.Random(5)
    return [draw(chance, never) for _ in range(count)]


def test_captions_are_parsed_as_they_are_written():
    captions = [*plain_captions(), *(caption for caption, _ in drawn(2000))]
    assert all(parse(str(caption)) == caption for caption in captions)
    assert all(parse(words) == caption for caption, words in drawn(2000))  # synonyms mean the same
    caption = parse("a Small shiny orange ball on a large red box")
    assert caption == Caption(Thing("orange", "sphere", "small", "shiny"), "on", Thing("red", "cube", "large"))
    assert caption.combination == "an orange sphere on a red cube"


def test_there_are_enough_captions_to_be_ranked_among():
    texts = {str(caption) for caption in plain_captions()}
    assert len(texts) == len(plain_captions()) >= 300


@pytest.mark.parametrize(
    ("text", "fact"),
    [
        ("a red dog", "'dog' is no shape"),
        ("a mauve cube", "'mauve' is no colour"),
        ("red cube", "is not 'a [size]"),
        ("a red cube with a blue ear", "a COLOUR nose"),
        ("a red cube on", "'' is not"),
        ("a red cube sphere", "is not 'a [size]"),
    ],
)
def test_what_is_not_in_the_grammar_is_named(text, fact):
    with pytest.raises(ValueError) as caught:
        parse(text)
    assert fact in str(caught.value)


def test_every_word_has_a_number_and_every_caption_fits():
    tokens = tokenizer()
    assert len(set(VOCABULARY)) == len(VOCABULARY)
    longest = "a small striped orange cylinder beside a large striped orange cylinder, overhead view"
    texts = [longest, *(f"{words}, front view" for _, words in drawn(2000))]
    ids = tokens(texts).input_ids
    assert max(map(len, ids)) == len(ids[0]) == LONGEST
    assert not any(tokens.unk_token_id in row for row in ids)


def test_the_held_out_prompts_are_what_the_tables_need():
    texts = json.loads(HELD_OUT.read_text())
    plain, marked = ([parse(text) for text in texts[name]] for name in ("plain", "marked"))
    assert len(plain) >= 32 and len(marked) >= 16
    assert all(c.relation == "with" for c in marked) and not any(c.relation == "with" for c in plain)
    assert [str(caption) for caption in (*plain, *marked)] == [*texts["plain"], *texts["marked"]]
    assert len(held_out()) == len(plain) + len(marked)
    assert {c.relation for c in plain} == {"alone", "on", "beside"}


def test_training_never_draws_what_is_held_out():
    never = held_out()
    tempted = {caption.combination for caption, _ in drawn(20_000)}
    assert len(tempted & never) > 10  # without the list they are drawn
    assert not never & {caption.combination for caption, _ in drawn(20_000, never)}
    for name in ("pixels32", "views4"):  # and the batches that networks see are drawn with it
        words = [w for seed in range(4) for w in shown(MODELS[name], 64, seed, never).words if w]
        assert not never & {parse(text.split(",")[0]).combination for text in words}
