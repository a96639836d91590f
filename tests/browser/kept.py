"""Transcripts that a test puts into the browser, as the page itself keeps them."""

from typing import Any

SEED = """async (transcripts) => {
  const { Store } = await import("/pages/app/keep/store.js");
  const store = new Store(indexedDB, () => {});
  for (const one of transcripts) await store.put(one);
}"""
KEPT = """async () => {
  const { Store } = await import("/pages/app/keep/store.js");
  const store = new Store(indexedDB, () => {});
  const headers = await store.list();
  return Promise.all(headers.map((header) => store.get(header.id)));
}"""
"""The transcripts that the browser keeps."""


def transcript(number: int, text: str, *gaps: dict[str, Any]) -> dict[str, Any]:
    """A talk in which a word is said each half second."""
    words = [
        {"text": word if at == 0 else f" {word}", "startS": at / 2, "endS": at / 2 + 0.4}
        for at, word in enumerate(text.split())
    ]
    return {
        "id": f"talk{number}",
        "kind": "live",
        "title": "",
        "startedMs": 1_790_000_000_000 + number * 60_000,
        "durationS": len(words) / 2,
        "model": "moonshine-base-en",
        "language": "en",
        "words": words,
        "gaps": list(gaps),
        "isOpen": False,
    }


LONG_WORD = "Donaudampfschifffahrtselektrizitätenhauptbetriebswerkbauunterbeamtengesellschaft"
TRANSCRIPTS = [
    transcript(0, f"The name of the company is {LONG_WORD} and that is not short."),
    transcript(1, "لا يهم حاول مرة أخرى افشل مرة أخرى افشل بشكل أفضل"),
    transcript(
        2,
        " ".join(["Ever tried. Ever failed. No matter."] * 40),
        {"startS": 60, "endS": 90, "code": "no_sound"},
        {"startS": 100, "endS": 110, "code": "lost", "why": "the engine failed"},
    ),
]
"""With a long word; from right to left; long, with gaps."""
