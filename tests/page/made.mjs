// What tests of the page's modules share: numbers by a seed, and answers that Python has written.

import { readFileSync } from "node:fs";
import { join } from "node:path";

export const RATE_HZ = 16_000;

/** Evenly spread numbers in [0, 1), the same for the same seed (mulberry32). */
export function seeded(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** A table of tests/page/tables.py. */
export function tableOf(name) {
  return JSON.parse(readFileSync(join(process.env.TABLES_DIR, `${name}.json`), "utf8"));
}
