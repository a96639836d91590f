// What a screen reader hears of text that comes piece by piece.

import assert from "node:assert/strict";
import { test } from "node:test";

import { Sentences } from "../../lanscribe/server/pages/app/text/sentences.js";

/** The sentences of a text, and what waits at its end; the text comes in pieces of `size` letters. */
function said(text, size) {
  const sentences = new Sentences();
  const over = [];
  for (let at = 0; at < text.length; at += size) over.push(...sentences.feed(text.slice(at, at + size)));
  return [...over, sentences.flush()];
}

const TEXTS = {
  English: ["I met Mr. Beckett at 3.15.", "He said: “Fail again.”", "Did he?!", "He did"],
  Japanese: ["「やってみた。」", "失敗した。", "それがどうした！？", "もう一度"],
  Chinese: ["试过。", "失败过！", "没关系？", "再试"],
  Hindi: ["कोशिश की।", "असफल रहे।", "फिर से"],
  Arabic: ["هل حاولت؟", "نعم.", "مرة أخرى"],
  Armenian: ["Փորձեցի։", "Նորից"],
  Burmese: ["ကြိုးစားခဲ့တယ်။", "နောက်တစ်ခါ"],
};
const UNSPACED = ["Japanese", "Chinese"];

for (const [name, sentences] of Object.entries(TEXTS)) {
  test(`${name} is told sentence by sentence`, () => {
    const text = sentences.join(UNSPACED.includes(name) ? "" : " ");
    for (const size of [1, 2, 5, 1000]) assert.deepEqual(said(text, size), sentences);
  });
}

test("text without an end does not wait for it, so no letter is looked at often", () => {
  for (const text of ["word ".repeat(20_000).trim(), "字".repeat(20_000)]) {
    const sentences = said(text, 3);
    assert.ok(Math.max(...sentences.map((one) => one.length)) <= 481);
    assert.equal(sentences.join(text.includes(" ") ? " " : ""), text);
  }
});

test("a sentence is told when the next one begins, not when it is asked for", () => {
  const sentences = new Sentences();
  assert.deepEqual(sentences.feed("失敗した。"), []);
  assert.deepEqual(sentences.feed("」も"), ["失敗した。」"]);
});
