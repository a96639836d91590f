// Pieces of text become words with times as on the server.

import assert from "node:assert/strict";
import { test } from "node:test";
import { addWord, inLine, isUnspaced } from "../../lanscribe/server/pages/app/text/words.js";
import { tableOf } from "./made.mjs";

test("pieces join to the words that Python makes of them", () => {
  for (const { fed, words, line } of tableOf("words")) {
    const made = [];
    for (const { text, startS, endS } of fed) addWord(made, text, startS, endS);
    assert.deepEqual(made, words);
    assert.equal(inLine(made), line);
  }
});

test("each letter that is a word by itself is known", () => {
  const { usual, unspaced } = tableOf("letters");
  const found = usual.filter((code) => isUnspaced(String.fromCodePoint(code)));
  assert.deepEqual(found, unspaced);
});
