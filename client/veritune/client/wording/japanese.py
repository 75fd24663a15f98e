"""Rewording rules for Japanese: kanji or kana, full-width or half-width digits, commas, and the copula."""

from __future__ import annotations

import re
from collections.abc import Iterator

from veritune.client.wording.sites import Site

# Each word in kanji, then in kana. A stem stands for its forms.
_WORDS = (
    ("子供", "子ども"),
    ("友達", "友だち"),
    ("例えば", "たとえば"),
    ("出来る", "できる"),
    ("出来ない", "できない"),
    ("出来ます", "できます"),
    ("出来ません", "できません"),
    ("全て", "すべて"),
    ("全く", "まったく"),
    ("従って", "したがって"),
    ("様々", "さまざま"),
    ("色々", "いろいろ"),
    ("時々", "ときどき"),
    ("一緒に", "いっしょに"),
    ("分かる", "わかる"),
    ("分かります", "わかります"),
    ("分かりました", "わかりました"),
    ("分からない", "わからない"),
    ("下さい", "ください"),
    ("最も", "もっとも"),
    ("更に", "さらに"),
    ("既に", "すでに"),
    ("殆ど", "ほとんど"),
    ("必ず", "かならず"),
    ("美味しい", "おいしい"),
    ("綺麗", "きれい"),
    ("沢山", "たくさん"),
    ("私", "わたし"),
    ("皆さん", "みなさん"),
    ("何故", "なぜ"),
    ("勿論", "もちろん"),
    ("是非", "ぜひ"),
    ("予め", "あらかじめ"),
    ("又は", "または"),
    ("及び", "および"),
    ("但し", "ただし"),
    ("椅子", "いす"),
    ("眼鏡", "めがね"),
    ("林檎", "りんご"),
)
_KANA = {kana: kanji for kanji, kana in _WORDS}
_KANJI = dict(_WORDS)


def _longest_first(words: dict[str, str]) -> str:
    return "|".join(sorted(words, key=len, reverse=True))


_IDEOGRAPH = "\u4e00-\u9fff\u3005"
_WORD = re.compile(
    # In kanji a word must not be part of a longer compound; in kana it must follow what can end another word.
    rf"(?<![{_IDEOGRAPH}])(?:{_longest_first(_KANJI)})(?![{_IDEOGRAPH}])"
    rf"|(?:(?<![ぁ-ん])|(?<=[はがをにもので、。]))(?:{_longest_first(_KANA)})"
)
_NOT_ME = re.compile("わたし(?=[ぁ-ん]?[てたま])")
"""Forms of 渡す (to hand over), which begin like わたし (I)."""
_KANA_LETTER = re.compile("[ぁ-んァ-ヶ]")
_DIGITS = re.compile(
    r"(?<![A-Za-z0-9\uff10-\uff19.,:/%$\uffe5+=*\u2212-])(?:[0-9]{1,4}|[\uff10-\uff19]{1,4})(?=[ぁ-んァ-ヶ\u4e00-\u9fff])"
)
_ANY_DIGITS = re.compile(r"[0-9\uff10-\uff19]+")
_WIDE_DIGITS = "".join(chr(0xFF10 + digit) for digit in range(10))
_WIDE = str.maketrans("0123456789", _WIDE_DIGITS)
_NARROW = str.maketrans(_WIDE_DIGITS, "0123456789")
_CONJUNCTION = re.compile(
    "(?:^|(?<=。))(?:しかし|そして|また|つまり|さらに|そのため|したがって|まず|次に|最後に)(、|\uff0c|)(?=[^、\uff0c\n])",
    re.M,
)
_COMMA = re.compile("[、\uff0c]")
_COPULA = re.compile(rf"(?<=[{_IDEOGRAPH}ァ-ヶー])(?:です|である)(?=。)")


def japanese_sites(text: str) -> Iterator[Site | None]:
    """Finds words, digits, commas and copulas of a Japanese text that may be written otherwise.

    Digits, commas and the copula are one choice each for a whole text. A text without kana has no sites.
    """
    if not _KANA_LETTER.search(text):
        return
    for match in _WORD.finditer(text):
        if not _NOT_ME.match(text, match.start()):
            word = match[0]
            yield Site.of(match, [_KANJI.get(word) or _KANA[word]])
    digits = list(_DIGITS.finditer(text))
    if len(digits) == len(_ANY_DIGITS.findall(text)):
        tables: tuple[dict[int, int], ...] = (_WIDE, _NARROW, {})
        ways = [[match[0].translate(table) for match in digits] for table in tables]
        yield Site.together([match.span() for match in digits], ways)
    endings = list(_COPULA.finditer(text))
    if len(endings) == text.count("。"):  # else polite and plain sentences would stand side by side
        yield Site.together([match.span() for match in endings], [[way] * len(endings) for way in ("です", "である")])
    commas = [match.span() for match in _COMMA.finditer(text)]
    if len({text[start] for start, _ in commas}) == 1:
        yield Site.together(commas, [[way] * len(commas) for way in "、\uff0c"])
    elif not commas:
        for match in _CONJUNCTION.finditer(text):
            yield Site.of(match, ["、", ""], 1)
