// The ring keeps the newest sound by absolute sample, and no more memory than that.

import assert from "node:assert/strict";
import { test } from "node:test";
import { Ring } from "../../lanscribe/server/pages/app/audio/ring.js";
import { RATE_HZ, seeded } from "./made.mjs";

const sampleAt = (index) => (index * 7919) % 32_768;
const samplesOf = (start, end) => Int16Array.from({ length: end - start }, (_, index) => sampleAt(start + index));

test("every sample keeps its index, however sound comes and goes", () => {
  for (let seed = 0; seed < 12; seed += 1) {
    const random = seeded(seed);
    const limit = 1 + Math.floor(random() * 50_000);
    const ring = new Ring(limit);
    let [start, end] = [0, 0];
    for (let step = 0; step < 30; step += 1) {
      const count = Math.floor(random() * 40_000);
      ring.append(samplesOf(end, end + count));
      end += count;
      start = Math.max(start, end - limit);
      if (random() < 0.3) {
        const before = Math.floor(random() * 1.2 * end);
        ring.forget(before);
        start = Math.max(start, Math.min(before, end));
      }
      assert.deepEqual([ring.start, ring.end], [start, end]);
      const at = start + Math.floor(random() * (end - start));
      const most = Math.floor(random() * 30_000);
      assert.deepEqual(ring.read(at, most), samplesOf(at, Math.min(at + most, end)));
    }
  }
});

test("what is not kept cannot be read by mistake", () => {
  const ring = new Ring(10);
  ring.append(samplesOf(0, 30));
  assert.throws(() => ring.read(19, 5), RangeError);
  assert.throws(() => ring.read(31, 5), RangeError);
  assert.equal(ring.read(30, 5).length, 0);
});

test("what was read stays as it was", () => {
  const ring = new Ring(10);
  ring.append(samplesOf(0, 4));
  const read = ring.read(0, 4);
  ring.append(samplesOf(4, 30));
  assert.deepEqual(read, samplesOf(0, 4));
});

test("memory follows what is kept", { skip: !globalThis.gc && "needs --expose-gc" }, async () => {
  const held = async () => {
    for (let count = 0; count < 3; count += 1) {
      globalThis.gc();
      await new Promise(setImmediate); // buffers are freed between tasks
    }
    return process.memoryUsage().arrayBuffers;
  };
  const before = await held();
  const ring = new Ring(30 * 60 * RATE_HZ);
  const second = samplesOf(0, RATE_HZ);
  for (let count = 0; count < 3600; count += 1) ring.append(second);
  assert.ok((await held()) - before < 2 * RATE_HZ * 1_900, "half of the hour");
  ring.forget(ring.end - RATE_HZ);
  assert.ok((await held()) - before < 2 * RATE_HZ * 60, "a second, and what else the process does");
});
