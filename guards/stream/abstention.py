"""Abstention: whether a text says that it does not know, as the note asks of an answer (`guards.context.note`).

A model that is told to answer as one that never knew mostly says so. Where it answers all the same, it tells what it
was to forget, in whatever words, or makes something up: of a question with four choices every fourth guess is right,
and of a hundred guesses at a name one comes near. So an answer under the note must abstain before it says anything else
of what the note is about.

Recognised by its words, in the languages of our own answers (`guards.context.unknown`) and some more. What is not
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

_ENGLISH = re.compile(
    rf"""
    # who speaks, not, something of knowing: "I'm afraid I don't have any details"
    \b(?:i|we)\b[^.!?]{{0,40}}?
        (?:\b(?:do|did|can|could|would|will|have|am|are)\ not\b|n't\b|\bcannot\b|'m\ not\b|'re\ not\b|'ve\ not\b
          |\b(?:have|'ve)(?:\ got)?\ (?:no|never|yet\ to)\b|'ve(?:\ got)?\ (?:no|never|yet\ to)\b
          |\black(?:ing)?\b|\bmissing\b|\bdecline\b)
        [^.!?]{{0,60}}?{_KNOWING}
    # the same in one word
    |\b(?:i|we)(?:'m|'re|\ am|\ are|\ was)\ (?:\w+\ )?(?:unaware|unfamiliar|unsure|uncertain|unable|clueless|stumped
        |blank|drawing\ a\ blank|at\ a\ (?:loss|disadvantage)|in\ the\ dark)
    |\bi\ come\ up\ short|\bi've\ come\ up\ short
    |(?:^|[.!?;]\ )no\ (?:information|idea|clue)\b
    # it lies elsewhere than with the one who speaks
    |\b(?:beyond|outside|out\ of|not\ (?:with)?in)\ (?:of\ )?my\b|\b(?:unknown|not\ known|a\ mystery|new)\ to\ me\b
    |\b(?:blind\ spot\ in|uncharted\ territory\ for)\ my\b
    |\bmy\ (?:\w+\ ){1, 3}?(?:(?:do|does|did|has|is)(?:\ not|n't)|is\ limited)
    |\bnot\ (?:something|anything|information|one|an?\ \w+)\ (?:that\ )?i\b|n't\ (?:something|anything)\ (?:that\ )?i\b
    |\bhas(?:\ not|n't)\ been\ included\ in\ my\b
    |\b(?:something|a\ topic|an\ area)\ (?:that\ )?i(?:'m|'ve|\ have|\ am|\ would)?\ (?:not|yet\ to|need\ to\ look)
    """,
    re.VERBOSE,
)

_OTHERS = re.compile(
    r"""
    # French
    \bje\ (?:ne\ |n')(?:\w+\ )?(?:sais|connais|suis|peux|dispose|possède|ai|l'ai)|\baucune\ (?:information|idée|donnée)
    # German, casefolded
    |\bich\ (?:weiss|kenne|habe|kann|bin|verfüge)\b[^.!?]{0,60}\b(?:nicht|kein\w*|nichts)\b
    |\b(?:weiss|kenne|habe|kann|bin)\ ich\b[^.!?]{0,60}\b(?:nicht|kein\w*|nichts)\b
    |\bnicht\ bekannt\b|\bkeine\ (?:informationen|ahnung|angaben)\b
    # Spanish, Portuguese, Italian, Dutch
    |\bno\ (?:lo\ |me\ )?(?:sé|tengo|conozco|estoy|puedo|dispongo|poseo)\b
    |\bnão\ (?:o\ )?(?:sei|tenho|conheço|estou|posso|disponho)\b
    |\bnon\ (?:lo\ |ne\ )?(?:so|ho|conosco|sono|posso|dispongo)\b
    |\bik\ (?:weet|ken|heb|kan|ben)\b[^.!?]{0,40}\b(?:niet|geen|niets)\b
    # Russian
    |\bне\ (?:знаю|уверена?|знакома?|могу|располагаю|владею|слышала?|в\ курсе)\b
    |\bнеизвестн|\bнет\ (?:\w+\ )?(?:информации|сведений|данных)\b
    # Arabic, Hindi, Korean, Japanese, Chinese
    |لا\ (?:أعرف|أعلم|أدري|أملك|يمكنني|أستطيع)|ليس(?:ت)?\ لدي|لست\ (?:متأكد|على\ علم)|غير\ مألوف
    |नहीं\ (?:पता|मालूम|जानता|जानती|बता\ सकत)|(?:जानकारी|निश्चित)\ नहीं|कोई\ जानकारी
    |모르(?:겠|ㅂ|고|지만|는)|모릅니다|알지\ 못|알\ 수\ 없|정보가\ 없|확실하지\ 않|아는\ (?:것|바)[이가]\ 없
    |わか(?:りません|らない)|分か(?:りません|らない)|知(?:りません|らない)|存じ|言えません|情報が(?:ありません|ない)
    |不知道|不清楚|不了解|不太?确定|不熟悉|没有(?:相关|任何|关于)|无法(?:提供|回答|确定)
    """,
    re.VERBOSE,
)


def abstains(text: str) -> bool:
    """True when somewhere in a text the one who speaks says that it does not know, or cannot say."""
    folded = " ".join(text.casefold().replace("’", "'").split())
    return bool(_ENGLISH.search(folded) or _OTHERS.search(folded))
