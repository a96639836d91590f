// The resampler keeps the sound below 6.5 kHz, drops what would fold back, and never drifts.

import assert from "node:assert/strict";
import { test } from "node:test";
import { Resampler, toInt16 } from "../../lanscribe/server/pages/app/audio/resampler.js";
import { RATE_HZ, seeded, tableOf } from "./made.mjs";

const RATES_HZ = [8_000, 11_025, 22_050, 24_000, 44_100, 44_056, 47_999, 48_000, 96_000, 192_000];

function resampled(rateHz, samples, cut = () => samples.length) {
  const resampler = new Resampler(rateHz);
  const parts = [];
  for (let at = 0; at < samples.length; ) {
    const end = Math.min(samples.length, at + cut());
    parts.push(...resampler.feed(samples.subarray(at, end)));
    at = end;
  }
  return Float32Array.from([...parts, ...resampler.flush()]);
}

function tone(hz, rateHz, seconds) {
  return Float32Array.from({ length: seconds * rateHz }, (_, at) => Math.sin((2 * Math.PI * hz * at) / rateHz));
}

/** The greatest difference, apart from the first and the last 20 ms. */
function difference(some, others) {
  const [from, to] = [0.02 * RATE_HZ, Math.min(some.length, others.length) - 0.02 * RATE_HZ];
  return some.slice(from, to).reduce((most, sample, at) => Math.max(most, Math.abs(sample - others[from + at])), 0);
}

test("tones come through as they are, in phase", () => {
  for (const rateHz of RATES_HZ) {
    for (const hz of [100, 1_000, 3_000, 6_500].filter((one) => one < 0.4 * rateHz)) {
      const heard = resampled(rateHz, tone(hz, rateHz, 0.3));
      assert.ok(difference(heard, tone(hz, RATE_HZ, 0.3)) < 2e-3, `${hz} Hz at ${rateHz} Hz`);
    }
  }
});

test("what would fold back is 70 dB down", () => {
  for (const [rateHz, hz] of [[48_000, 8_300], [48_000, 15_000], [44_100, 12_000], [192_000, 20_000]]) {
    const heard = resampled(rateHz, tone(hz, rateHz, 0.3));
    assert.ok(difference(heard, new Float32Array(heard.length)) < 3e-4, `${hz} Hz at ${rateHz} Hz`);
  }
});

test("it hears what the terminal clients' resampler hears", () => {
  for (const { rateHz, samples, heard } of tableOf("sounds")) {
    const ours = resampled(rateHz, Float32Array.from(samples));
    assert.ok(Math.abs(ours.length - heard.length) <= 1, `${rateHz} Hz: ${ours.length}, ${heard.length}`);
    assert.ok(difference(ours, Float32Array.from(heard)) < 2e-3, `${rateHz} Hz`);
  }
});

test("how the sound is cut changes nothing", () => {
  for (const rateHz of RATES_HZ) {
    const random = seeded(rateHz);
    const samples = Float32Array.from({ length: 0.2 * rateHz }, () => random() - 0.5);
    const cut = resampled(rateHz, samples, () => 1 + Math.floor(random() * 300));
    assert.deepEqual(cut, resampled(rateHz, samples), `${rateHz} Hz`);
  }
});

test("it gives as many samples as the time has, to the last one", () => {
  for (const rateHz of RATES_HZ) {
    const resampler = new Resampler(rateHz);
    const block = new Float32Array(rateHz / 5);
    let count = 0;
    for (let number = 1; number <= 50; number += 1) {
      count += resampler.feed(block).length;
      const behind = (number * block.length * RATE_HZ) / rateHz - count;
      assert.ok(behind >= 0 && behind < 70, `${rateHz} Hz: ${behind} samples behind`);
    }
    count += resampler.flush().length;
    assert.equal(count, Math.round((50 * block.length * RATE_HZ) / rateHz), `${rateHz} Hz`);
  }
});

test("after a flush a new stream begins", () => {
  const resampler = new Resampler(44_100);
  const samples = tone(440, 44_100, 0.1);
  const first = [...resampler.feed(samples), ...resampler.flush()];
  assert.deepEqual([...resampler.feed(samples), ...resampler.flush()], first);
});

test("samples are clipped to 16 bits", () => {
  assert.deepEqual(toInt16(Float32Array.of(0, 0.5, -1, 1, 7, -7)), Int16Array.of(0, 16384, -32768, 32767, 32767, -32768));
});
