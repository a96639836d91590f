/** A file's answer: events out of a text that grows, and what they make of a transcript. */

import assert from "node:assert/strict";
import test from "node:test";

import { Events } from "../../lanscribe/server/pages/app/talk/events.js";
import { Hearing } from "../../lanscribe/server/pages/app/talk/hearing.js";

const STREAM = [
  { type: "transcript.track", number: 2, count: 3, language: "de", title: "", why: "" },
  { type: "transcript.progress", heard: 0.5, duration: 9 },
  { type: "transcript.text.delta", delta: "Grüße", start: 0.1, end: 0.5 },
  { type: "transcript.missing", start: 0.6, end: 2, code: "damaged", why: "a reason" },
  { type: "transcript.text.delta", delta: " 👋 you", end: 3 },
  { type: "transcript.progress", heard: 8.5, duration: 8.5 },
  { type: "transcript.text.delta", delta: "" },
  { type: "transcript.text.done", text: "", lost: [{ start: 0.6, end: 2 }, { start: 4, end: 5 }] },
];
const TEXT = STREAM.map((event) => `data: ${JSON.stringify(event)}\n\n`).join("");

test("events are read once each, wherever the text was cut", () => {
  for (let cut = 0; cut <= TEXT.length; cut += 1) {
    const events = new Events();
    assert.deepEqual([...events.read(TEXT.slice(0, cut)), ...events.read(TEXT)], STREAM);
    assert.deepEqual(events.read(TEXT), []);
  }
});

test("a transcript has its words, its gaps and its length", () => {
  const hearing = new Hearing({ words: [], gaps: [], durationS: 0 });
  for (const event of STREAM) hearing.take(event);
  const { words, gaps, durationS } = hearing.transcript;
  assert.deepEqual(words.map((word) => word.text).join(""), "Grüße 👋 you");
  assert.deepEqual(gaps.map(({ startS, code }) => [startS, code]), [[0.6, "damaged"], [4, "lost"]]);
  assert.deepEqual([durationS, hearing.track.number, hearing.noSpeech], [8.5, 2, null]);
});

test("why nothing was heard is kept", () => {
  const hearing = new Hearing({ words: [], gaps: [], durationS: 0 });
  hearing.take({ type: "transcript.text.done", text: "", no_speech: { code: "quiet" } });
  assert.equal(hearing.noSpeech, "quiet");
});
