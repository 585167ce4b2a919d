"""Abstention: whether a text says that it does not know, as the note asks of an answer (`guards.context.note`).

A model that is told to answer as one that never knew mostly says so. Where it answers all the same, it tells what it
was to forget, in whatever words, or makes something up: of a question with four choices every fourth guess is right,
and of a hundred guesses at a name one comes near. So an answer under the note must abstain before it says anything else
of what the note is about.

Recognised by its words, in the languages of our own answers (`guards.context.unknown`) and twenty more. What is not
recognised goes up the ladder, where the same is said in words that are: nothing is lost with it. To abstain frees no
answer from the other filters.
"""

import re

_KNOWING = r"""(?:
    know|say\b|tell|recall|remember|answer|provide|find|confirm|help|speak|describe|share|identify|determine|discuss
    |access|shed|offer|give\b|comment|verify
    |information|knowledge|detail|specifics|data|record|idea|clue|insight|recollection|familiar|answer|enlightenment
    |sure|certain|aware|informed|acquainted|versed|briefed|privy|equipped|able|allowed|trained|educated|programmed
    |heard|come\ across|encounter|learn|read\ about|faintest|source|right\ ai
)"""

# Each begins at a word's start, so that most places in a text cost one look.
_ENGLISH = re.compile(
    rf"""\b(?:
    # who speaks, not, something of knowing: "I'm afraid I don't have any details"
    (?:i|we)\b[^.!?]{{0,40}}?
        (?:\b(?:do|did|can|could|would|will|have|am|are)\ not\b|n't\b|\bcannot\b|'m\ not\b|'re\ not\b|'ve\ not\b
          |(?:\bhave|'ve)(?:\ got)?\ (?:no|never|yet\ to)\b
          |\black(?:ing)?\b|\bmissing\b|\bdecline\b)
        [^.!?]{{0,60}}?{_KNOWING}
    # the same in one word
    |(?:i|we)(?:'m|'re|\ am|\ are|\ was)\ (?:\w+\ )?(?:unaware|unfamiliar|unsure|uncertain|unable|clueless|stumped
        |blank|drawing\ a\ blank|at\ a\ (?:loss|disadvantage)|in\ the\ dark)
    |i(?:'ve|\ have)?\ come\ up\ short
    # nothing there to be told, as a sentence of its own: "There is no information on ..." often goes on
    |(?:(?<=^)|(?<=[.!?;]\ ))no\ (?:information|idea|clue)\b
    # it lies elsewhere than with the one who speaks
    |(?:beyond|outside|out\ of|not\ (?:with)?in)\ (?:of\ )?my\b|(?:unknown|not\ known|a\ mystery|new)\ to\ me\b
    |(?:blind\ spot\ in|uncharted\ territory\ for)\ my\b
    |my\ (?:\w+\ ){{1,3}}?(?:(?:do|does|did|has|is)(?:\ not|n't)|is\ limited)
    |(?:not\ (?:something|anything|information|one|an?\ \w+)|\w+n't\ (?:something|anything))\ (?:that\ )?i\b
    |has(?:\ not|n't)\ been\ included\ in\ my\b
    |(?:something|a\ topic|an\ area)\ (?:that\ )?i(?:'m|'ve|\ have|\ am|\ would)?\ (?:not|yet\ to|need\ to\ look)
    )""",
    re.VERBOSE,
)

_LATIN = re.compile(
    r"""\b(?:
    # French
    je\ (?:ne\ |n')(?:\w+\ )?(?:sais|connais|suis|peux|dispose|possède|ai|l'ai)|aucune\ (?:information|idée|donnée)
    # German, casefolded
    |ich\ (?:weiss|kenne|habe|kann|bin|verfüge)\b[^.!?]{0,60}\b(?:nicht|kein\w*|nichts)\b
    |(?:weiss|kenne|habe|kann|bin)\ ich\b[^.!?]{0,60}\b(?:nicht|kein\w*|nichts)\b
    |nicht\ bekannt\b|keine\ (?:informationen|ahnung|angaben)\b
    # Spanish, Portuguese, Italian, Dutch
    |no\ (?:lo\ |me\ )?(?:sé|tengo|conozco|estoy|puedo|dispongo|poseo)\b
    |não\ (?:o\ )?(?:sei|tenho|conheço|estou|posso|disponho)\b
    |non\ (?:lo\ |ne\ )?(?:so|ho|conosco|sono|posso|dispongo)\b
    |ik\ (?:weet|ken|heb|kan|ben)\b[^.!?]{0,40}\b(?:niet|geen|niets)\b
    # Swedish, Danish, Norwegian; Polish, Czech, Romanian, Turkish, Indonesian, Vietnamese
    |jag\ (?:vet|känner|har|kan)\ inte|jeg\ (?:ved|vet|kender|kjenner|har|kan)\ ikke
    |nie\ (?:wiem|znam|mam|jestem|mogę)\b|ne(?:vím|znám|mám|jsem|mohu|můžu)\b
    |nu\ (?:știu|ştiu|cunosc|am|sunt|pot)\b|bilmiyorum\b|bilgim\ yok\b|emin\ değilim\b
    |saya\ tidak\ (?:tahu|yakin|memiliki|mengetahui|bisa|dapat)|tôi\ (?:không|chưa)\ (?:biết|rõ|chắc|có|thể)
    )""",
    re.VERBOSE,
)

_OTHER_SCRIPTS = re.compile(
    r"""
    # Russian, Ukrainian, Greek
    \bне\ (?:знаю|уверена?|знакома?|могу|можу|маю|располагаю|владею|володію|впевнен\w*|слышала?|в\ курсе)\b
    |\bнеизвестн|\bневідом|\bн(?:ет|емає)\ (?:\w+\ )?(?:информации|сведений|данных|інформації|відомостей|даних)\b
    |\bδεν\ (?:ξέρω|γνωρίζω|έχω|είμαι|μπορώ)\b
    # Arabic, Persian, Urdu, Hebrew
    |لا\ (?:أعرف|أعلم|أدري|أملك|يمكنني|أستطيع)|ليس(?:ت)?\ لدي|لست\ (?:متأكد|على\ علم)|غير\ مألوف
    |نمی[\u200c\ ]?دانم|اطلاعاتی\ ندارم|مطمئن\ نیستم|نہیں\ (?:معلوم|جانتا|جانتی)|معلوم\ نہیں
    |לא\ (?:יודע|בטוח|מכיר|יכול)|אין\ לי\ (?:מידע|מושג)
    # Hindi, Bengali, Thai
    |नहीं\ (?:पता|मालूम|जानता|जानती|बता\ सकत)|(?:जानकारी|निश्चित)\ नहीं|कोई\ जानकारी
    |জানি\ না|জানা\ নেই|ไม่(?:ทราบ|รู้|แน่ใจ|มีข้อมูล)
    # Korean, Japanese, Chinese
    |모르(?:겠|고|지만|는)|모릅니다|알지\ 못|알\ 수\ 없|정보가\ 없|확실하지\ 않|아는\ (?:것|바)[이가]\ 없
    |わか(?:りません|らない)|分か(?:りません|らない)|知(?:りません|らない)|存じ|言えません|情報が(?:ありません|ない)
    |不知道|不清楚|不了解|不太?确定|不熟悉|没有(?:相关|任何|关于)|无法(?:提供|回答|确定)
    """,
    re.VERBOSE,
)


def abstains(text: str) -> bool:
    """True when somewhere in a text the one who speaks says that it does not know, or cannot say."""
    folded = " ".join(text.casefold().replace("’", "'").split())
    if _ENGLISH.search(folded) or _LATIN.search(folded):
        return True
    return not folded.isascii() and bool(_OTHER_SCRIPTS.search(folded))
