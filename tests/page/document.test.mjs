// Captions and files are those that the terminal clients write; the text has its paragraphs.

import assert from "node:assert/strict";
import { test } from "node:test";
import { captionFile, widthOf } from "../../lanscribe/server/pages/app/text/captions.js";
import { KINDS, documentOf } from "../../lanscribe/server/pages/app/text/document.js";
import { paragraphsOf } from "../../lanscribe/server/pages/app/text/paragraphs.js";
import { tableOf } from "./made.mjs";

const inLine = (text) => text.trim().replace(/\s+/g, " ");

/** Numbers that are equal to the millisecond; Python rounds some halves of one otherwise. */
function assertAlike(actual, expected, what) {
  if (typeof expected === "number") assert.ok(Math.abs(actual - expected) < 1.1e-3, what);
  else if (expected === null || typeof expected !== "object") assert.equal(actual, expected, what);
  else for (const key of Object.keys(expected)) assertAlike(actual[key], expected[key], what);
}

test("captions and JSON are those of Python", () => {
  for (const { words, durationS, files } of tableOf("documents")) {
    const transcript = { words, durationS };
    for (const kind of ["srt", "vtt"]) assert.equal(documentOf(transcript, kind), files[kind]);
    assertAlike(JSON.parse(documentOf(transcript, "json")), JSON.parse(files.json), files.json);
    assert.equal(inLine(documentOf(transcript, "txt")), inLine(files.txt));
  }
});

test("each letter is as wide as Python says", () => {
  const { known, wide } = tableOf("letters");
  const found = known.filter((code) => widthOf(String.fromCodePoint(code)) === 2);
  assert.deepEqual(found, wide);
});

const word = (text, startS, endS = startS + 0.3) => ({ text, startS, endS });
const shape = (parts) => parts.map((part) => part.gap?.code ?? part.text);

test("a long pause and a gap begin a paragraph", () => {
  const words = [word("one", 0), word(" two", 1), word(" three", 4), word(" four", 64.4), word(" five", 65)];
  const gaps = [{ startS: 4.3, endS: 64.4, code: "no_sound" }, { startS: 66, endS: null, code: "paused" }];
  const parts = paragraphsOf({ words, gaps });
  assert.deepEqual(shape(parts), ["one two", "three", "no_sound", "four five", "paused"]);
  assert.deepEqual([parts[0].startS, parts[0].endS, parts[0].words.length], [0, 1.3, 2]);
});

test("a full paragraph ends with a sentence, in scripts without spaces too", () => {
  const spoken = (text, count) => Array.from({ length: count }, (_, at) => word(at % 10 === 9 ? text[1] : text[0], at / 3));
  for (const [text, least, most] of [[[" again", " again."], 55, 75], [["再", "。"], 170, 200]]) {
    const [first] = paragraphsOf({ words: spoken(text, 400) });
    assert.ok(first.words.length >= least && first.words.length <= most, `${first.words.length}`);
    assert.ok(first.text.endsWith(text[1].trim()));
  }
});

test("all words are in the paragraphs, in order", () => {
  for (const { words } of tableOf("documents")) {
    const gaps = words.slice(1, 4).map(({ startS }) => ({ startS, endS: startS, code: "lost" }));
    const parts = paragraphsOf({ words, gaps });
    assert.deepEqual(parts.flatMap((part) => part.words ?? []), words);
    assert.deepEqual(parts.flatMap((part) => part.gap ?? []), gaps);
  }
});

test("a text has its paragraphs, and what is missing in the words of the page", () => {
  const transcript = {
    words: [word("one", 0), word(" two", 60)],
    gaps: [{ startS: 0.3, endS: 60, code: "no_sound" }],
    durationS: 60.3,
    startedMs: 0,
  };
  assert.equal(documentOf(transcript, "txt"), "one\n\ntwo\n");
  assert.equal(documentOf(transcript, "txt", (gap) => `[${gap.code}]`), "one\n\n[no_sound]\n\ntwo\n");
  assert.deepEqual(JSON.parse(documentOf(transcript, "json")).missing, [{ start: 0.3, end: 60, code: "no_sound" }]);
});

test("a transcript without words gives files, too", () => {
  const made = KINDS.map((kind) => documentOf({ words: [], durationS: 0 }, kind));
  assert.deepEqual(made.slice(0, 3), ["\n", "", "WEBVTT\n\n"]);
  assert.equal(captionFile([], "srt"), "");
});
