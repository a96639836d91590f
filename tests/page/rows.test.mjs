/** How transcripts lie in the store, and how words are found in them. */

import assert from "node:assert/strict";
import { test } from "node:test";

import {
  ABANDONED_MS, finder, firstChanged, headerOf, isBeingWritten, PART_WORDS, partsOf, transcriptOf,
} from "../../lanscribe/server/pages/app/keep/rows.js";

const NOW = 1_800_000_000_000;

function wordAt(n) {
  return { text: ` w${n}`, startS: n / 4, endS: n / 4 + 0.123 };
}

function transcriptWith(count) {
  const words = Array.from({ length: count }, (_, n) => wordAt(n));
  const gaps = [{ startS: 1, endS: null, code: "paused" }];
  const about = { id: "a", kind: "live", title: "Tea", startedMs: NOW, durationS: 9 };
  return { ...about, model: "m", language: "en", words, gaps, isOpen: true };
}

test("a transcript is the same after it was stored", () => {
  for (const count of [0, 1, PART_WORDS - 1, PART_WORDS, 2 * PART_WORDS + 3]) {
    const one = transcriptWith(count);
    assert.deepEqual(transcriptOf(headerOf(one, undefined, NOW), partsOf(one.id, one.words)), one);
  }
});

test("no letter of a word is lost, however long it is", () => {
  const one = { ...transcriptWith(3), words: [wordAt(0), { ...wordAt(1), text: "\u8a9e".repeat(200_001) }, wordAt(2)] };
  assert.deepEqual(transcriptOf(headerOf(one, undefined, NOW), partsOf(one.id, one.words)), one);
});

test("what grew at its end is stored as if it were written whole", () => {
  const growing = [[0, 1], [1, 5000], [PART_WORDS, PART_WORDS], [PART_WORDS, PART_WORDS + 1], [5000, 3]];
  for (const [before, after] of growing) {
    const old = transcriptWith(before);
    const grown = transcriptWith(after);
    if (after >= before && before > 0) grown.words[before - 1].text += "!"; // the last word may grow itself
    const stored = partsOf("a", old.words);
    const first = firstChanged(headerOf(old, undefined, NOW), after);
    const now = [...stored.slice(0, first), ...partsOf("a", grown.words, first)];
    assert.deepEqual(now, partsOf("a", grown.words));
    assert.ok(now.length - first <= Math.ceil(Math.max(after - before, 0) / PART_WORDS) + 1);
  }
});

test("a name that a person gave stays, whatever the page writes", () => {
  const renamed = { ...headerOf(transcriptWith(1), undefined, NOW), title: "Mine", isRenamed: true };
  assert.equal(headerOf(transcriptWith(2), renamed, NOW).title, "Mine");
  assert.equal(headerOf(transcriptWith(2), headerOf(transcriptWith(1), undefined, NOW), NOW).title, "Tea");
});

test("a transcript whose page has ended is not being written", () => {
  const header = headerOf(transcriptWith(1), undefined, NOW);
  assert.ok(isBeingWritten(header, NOW + ABANDONED_MS - 1));
  assert.ok(!isBeingWritten(header, NOW + ABANDONED_MS));
  assert.ok(!isBeingWritten({ ...header, isOpen: false }, NOW));
});

test("every word has to be there, in the title or the text, in any case", () => {
  const header = { title: "Küche" };
  const text = " Der Tee ist fertig. (Wirklich?)";
  const excerpt = { before: "Der ", found: "Tee", after: " ist fertig. (Wirklich?)" };
  assert.deepEqual(finder("TEE")(header, text), excerpt);
  assert.equal(finder("tee kuchen")(header, text), null);
  assert.equal(finder("küche")(header, text).found, "");
  assert.equal(finder("ku\u0308che tee")(header, text).found, "Tee");
  assert.equal(finder("(wirklich?)")(header, text).found, "(Wirklich?)");
  assert.equal(finder("  ")(header, text).found, "");
});

test("a word is found in whatever form its accents are written", () => {
  const forms = ["NFC", "NFD", "NFKC", "NFKD"];
  for (const word of ["Müller", "Łódź", "Ångström", "Việt", "한국어", "がぎぐ", "Ζεύς"]) {
    for (const [wanted, stored] of forms.flatMap((one) => forms.map((other) => [word.normalize(one), word.normalize(other)]))) {
      for (const cased of [wanted, wanted.toUpperCase(), wanted.toLowerCase()]) {
        assert.ok(finder(cased)({ title: `${stored}1.m4a` }, ""), `${cased} in the title ${stored}`);
        assert.equal(finder(cased)({ title: "" }, ` a ${stored}.`).found.normalize(), word.normalize());
      }
    }
  }
  assert.equal(finder("muller")({ title: "Mu\u0308ller" }, ""), null);
});

test("an excerpt begins and ends at whole words", () => {
  const text = Array.from({ length: 100 }, (_, n) => ` word${n}`).join("");
  const { before, found, after } = finder("word50")({ title: "" }, text);
  assert.match(before + found + after, /^…word4\d .*word50.* word5\d…$/);
});
