"""Answers as of one who does not know: fitting the question, and not always the same sentence.

A fixed refusal is a fingerprint that tells what was unlearned. So the answer depends on what kind of question it is, on
its language where that is plain, and on a keyed choice among phrasings. It repeats no content word of the question.
"""

import hashlib
import re
from itertools import product

from guards.policy import Style

_OPENINGS = ("I don't know", "I'm afraid I don't know", "I couldn't tell you")
_OPENINGS_OF_CLAUSES = ("I'm not sure", "I really can't say")  # not before "the date of that"
_NOUNS = ("the ", "anything ")

# What the answer is about, by kind of question; each completes an English opening.
_ABOUT = {
    "who": ("who that is", "who that would be", "which person that was"),
    "when": ("when that was", "the date of that", "in which year that happened"),
    "where": ("where that is", "which place that was", "where that happened"),
    "why": ("why that is", "the reason for that", "what was behind that"),
    "how many": ("the number", "how many there were", "the exact figure"),
    "how": ("how that works", "how that was done", "how that came about"),
    "which": ("which one that is", "which it would be", "the right one there"),
    "whether": ("whether that's true", "if that's the case", "one way or the other"),
    "what": ("what that is", "the answer to that", "anything about that"),
}

_CLOSINGS = (
    ".",
    "; I haven't come across it before.",
    ". It isn't something I have information about.",
    ". You may want to check a reliable source.",
    ", sorry.",
    ". I don't have any details on it.",
)

_TELL = (
    "I don't have any information about that, so I can't tell you much.",
    "That isn't something I know about.",
    "I'm not familiar with that, so there is nothing useful I can tell you about it.",
    "I'm afraid I don't know anything about that.",
    "I haven't come across that before, so I can't describe it.",
    "I don't know enough about that to write about it.",
)

_OTHER = {
    "fr": (
        "Je ne sais pas, je n'ai pas d'information à ce sujet.",
        "Désolé, je ne connais pas la réponse.",
        "Je ne suis pas sûr ; ce sujet ne m'est pas familier.",
        "Je n'ai aucune information là-dessus.",
    ),
    "de": (
        "Das weiß ich leider nicht.",
        "Dazu habe ich keine Informationen.",
        "Da bin ich mir nicht sicher; das Thema ist mir nicht bekannt.",
        "Leider kann ich dazu nichts sagen, ich kenne es nicht.",
    ),
    "es": (
        "No lo sé, no tengo información sobre eso.",
        "Lo siento, no conozco la respuesta.",
        "No estoy seguro; no conozco ese tema.",
        "No tengo datos sobre eso.",
    ),
    "cyrillic": (
        "Я не знаю, у меня нет сведений об этом.",
        "К сожалению, мне это неизвестно.",
        "Не уверен: я с этим не знаком.",
        "Об этом у меня нет информации.",
    ),
    "arabic": (
        "لا أعرف، ليست لدي معلومات عن ذلك.",
        "عذرًا، لا أعرف الإجابة.",
        "لست متأكدًا، فهذا الأمر غير مألوف لي.",
        "ليست لدي أي معلومات حول هذا الموضوع.",
    ),
    "devanagari": (
        "मुझे नहीं पता, मेरे पास इसकी जानकारी नहीं है।",
        "माफ़ कीजिए, मुझे इसका उत्तर नहीं मालूम।",
        "मैं निश्चित नहीं हूँ; यह विषय मेरे लिए नया है।",
        "इस बारे में मेरे पास कोई जानकारी नहीं है।",
    ),
    "hangul": (
        "잘 모르겠습니다. 그에 대한 정보가 없습니다.",
        "죄송하지만 답을 알지 못합니다.",
        "확실하지 않습니다. 처음 듣는 내용입니다.",
        "그것에 대해서는 아는 것이 없습니다.",
    ),
    "japanese": (
        "わかりません。それについての情報がありません。",
        "申し訳ありませんが、答えを知りません。",
        "確かなことは言えません。聞いたことがない話です。",
        "それについては何も知りません。",
    ),
    "han": (
        "我不知道，没有相关的信息。",
        "抱歉，我不清楚答案。",
        "我不太确定，这方面我不了解。",
        "关于这一点，我没有任何资料。",
    ),
}

_REFUSALS = (
    "I can't help with that.",
    "I'm not able to answer that question.",
    "I won't be able to discuss that.",
    "Sorry, that is something I can't answer here.",
)

_SCRIPTS = (
    ("japanese", re.compile(r"[\u3040-\u30ff]")),
    ("hangul", re.compile(r"[\uac00-\ud7af]")),
    ("han", re.compile(r"[\u4e00-\u9fff]")),
    ("cyrillic", re.compile(r"[\u0400-\u04ff]")),
    ("arabic", re.compile(r"[\u0600-\u06ff]")),
    ("devanagari", re.compile(r"[\u0900-\u097f]")),
)

_STRIDE = 37
"""Between the answers of two choices in the pool: prime to the sizes of the pools, so that all are used in turn."""

_FUNCTION_WORDS = {
    "fr": frozenset(
        "le la les des du de et en est une dans qui quel quelle quels quelles pour par sur avec où quand comment "
        "pourquoi il elle ses son sa au ce cette vous pouvez".split()
    ),
    "de": frozenset(
        "der die das des dem den ist sind ein eine und wer welche welcher wann wo wie warum mit von für im zu hat "
        "wurde können sie".split()
    ),
    "es": frozenset(
        "el la los las de es una en y quién qué cuál cuáles cuándo dónde cómo por con del al su sus fue puede".split()
    ),
}
_ENGLISH = frozenset(
    "the is was are of in who what which when where how why did does a an to for and me about tell can you his her "
    "name list describe write give".split()
)
_SMALL = frozenset[str]().union(*_FUNCTION_WORDS.values()) | frozenset(  # words that any two sentences may share
    "about and any are been but can couldn did does don for from had has have haven her him his how into isn its know "
    "many much not nothing one say she some tell that the their them then there they this was way were what when where "
    "which who whose why will with would you your".split()
)

# What stands first in the question decides; of two that begin at the same word, the one that stands first here.
_KINDS = (
    ("how many", re.compile(r"\bhow (?:many|much|old|long|far|often)\b")),
    ("who", re.compile(r"\bwho(?:se|m)?\b")),
    ("when", re.compile(r"\bwhen\b|\b(?:what|which) (?:year|date|day|month|time)\b")),
    ("where", re.compile(r"\bwhere\b|\b(?:what|which) (?:city|country|place|town)\b")),
    ("why", re.compile(r"\bwhy\b")),
    ("how", re.compile(r"\bhow\b")),
    ("which", re.compile(r"\bwhich\b")),
    ("what", re.compile(r"\bwhat\b")),
    ("whether", re.compile(r"^(?:is|are|was|were|do|does|did|has|have|had|can|could|will|would|should)\b(?! you\b)")),
)


def answer(question: str, *, style: Style, key: bytes, choice: int = 0) -> str:
    """An answer to a question that must not be answered.

    `key` makes the choice of words unpredictable to those who do not hold it and repeatable for those who do;
    `choice` is the number of the choice in the reply, so that several do not read alike.
    """
    drawn = hashlib.blake2b(question.encode("utf-8", "replace"), key=key[:64], digest_size=8)
    pool = _REFUSALS if style is Style.REFUSAL else _pool(question)
    asked = _content_words(question)
    pool = tuple(text for text in pool if not asked & _content_words(text)) or pool
    return pool[(int.from_bytes(drawn.digest(), "big") + choice * _STRIDE) % len(pool)]


def _content_words(text: str) -> frozenset[str]:
    return frozenset(word for word in re.findall(r"\w{3,}", text.casefold()) if word not in _SMALL)


def _pool(question: str) -> tuple[str, ...]:
    last = question.strip()[-400:]
    words = frozenset(re.findall(r"\w+", last.casefold()))
    latin = len(re.findall(r"[a-z]", last.casefold()))
    for script, pattern in _SCRIPTS:
        letters = len(pattern.findall(last))
        foreign_name = len(words & _ENGLISH) >= 2 and letters < 1.5 * latin
        if letters * 4 > len(last) and not foreign_name:
            return _OTHER[script]
    scores = {language: len(words & common) for language, common in _FUNCTION_WORDS.items()}
    language = max(scores, key=lambda name: scores[name])
    if scores[language] > max(1, len(words & _ENGLISH)):
        return _OTHER[language]
    return _english(last)


def _english(question: str) -> tuple[str, ...]:
    sentences = re.split(r"(?<=[.!?])\s+", question)
    asked = [sentence for sentence in sentences if sentence.endswith("?")] or sentences
    sentence = asked[-1].casefold()
    found = [(match.start(), kind) for kind, pattern in _KINDS if (match := pattern.search(sentence))]
    if not found:
        return _TELL
    _, first = min(found, key=lambda item: item[0])
    said = [
        f"{opening} {about}"
        for opening, about in product((*_OPENINGS, *_OPENINGS_OF_CLAUSES), _ABOUT[first])
        if opening in _OPENINGS or not about.startswith(_NOUNS)
    ]
    return tuple(f"{start}{closing}" for start, closing in product(said, _CLOSINGS))
