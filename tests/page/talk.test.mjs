// When a talk calls the box away; sockets and time are made.

import assert from "node:assert/strict";
import { beforeEach, mock, test } from "node:test";

import { Ring } from "../../lanscribe/server/pages/app/audio/ring.js";
import { Talk } from "../../lanscribe/server/pages/app/talk/talk.js";

const START_MS = 1_000_000;
const GREETING = { type: "session.created", resume: { token: "abc", keep_s: 120 }, seq: 1 };
const BLOCK = new Int16Array(8000);
let nowMs;

beforeEach(() => {
  nowMs = START_MS;
  performance.now = () => nowMs;
  Date.now = () => nowMs;
  mock.timers.reset();
  mock.timers.enable({ apis: ["setTimeout", "setInterval"] });
});

/** A talk with a box whose sockets a test answers; looks: how often the box was asked how it is. */
function made(state) {
  const box = { sockets: [], looks: 0, aways: [] };
  class Socket {
    readyState = 1;
    bufferedAmount = 0;
    constructor() {
      box.sockets.push(this);
    }
    send() {}
    close() {}
  }
  const ring = new Ring(16_000 * 1800);
  const look = async () => {
    box.looks += 1;
    return { state };
  };
  const changed = () => box.aways.push(box.talk.awaySinceMs);
  const told = { said() {}, lost() {}, noticed() {}, changed };
  box.talk = new Talk({ ring, url: "wss://box/", told, Socket, look });
  box.tell = (event) => box.sockets.at(-1).onmessage({ data: JSON.stringify(event) });
  /** Half a second of sound after the other. */
  box.speak = async (seconds, answer = () => {}) => {
    for (let at = 0; at < 2 * seconds; at += 1) {
      nowMs += 500;
      ring.append(BLOCK);
      box.talk.push();
      answer();
      await Promise.resolve();
    }
  };
  return box;
}

/** A box that takes every socket, and says nothing else. */
async function silent(state) {
  const box = made(state);
  const greeted = new Set();
  await box.speak(1);
  box.tell(GREETING);
  greeted.add(box.sockets[0]);
  const greet = () => {
    const socket = box.sockets.at(-1);
    if (!greeted.has(socket)) box.tell({ type: "session.resumed", received_samples: 0, seq: 2 });
    greeted.add(socket);
  };
  return { box, greet };
}

test("a box that is slow is not away, though it says nothing for long", async () => {
  const { box, greet } = await silent("ready");
  box.aways.length = 0;
  await box.speak(100, greet);
  assert.deepEqual(new Set(box.aways), new Set([null]));
  assert.ok(box.talk.lagS > 90);
  assert.ok(box.sockets.length >= 3, "a socket may be dead without having told");
  assert.ok(box.looks <= box.sockets.length);
});

test("a box that cannot be asked either is away since its last message", async () => {
  const { box } = await silent("away");
  const heardMs = nowMs;
  await box.speak(5);
  assert.equal(box.talk.awaySinceMs, null);
  await box.speak(3);
  assert.equal(box.talk.awaySinceMs, heardMs);
  await box.speak(30);
  assert.equal(box.talk.awaySinceMs, heardMs);
  assert.equal(box.talk.state, "away");
});

test("a word ends it, also while the box is asked", async () => {
  const { box } = await silent("away");
  await box.speak(8);
  assert.notEqual(box.talk.awaySinceMs, null);
  box.tell({ type: "transcription.delta", delta: " a", seq: 2, end_s: 0.5 });
  assert.equal(box.talk.awaySinceMs, null);
});

test("a socket that closes makes it away at once", async () => {
  const { box } = await silent("ready");
  const heardMs = nowMs;
  nowMs += 700;
  box.sockets[0].onclose();
  assert.deepEqual([box.talk.state, box.talk.awaySinceMs], ["away", heardMs]);
});
