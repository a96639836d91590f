// The clock tells what was not recorded from what came late, whatever the device does.

import assert from "node:assert/strict";
import { test } from "node:test";
import { Clock } from "../../lanscribe/server/pages/app/audio/clock.js";
import { RATE_HZ, seeded } from "./made.mjs";

const STARTED_MS = 1_764_330_000_000;
const BLOCK = 1_600;
const WAKING_S = 0.6; // a device is awake for so long without sound, before and after it sleeps
const CALM = { seconds: 30, isCalm: true };

/**
 * A device whose clock is off by `ppm`, which records for parts [{seconds, lockedS, pausedS}], and
 * its blocks as they come: each late by up to jitterS; stalls now and then hold them back.
 */
function deviceOf({ ppm, parts, jitterS, stallS, random, block = BLOCK }) {
  const blockS = (block / RATE_HZ) * (1 + ppm * 1e-6);
  const [blocks, gaps] = [[], []];
  let [atS, cameS, samples] = [0.2, 0, 0];
  for (const { seconds, lockedS = 0, pausedS = 0, isCalm = false } of parts) {
    for (const endS = atS + seconds; atS < endS; ) {
      atS += blockS;
      samples += block;
      const isStalled = stallS && !isCalm && endS - atS > stallS && random() < 0.005;
      cameS = Math.max(cameS + 1e-4, atS + 0.01 + random() * jitterS + (isStalled ? random() * stallS : 0));
      blocks.push({ at: samples, atS, cameS });
    }
    if (lockedS) gaps.push({ startS: atS, endS: atS + lockedS, code: "no_sound" });
    if (pausedS) gaps.push({ startS: atS, endS: atS + pausedS, code: "paused", cameS });
    atS += lockedS + pausedS;
  }
  return { blocks, gaps };
}

/**
 * A clock that has heard of the blocks, and of the pauses among the gaps. sets: when the device's time of
 * day was set, and by how much, [atS, byS][]. sleeps: the other clock stands still while it is locked.
 */
function clockOf({ blocks, gaps }, block = BLOCK, { sets = [], sleeps = false } = {}) {
  const clock = new Clock(STARTED_MS);
  const sum = (numbers) => numbers.reduce((one, other) => one + other, 0);
  const dayMs = (atS) => STARTED_MS + 1000 * (atS + sum(sets.filter(([setS]) => setS < atS).map(([, byS]) => byS)));
  const locks = gaps.filter((gap) => sleeps && gap.code === "no_sound");
  const asleepS = (atS) => sum(locks.filter(({ endS }) => endS < atS).map(({ startS, endS }) => endS - startS - WAKING_S));
  const ms = (atS) => [dayMs(atS), 1000 * (atS - asleepS(atS))];
  const pauses = gaps.filter((gap) => gap.code === "paused");
  for (const { cameS } of blocks) {
    while (pauses.length && cameS > pauses[0].endS) {
      const pause = pauses.shift();
      clock.paused(...ms(Math.max(pause.startS, pause.cameS)));
      clock.resumed(...ms(pause.endS));
    }
    clock.recorded(block, ...ms(cameS));
  }
  return clock;
}

function assertNear(actual, expected, within, what) {
  assert.ok(Math.abs(actual - expected) <= within, `${what}: ${actual} instead of ${expected}`);
}

function check(device, within, what, block = BLOCK, day = {}) {
  const clock = clockOf(device, block, day);
  const codes = (gaps) => gaps.map((gap) => gap.code);
  const told = JSON.stringify([clock.gaps, device.gaps]);
  assert.deepEqual(codes(clock.gaps), codes(device.gaps), `${what}: ${told}`);
  for (const [index, gap] of device.gaps.entries()) {
    assertNear(clock.gaps[index].startS, gap.startS, within, `${what}, start of gap ${index}`);
    assertNear(clock.gaps[index].endS, gap.endS, within, `${what}, end of gap ${index}`);
  }
  let lastS = 0;
  for (const { at, atS } of device.blocks) {
    const seconds = clock.secondsAt(at - 1);
    assertNear(seconds, atS, within, `${what}, sample ${at}`);
    assert.ok(seconds > lastS, `${what}: time goes back at sample ${at}`);
    lastS = seconds;
  }
}

/** Parts with locks of 1.3 s to an hour; the last one is calm. */
function partsOf(random, most = 6) {
  const lockedS = () => 1.3 * (3600 / 1.3) ** random();
  const parts = Array.from({ length: Math.floor(random() * most) }, () => ({
    seconds: 5 + random() * 60,
    ...(random() < 0.7 ? { lockedS: lockedS() } : { pausedS: 1.3 + random() * 600 }),
  }));
  return [...parts, CALM];
}

test("locks and pauses are marked where they were, with jitter and a device's clock that is off", () => {
  for (let seed = 0; seed < 300; seed += 1) {
    const random = seeded(seed);
    const ppm = (random() - 0.5) * 200;
    const device = deviceOf({ ppm, parts: partsOf(random), jitterS: 0.1, random });
    check(device, 0.2, `seed ${seed}`);
  }
});

test("a clock that is set makes no gap, and hides none", () => {
  for (let seed = 0; seed < 200; seed += 1) {
    const random = seeded(3000 + seed);
    const ppm = (random() - 0.5) * 200;
    const device = deviceOf({ ppm, parts: partsOf(random), jitterS: 0.1, random });
    const isApart = ({ cameS }) => device.gaps.every((gap) => cameS < gap.startS - 1 || cameS > gap.endS + 1);
    const moments = device.blocks.slice(1).filter((block) => isApart(block) && random() < 0.01);
    const sets = moments.map(({ cameS }) => [cameS - 0.001, (random() < 0.5 ? -1 : 1) * 3600 * random()]);
    check(device, 0.3, `seed ${seed}`, BLOCK, { sets, sleeps: seed % 2 === 1 });
  }
});

test("a clock that is set back while nothing comes hides no gap", () => {
  const device = deviceOf({ ppm: 0, parts: [{ seconds: 20, lockedS: 60 }, { seconds: 20, pausedS: 60 }, CALM], jitterS: 0.1,
    random: seeded(1) });
  const sets = device.gaps.map(({ endS }) => [endS - 1, -3000]);
  check(device, 0.2, "set back", BLOCK, { sets });
});

test("blocks that come late in a bunch are no gap", () => {
  for (let seed = 0; seed < 200; seed += 1) {
    const random = seeded(1000 + seed);
    const device = deviceOf({ ppm: 0, parts: [{ seconds: 180 }, CALM], jitterS: 0.1, stallS: 20, random });
    const clock = clockOf(device);
    assert.deepEqual(clock.gaps, [], `seed ${seed}`);
  }
});

test("a bunch after a stall that ends slowly, or in two goes, is no gap", () => {
  const clock = new Clock(STARTED_MS);
  const ms = (seconds) => STARTED_MS + 1000 * seconds;
  for (let count = 1; count <= 100; count += 1) clock.recorded(BLOCK, ms(0.1 * count));
  clock.recorded(BLOCK, ms(70)); // one block, then 5 s again, then the rest within 4 s
  for (let count = 102; count <= 750; count += 1) clock.recorded(BLOCK, ms(75 + 4 * ((count - 102) / 650)));
  for (let count = 751; count <= 900; count += 1) clock.recorded(BLOCK, ms(Math.max(79, 0.1 * count)));
  assert.deepEqual(clock.gaps, []);
  assertNear(clock.secondsAt(900 * BLOCK), 90, 0.1, "the end");
});

test("locks among stalls are marked", () => {
  for (let seed = 0; seed < 200; seed += 1) {
    const random = seeded(2000 + seed);
    const parts = [{ seconds: 20, lockedS: 60 + random() * 600 }, { seconds: 60, lockedS: 9 }, { seconds: 60 }, CALM];
    const device = deviceOf({ ppm: 50, parts, jitterS: 0.2, stallS: 3, random });
    check(device, 0.5, `seed ${seed}`);
  }
});

test("six hours of a device's clock that is off by 100 ppm have no gap", () => {
  for (const ppm of [-100, 100]) {
    const device = deviceOf({ ppm, parts: [{ seconds: 6 * 3600 }], jitterS: 0.1, random: seeded(7), block: 8_000 });
    const clock = clockOf(device, 8_000);
    assert.deepEqual(clock.gaps, []);
    const { at, atS } = device.blocks.at(-1);
    assertNear(clock.secondsAt(at), atS, 2.5, "what the device's clock is off by");
  }
});

test("after six hours of drift a lock is still seen", () => {
  for (const ppm of [-100, 100]) {
    const parts = [{ seconds: 6 * 3600, lockedS: 30 }, { seconds: 30 }];
    const device = deviceOf({ ppm, parts, jitterS: 0.1, random: seeded(8), block: 8_000 });
    const [gap, ...more] = clockOf(device, 8_000).gaps;
    assert.deepEqual(more, []);
    assertNear(gap.endS - gap.startS, 30, 2.5, "its length");
    assertNear(gap.endS, device.gaps[0].endS, 0.3, "its end is the time of day");
  }
});

test("a pause is open until it ends, and what the device did not record before it is told apart", () => {
  const clock = new Clock(STARTED_MS);
  const ms = (seconds) => STARTED_MS + 1000 * seconds;
  for (let count = 1; count <= 100; count += 1) clock.recorded(BLOCK, ms(0.1 * count));
  clock.paused(ms(40));
  const first = { startS: 10, endS: 40, code: "no_sound" };
  assert.deepEqual(clock.gaps, [first, { startS: 40, endS: null, code: "paused" }]);
  clock.resumed(ms(60));
  clock.recorded(BLOCK, ms(60.1));
  assert.deepEqual(clock.gaps, [first, { startS: 40, endS: 60, code: "paused" }]);
  assert.equal(clock.secondsAt(101 * BLOCK - 1).toFixed(3), "60.100");
});

test("a word is on one side of a gap", () => {
  const clock = new Clock(STARTED_MS);
  for (let count = 1; count <= 100; count += 1) clock.recorded(BLOCK, STARTED_MS + 100 * count);
  for (let count = 101; count <= 200; count += 1) clock.recorded(BLOCK, STARTED_MS + 100 * count + 60_000);
  const span = (startS, endS) => clock.spanAt(startS * RATE_HZ, endS * RATE_HZ).map((s) => Number(s.toFixed(3)));
  assert.deepEqual(clock.gaps.map((gap) => [gap.startS, Number(gap.endS.toFixed(3))]), [[10, 70]]);
  assert.deepEqual(span(9.5, 10), [9.5, 10]);
  assert.deepEqual(span(10, 10.4), [70, 70.4]);
  assert.deepEqual(span(9.7, 10.1), [9.7, 10]);
  assert.deepEqual(span(9.9, 10.3), [70, 70.3]);
});
