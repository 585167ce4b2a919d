"""The same name in any script has a skeleton in common, and is liker to itself than to its neighbours."""

import pytest

from indexes.names.sound import likeness, readings, skeletons, writes_few_vowels
from indexes.words import words_of

SPELT = {
    "hina": "Хина Хины هینا हिना 히나 ヒナ".split(),
    "ameen": "Амин امین अमीन 아민 אמין".split(),
    "nikolai": "Николай Николаем نيكولاي निकोलाई 니콜라이 Nikolaï".split(),
    "abilov": "Абилова Абиловым أبيلوف अबिलोव 아빌로프의".split(),
    "mahfouz": "Махфузом محفوظ महफूज 마푸즈".split(),
    "vasquez": "Васкеса فاسكويز 바스케즈".split(),
}


@pytest.mark.parametrize(("name", "spelt"), [(name, s) for name, all_ in SPELT.items() for s in all_])
def test_a_name_is_heard_in_every_script(name: str, spelt: str) -> None:
    word = "".join(word.text for word in words_of(spelt))
    heard = [form for form in readings(word) if set(skeletons(form)) & set(skeletons(name))]
    assert heard
    assert max(likeness(form, name, writes_few_vowels(word)) for form in heard) > 0.7


@pytest.mark.parametrize(("word", "name"), [("kan", "hina"), ("من", "ameen"), ("basin", "mahfouz"), ("lieu", "ameen")])
def test_other_words_are_not_it(word: str, name: str) -> None:
    assert max(likeness(form, name, writes_few_vowels(word)) for form in readings(word)) < 0.8


def test_a_word_without_letters_has_no_skeleton() -> None:
    assert skeletons("") == ()
    assert skeletons("1956") == ()
    assert readings("ー") == ()


def test_ambiguous_letters_give_a_bounded_number_of_readings() -> None:
    assert len(skeletons("jwjwjwjwjwjwjwjwcgcgcgthx" * 3)) <= 6
