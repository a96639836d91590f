// The table of going on: what the page has after breaks of every kind.

import assert from "node:assert/strict";
import { test } from "node:test";
import { Session } from "../../lanscribe/server/pages/app/talk/session.js";
import { Story } from "../../lanscribe/server/pages/app/talk/story.js";
import { tableOf } from "./made.mjs";

/** What the page says after a message. */
function take(session, story, message, atS) {
  if (message.type === "error") session.refused(message);
  if (message.type === "error" || !session.isNew(message)) return [];
  if (message.type === "session.stopping") story.cut();
  if (message.type === "transcription.delta") return story.hear(message, atS);
  if (message.type !== "transcription.done") return [];
  session.token = "";
  return story.end(message);
}

function askedOf(address) {
  const { searchParams } = new URL(address);
  const seen = searchParams.get("seen");
  return { resume: searchParams.get("resume"), seen: seen === null ? null : Number(seen) };
}

for (const { name, connections, text } of tableOf("going_on")) {
  test(name, () => {
    const [session, story, said] = [new Session("ws://box:8000/v1/realtime"), new Story(), []];
    for (const { asks, greeting, from, recorded, ended, says } of connections) {
      assert.deepEqual(askedOf(session.address), asks);
      if (!session.greet(greeting, story, story.safe)) continue;
      assert.equal(story.sent, from);
      story.sent = recorded;
      story.isCommitted = ended;
      for (const { message, at_s } of says) said.push(...take(session, story, message, at_s));
    }
    const words = said.map((piece) => piece.text).join("").trim();
    assert.deepEqual(words.split(/\s+/), text.split(/\s+/));
    assert.ok(story.isWhole);
  });
}
