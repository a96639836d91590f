// Text of any length: what the page does for each change of it does not grow with all that was there before.

import assert from "node:assert/strict";
import { test } from "node:test";
import { paragraphsOf } from "../../lanscribe/server/pages/app/text/paragraphs.js";
import { addWord, isEndless } from "../../lanscribe/server/pages/app/text/words.js";

test("only text with a word that no language has is endless", () => {
  const endless = ["W".repeat(200_000), `a ${"\u00e4".repeat(2_001)} b`, "ก".repeat(80_000)];
  const others = ["", "word ".repeat(200_000), "W".repeat(2_000), "日本語の文章。".repeat(200), "ภาษาไทย".repeat(200)];
  assert.deepEqual([...endless, ...others].map(isEndless), [...endless.map(() => true), ...others.map(() => false)]);
});

test("a paragraph ends though no sentence does", () => {
  const words = [];
  for (let index = 0; index < 10_000; index += 1) addWord(words, ` word${index}`, index * 0.3, index * 0.3 + 0.2);
  const paragraphs = paragraphsOf({ words });
  assert.equal(paragraphs.map((one) => one.text).join(" "), words.map((word) => word.text).join("").trim());
  for (const { text } of paragraphs) assert.ok(text.length < 1_500, `${text.length} letters`);
});

test("words after a very long one are in another paragraph, so they do not touch it again", () => {
  const words = [];
  addWord(words, ` ${"W".repeat(200_000)}`, 0, 1);
  for (let index = 1; index < 20; index += 1) addWord(words, " after", index, index + 0.5);
  assert.deepEqual(paragraphsOf({ words }).map((one) => one.words.length), [1, 19]);
});
