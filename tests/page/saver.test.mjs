// When a live transcript is saved, and that a deleted one stays deleted.

import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";

import { Saver } from "../../lanscribe/server/pages/app/keep/saver.js";
import { Store } from "../../lanscribe/server/pages/app/keep/store.js";
import { Finishing } from "../../lanscribe/server/pages/app/talk/finishing.js";

let messages;
globalThis.BroadcastChannel = class {
  postMessage(message) {
    messages.push(message);
  }
};
beforeEach(() => (messages = []));

/** A transcript that is recorded, as the view has it. */
function recorded(id, store = new Store(undefined, () => {})) {
  const words = [{ text: "Try", startS: 0, endS: 1 }];
  const transcript = { id, kind: "live", title: "", startedMs: 0, durationS: 1, gaps: [], words, isOpen: true };
  const talk = { isSettled: false, isClosed: false, lagS: 1, close: () => (talk.isClosed = true) };
  const saver = new Saver(store, { transcript, talk, tell() {} });
  store.watch((gone, isGone) => isGone && saver.forget(gone));
  return { store, transcript, talk, saver };
}

const kept = async (store) => (await store.list()).map(({ start, isOpen }) => [start, isOpen]);

test("nothing is written and no tab is told while nothing changes", async () => {
  const { saver, transcript } = recorded("a");
  for (let time = 0; time < 50; time += 1) await saver.save();
  assert.equal(messages.length, 1);
  transcript.words.push({ text: " again", startS: 1, endS: 2 });
  for (let time = 0; time < 50; time += 1) await saver.save();
  transcript.isOpen = false;
  for (let time = 0; time < 50; time += 1) await saver.save();
  assert.equal(messages.length, 3);
});

for (const erase of ["remove", "clear"]) {
  test(`a transcript that somebody deleted (${erase}) does not come back`, async () => {
    const { store, saver, transcript } = recorded("a");
    await saver.save();
    await store[erase]("a");
    transcript.durationS = 2;
    await saver.save();
    assert.deepEqual(await store.list(), []);
    assert.ok(saver.isErased);
  });
}

test("another one that is deleted changes nothing", async () => {
  const { store, saver, transcript } = recorded("a");
  await saver.save();
  await store.remove("b");
  transcript.isOpen = false;
  await saver.save();
  assert.deepEqual(await kept(store), [["Try", false]]);
});

test("one without a word is not kept, but is when it goes on", async () => {
  const { store, saver, transcript } = recorded("a");
  transcript.words = [];
  await saver.save();
  transcript.isOpen = false;
  await saver.save();
  assert.deepEqual(await store.list(), []);
  transcript.isOpen = true;
  await saver.save();
  assert.deepEqual(await kept(store), [["", true]]);
});

test("what could not be written is written the next time", async () => {
  const { store, saver } = recorded("a");
  const put = store.put.bind(store);
  store.put = () => Promise.reject(new Error("full"));
  await saver.save();
  store.put = put;
  await saver.save();
  assert.deepEqual(await kept(store), [["Try", true]]);
});

test("a transcript is finished beside another one, and two at most", async () => {
  const store = new Store(undefined, () => {});
  const [first, second, third] = ["a", "b", "c"].map((id) => recorded(id, store));
  const finishing = new Finishing();
  finishing.add(first.saver);
  finishing.add(second.saver);
  assert.ok(finishing.isFull && !first.talk.isClosed);
  second.transcript.words.push({ text: " again", startS: 1, endS: 2 });
  second.talk.isSettled = true;
  finishing.look();
  assert.ok(second.talk.isClosed && !finishing.isFull);
  finishing.add(third.saver);
  finishing.add(recorded("d", store).saver);
  await new Promise((resolve) => setImmediate(resolve));
  const found = Object.fromEntries((await store.list()).map(({ id, start, isOpen }) => [id, [start, isOpen]]));
  assert.deepEqual(found, { a: ["Try", false], b: ["Try again", false], c: ["Try", true], d: ["Try", true] });
  assert.ok(first.talk.isClosed, "the oldest gives way");
});

test("one that is deleted while it is finished is left", async () => {
  const { store, saver, talk } = recorded("a");
  const finishing = new Finishing();
  finishing.add(saver);
  await new Promise((resolve) => setImmediate(resolve));
  await store.clear();
  finishing.look();
  assert.ok(talk.isClosed);
  assert.equal(finishing.lagS, 0);
  assert.deepEqual(await store.list(), []);
});
