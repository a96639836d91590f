"""Words of many languages, with and without spaces, and what engines make of them."""

from random import Random

TEXTS = {
    "en": "no matter try again fail better ever tried the whys wherefores thereof I'll it's",
    "de": "Straße groß weiß immer versucht nie mehr besser scheitern über Maß Fuß Füße",
    "fr": "l'été déjà où ça être aujourd'hui œuvre peut-être naïve çà là élève",
    "ru": "снова пробуй ошибайся лучше никогда ещё всё равно объём подъезд",
    "el": "πάλι δοκίμασε απέτυχε καλύτερα ποτέ λόγος λόγους Σίσυφος",
    "ar": "حاول مرة أخرى افشل أفضل لا يهم أبدا",
    "hi": "फिर कोशिश करो असफल बेहतर कभी नहीं की का कि",
    "ko": "다시 시도 실패 더 낫게 상관없어 언제나 했다",
    "tr": "yine dene İstanbul \u0131l\u0131k iyi yenil daha",
    "zh": "再试一次失败得更好没关系从来都是他们说的话",
    "ja": "もう一度やってみろ失敗しろもっとうまくカタカナー々",
}
UNSPACED = ("zh", "ja")
WORDS = {name: list(text) if name in UNSPACED else text.split() for name, text in TEXTS.items()}
MARKS = {"zh": "\u3002\uff0c\uff1f", "ja": "\u3002\u3001\uff1f"}


def sentence(rng: Random, language: str, count: int) -> list[str]:
    """So many words, each with its own space and mark."""
    words = []
    for number in range(count):
        mark = rng.choice(MARKS.get(language, ".,?!")) if rng.random() < 0.15 else ""
        word = rng.choice(WORDS[language])
        word = word.capitalize() if rng.random() < 0.1 else word
        is_parted = bool(number) and language not in UNSPACED
        words.append(f"{' ' if is_parted else ''}{word}{mark}")
    return words


def misheard(rng: Random, language: str, word: str) -> str:
    """No word of the language in its place, or half of it, or none."""
    space = " " if word.startswith(" ") else ""
    bare = word.strip()
    half = bare[: max(1, len(bare) // 2)]
    other = {"zh": "嗯", "ja": "え"}.get(language, bare[::-1])
    return rng.choice([f"{space}{other}", f"{space}{half}", ""])
