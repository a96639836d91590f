// Whatever a server tells, a talk and the answer to a file go on with the next good event.

import assert from "node:assert/strict";
import { test } from "node:test";
import { Ring } from "../../lanscribe/server/pages/app/audio/ring.js";
import { Events } from "../../lanscribe/server/pages/app/talk/events.js";
import { Hearing } from "../../lanscribe/server/pages/app/talk/hearing.js";
import { Talk } from "../../lanscribe/server/pages/app/talk/talk.js";
import { RATE_HZ, seeded } from "./made.mjs";

const CREATED = { type: "session.created", seq: 1, resume: { token: "T", keep_s: 60 } };
const VALUES = [5, -1, 1e300, 0, 0.5, true, null, "", "1", [], [null], {}, { start_s: "a" }, [{ start_s: -9, end_s: 1e300 }],
  [{ start_s: 3, end_s: 1 }], [{ start: null, end: 2 }], [{ start: 1, end: 1e300 }], "constructor", "__proto__"];
const TYPES = ["session.created", "session.resumed", "session.stopping", "transcription.delta", "transcription.delta",
  "transcription.done", "error", "constructor", 5, null];
const FILE_TYPES = ["delta", "done"].map((name) => `transcript.text.${name}`).concat(
  ["missing", "progress", "track", "constructor"].map((name) => `transcript.${name}`), [5, null]);
const FIELDS = ["code", "error", "text", "tentative", "notice", "start_s", "end_s", "duration_s", "lost", "resume",
  "received_samples", "received_commits", "no_speech", "start", "end", "heard", "duration", "number", "count", "why"];
const JUNK = ["null", "5", '"x"', "[]", "{", "not json", "", "[".repeat(20_000), '{"type":"transcription.delta","end_s":NaN}'];
const WORDS = [" aa", " bb.", "cc", " dd ee"]; // with no letter of a value's text

const timeout = globalThis.setTimeout;
globalThis.setTimeout = (...args) => timeout(...args).unref(); // the page's pauses do not hold the tests

function one(random, values) {
  return values[Math.floor(random() * values.length)];
}

function messageOf(random, types) {
  if (random() < 0.15) return one(random, JUNK);
  const event = { type: one(random, types), delta: one(random, [...WORDS, ...VALUES]) };
  if (typeof event.delta === "string") event.delta = one(random, WORDS);
  for (const name of FIELDS) if (random() < 0.3) event[name] = one(random, VALUES);
  if ("text" in event && typeof event.text === "string") event.text = one(random, WORDS);
  if (random() < 0.3) event.seq = one(random, [-1, 1.5, "x", null, {}, 1e300]);
  return JSON.stringify(event).replace('"1"', random() < 0.5 ? "1e999" : '"1"');
}

/** A talk with a box that is told what to say; `say` opens a connection if none is. */
function talking() {
  const sockets = [];
  class Socket {
    readyState = 1;
    bufferedAmount = 0;
    constructor(address) {
      this.address = address;
      sockets.push(this);
    }
    send() {}
    close() {}
  }
  const [ring, said, lost] = [new Ring(1800 * RATE_HZ), [], []];
  const told = { said: (some) => said.push(...some), lost: (...part) => lost.push(part), noticed() {}, changed() {} };
  const talk = new Talk({ ring, url: "ws://box/v1/realtime", told, Socket, look: async () => ({ state: "ready" }) });
  const record = (seconds) => {
    ring.append(new Int16Array(seconds * RATE_HZ));
    talk.push();
  };
  const say = (message) => sockets.at(-1).onmessage?.({ data: message });
  const tell = (event) => say(JSON.stringify(event));
  const greet = () => {
    while (!sockets.at(-1)?.onmessage) talk.wake();
    if (talk.state !== "open") tell(CREATED);
  };
  return { talk, ring, said, lost, sockets, record, say, tell, greet };
}

test("a talk goes on with the next good event after any others", () => {
  for (let seed = 0; seed < 60; seed += 1) {
    const random = seeded(seed);
    const { talk, ring, said, lost, record, say, tell, greet } = talking();
    for (let count = 0; count < 30; count += 1) {
      record(1);
      greet();
      say(messageOf(random, TYPES));
    }
    record(60);
    greet();
    tell({ type: "transcription.delta", delta: " zz", start_s: 59, end_s: 90 });
    record(40);
    greet();
    tell({ type: "transcription.delta", delta: " yy", start_s: 120, end_s: 130 });
    talk.end();
    tell({ type: "transcription.done", text: "", duration_s: 1000 });
    talk.close();
    const text = said.map((piece) => piece.text).join("");
    assert.match(text, / zz(?: yy)?/, `seed ${seed}`);
    assert.match(text, /^[abcdeyz. ]*$/, `seed ${seed}`);
    for (const { startS, endS } of said) assert.ok(Number.isFinite(endS) && (startS === null || startS >= 0), `seed ${seed}`);
    for (const [start, end] of lost) assert.ok(0 <= start && start < end && end <= ring.end, `seed ${seed}: ${lost}`);
  }
});

test("messages that are missing are asked for once, then given up", () => {
  const { talk, said, sockets, record, tell, greet } = talking();
  record(10);
  greet();
  const delta = (seq, text) => tell({ type: "transcription.delta", delta: text, start_s: seq, end_s: seq + 0.5, seq });
  delta(2, "two");
  delta(4, " four");
  talk.wake();
  assert.deepEqual(sockets.map((socket) => socket.address.split("?")[1]), [undefined, "resume=T&seen=2"]);
  tell({ type: "session.resumed", received_samples: 1e15, received_commits: 0 });
  delta(3, " three");
  delta(6, " six");
  talk.wake();
  assert.match(sockets.at(-1).address, /seen=3/);
  tell({ type: "session.resumed", received_samples: 160_000, received_commits: 0 });
  delta(6, " six");
  delta(5, " five");
  delta(7, " seven");
  talk.close();
  assert.equal(said.map((piece) => piece.text).join(""), "two three six seven");
});

test("the answer to a file makes a transcript of whatever events", () => {
  for (let seed = 0; seed < 60; seed += 1) {
    const random = seeded(seed);
    const messages = Array.from({ length: 40 }, () => messageOf(random, FILE_TYPES).replaceAll("\n", " "));
    messages.push('{"type":"transcript.text.delta","delta":" zz"}', '{"type":"transcript.text.done"}');
    const hearing = new Hearing({ words: [], gaps: [], durationS: 0 });
    const events = new Events().read(messages.map((message) => `data: ${message}\n\n`).join(""));
    for (const event of events) hearing.take(event);
    const { words, gaps, durationS } = hearing.transcript;
    assert.match(words.map((word) => word.text).join(""), /^[abcde. ]* zz$/, `seed ${seed}`);
    const times = [...words, ...gaps].flatMap(({ startS, endS }) => [startS, endS ?? startS]);
    for (const seconds of [...times, durationS, hearing.heardS, hearing.ofS]) {
      assert.ok(seconds >= 0 && seconds < 1e6, `seed ${seed}: ${seconds}`);
    }
    for (const { code, why = "" } of gaps) assert.equal(typeof code + typeof why, "stringstring");
    assert.ok(hearing.track === null || hearing.track.count <= 100);
    assert.ok([null, "zeros", "quiet"].includes(hearing.noSpeech));
  }
});
