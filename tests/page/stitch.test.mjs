// The stitch, the story and the words of the page answer as those of the terminal clients do.

import assert from "node:assert/strict";
import { test } from "node:test";
import { Stitch } from "../../lanscribe/server/pages/app/talk/stitch.js";
import { Story } from "../../lanscribe/server/pages/app/talk/story.js";
import { tableOf } from "./made.mjs";

test("the stitch finds the words that were said already, as Python's does", () => {
  for (const row of tableOf("stitches")) {
    const stitch = new Stitch(row.said, row.isOpen, row.saidS);
    const told = row.fed.map((piece) => stitch.feed(piece));
    assert.deepEqual(told, row.told);
    assert.equal(stitch.hasWords, row.hasWords);
    assert.deepEqual(stitch.close(), row.closed, JSON.stringify(row));
  }
});

/** One step of a story; returns the pieces that it tells. */
function take(story, step) {
  if (step.do === "begin") {
    story.begin(step.place);
    story.sent = step.sent;
  }
  if (step.do === "cut") story.cut();
  if (step.do === "hear") return story.hear(step.event, step.nowS);
  if (step.do !== "end") return undefined;
  story.isCommitted = step.isCommitted;
  const told = story.end(step.event);
  assert.equal(story.isWordless(step.event), step.wordless);
  return told;
}

test("the story tells and knows what Python's does, step by step", () => {
  for (const { steps } of tableOf("stories")) {
    const story = new Story();
    for (const [index, step] of steps.entries()) {
      const what = JSON.stringify(steps.slice(0, index + 1));
      assert.deepEqual(take(story, step), step.told, what);
      const { base, sent, heard, place, safe, isWhole, lastWords } = story;
      assert.deepEqual({ base, sent, heard, place, safe, isWhole, lastWords }, step.known, what);
    }
  }
});
