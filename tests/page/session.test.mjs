// A session outlives its socket, and is begun anew when the server has lost it.

import assert from "node:assert/strict";
import { test } from "node:test";
import { Refused, Session, lostOf, pauseMs } from "../../lanscribe/server/pages/app/talk/session.js";
import { Story } from "../../lanscribe/server/pages/app/talk/story.js";

const URL_ = "wss://box:8443/v1/realtime";
const CREATED = { type: "session.created", seq: 1, resume: { token: "T/+", keep_s: 60 } };

function greeted() {
  const [session, story] = [new Session(URL_), new Story()];
  assert.equal(session.greet(CREATED, story, 1_600), true);
  return { session, story };
}

test("a session is resumed by its token and the number of its newest message", () => {
  const { session, story } = greeted();
  assert.equal(session.keepS, 60);
  assert.deepEqual([story.base, story.sent], [1_600, 1_600]);
  assert.deepEqual([2, 3, 3, 2, 0, 4].map((seq) => session.isNew({ seq })), [true, true, false, false, true, true]);
  assert.equal(session.address, `${URL_}?resume=T%2F%2B&seen=4`);
  assert.equal(JSON.parse(session.acknowledgement).seen, 4);
  assert.deepEqual(JSON.parse(session.model("")), { type: "session.update", model: "", resume: true, tentative: true });
  session.greet({ type: "session.resumed", received_samples: 32_000, received_commits: 1 }, story, 0);
  assert.deepEqual([story.base, story.sent, story.isCommitted], [1_600, 33_600, true]);
});

test("a session that the server has lost is begun anew", () => {
  const { session, story } = greeted();
  assert.equal(session.greet({ type: "error", code: "resume_failed", error: "gone" }, story, 5), false);
  assert.equal(session.address, URL_);
  session.greet({ ...CREATED, seq: 1 }, story, 5);
  assert.equal(session.isNew({ seq: 2 }), true);
  assert.equal(story.base, 5);
});

test("a refusal tells its code, and whether another attempt may help", () => {
  const { session, story } = greeted();
  const refusal = (code) => {
    try {
      return session.greet({ type: "error", code, error: "a sentence" }, story, 0);
    } catch (error) {
      assert.ok(error instanceof Refused);
      return [error.message, error.code, error.passes, error.isEnd];
    }
  };
  assert.deepEqual(refusal("server_busy"), ["a sentence", "server_busy", true, false]);
  assert.deepEqual(refusal("unauthorized"), ["a sentence", "unauthorized", false, false]);
  assert.deepEqual(refusal("idle_timeout"), ["a sentence", "idle_timeout", false, true]);
  assert.equal(session.token, "");
});

test("a server that keeps no sessions gets nothing that it does not know", () => {
  const session = new Session(`${URL_}?a=b`);
  session.greet({ type: "session.created" }, new Story(), 0);
  assert.equal(session.address, `${URL_}?a=b`);
  assert.deepEqual(JSON.parse(session.model("m")), { type: "session.update", model: "m" });
});

test("what was lost has its place in the recording", () => {
  const part = { start_s: 1, end_s: 2.5 };
  assert.deepEqual(lostOf({ lost: [part] }, 100), [[16_100, 40_100]]);
  assert.deepEqual(lostOf({ lost: part }, 0), [[16_000, 40_000]]);
  assert.deepEqual(lostOf({}, 0), []);
});

test("pauses grow, and are never the same for all", () => {
  assert.deepEqual([0, 5, 50].map((failures) => pauseMs(failures, 0)), [60, 1_920, 1_920]);
  assert.equal(pauseMs(0, 1), 120);
});
