// What the live view says in each situation.

import assert from "node:assert/strict";
import { test } from "node:test";

import en from "../../lanscribe/server/pages/app/strings/en.js";
import { stateOf, Telling } from "../../lanscribe/server/pages/app/views/live_state.js";

const FINE = { state: "open", why: "", awaySinceMs: null, lagS: 0.3, isSettled: false };
const AWAY = { ...FINE, state: "away", awaySinceMs: 0 };
const SITUATION = { microphone: "on", isListening: true, isMuted: false, hasBegun: true, talk: FINE, nowMs: 10_000 };

function keyOf(changes) {
  const { key } = stateOf({ ...SITUATION, ...changes });
  assert.ok(`live.${key}` in en && `live.${key}.do` in en, key);
  return key;
}

test("it listens, pauses and writes the last words", () => {
  assert.equal(keyOf({}), "listening");
  assert.equal(keyOf({ talk: { ...FINE, lagS: 14 } }), "behind");
  assert.equal(keyOf({ microphone: "off", isListening: false }), "ending");
  assert.equal(keyOf({ microphone: "off", isListening: false, talk: { ...FINE, isSettled: true } }), "paused");
  assert.equal(keyOf({ microphone: "off", isListening: false, talk: null, hasBegun: false }), "ready");
});

test("it is behind until it has caught up", () => {
  const keys = [7, 5, 2, 5].map((lagS) => [true, false].map((wasBehind) => keyOf({ talk: { ...FINE, lagS }, wasBehind })));
  const [behind, listening] = ["behind", "listening"];
  assert.deepEqual(keys, [[behind, behind], [behind, listening], [listening, listening], [behind, listening]]);
});

test("a screen reader is told each state, but not each change of pace", () => {
  const telling = new Telling();
  const told = [];
  const show = (keys, stepMs) => keys.forEach((key, at) => telling.isNews(key, at * stepMs) && told.push(key));
  show(["ready", "listening", "listening"], 500);
  show(Array.from({ length: 100 }, (_, at) => ["behind", "listening"][at % 2]), 1000);
  show(["away.away", "listening", "ending", "paused"], 500);
  assert.deepEqual(told, ["listening", "behind", "away.away", "listening", "ending", "paused"]);
});

test("a short break is not worth a word, a longer one is told with its cause", () => {
  assert.equal(keyOf({ talk: AWAY, nowMs: 1000 }), "listening");
  const causes = ["", "away", "loading", "server_busy", "locked", "not_allowed", "internal", "resume_failed"];
  const told = causes.map((why) => keyOf({ talk: { ...AWAY, why } }).replace("away.", ""));
  assert.deepEqual(told, ["away", "away", "loading", "busy", "locked", "refused", "failing", "away"]);
  assert.equal(stateOf({ ...SITUATION, talk: { ...AWAY, why: "locked" } }).link, "/sign-in?next=/");
  assert.equal(keyOf({ talk: AWAY, isListening: false, microphone: "off" }), "away.away");
});

test("each trouble of the microphone is told", () => {
  for (const microphone of ["asking", "refused", "none", "taken", "failed", "interrupted", "gone"]) {
    assert.equal(keyOf({ microphone }), `mic.${microphone}`);
  }
  assert.equal(keyOf({ isMuted: true }), "mic.muted");
});
