/**
 * Which second of the transcript a sample belongs to, and where the device recorded nothing.
 *
 * A block of sound comes at least as late as it was recorded: its delay, beyond what the number of
 * samples tells, is what was not recorded before it plus how long the message waited. What waited
 * comes in a bunch, and the delay falls again; what was not recorded stays. So a delay that leaps
 * is a gap, as long as the least delay after it says, once a calm second has passed.
 */

import { RATE_HZ } from "./ring.js";

const LEAP_S = 1; // less is jitter, or drift
const CALM_S = 1;
const STALL_S = 0.75; // between blocks that come regularly
const FALL_S = 0.1; // a delay that falls by more shows that a bunch still comes
const RUNNING_S = 0.3; // since the last block; to fall asleep and to wake up takes a device longer
const RECENT_S = 10; // the least delay of this time is the usual one: a device's clock drifts

/**
 * The time of day as it would be if nobody had set the clock. A clock that runs evenly may stand still
 * while the device sleeps, so it is not enough alone: the time of day tells how long that was.
 */
class Day {
  #nowMs = null;
  #runMs = 0;
  #setMs = 0; // by so much the clock was set forward

  /** runMs: of the clock that runs evenly. blockRunMs: when the last block came; null: none comes now. */
  at(nowMs, runMs, blockRunMs) {
    const stepMs = this.#nowMs === null ? 0 : nowMs - this.#nowMs - (runMs - this.#runMs);
    const isRunning = blockRunMs !== null && runMs - blockRunMs < 1000 * RUNNING_S;
    if (stepMs < -1000 * LEAP_S || (stepMs > 1000 * LEAP_S && isRunning)) this.#setMs += stepMs;
    [this.#nowMs, this.#runMs] = [nowMs, runMs];
    return nowMs - this.#setMs;
  }
}

/** The least delay of the last 10 to 20 s. */
class Least {
  #before = Infinity;
  #now;
  #fromS;

  constructor(delayS, nowS) {
    this.#now = delayS;
    this.#fromS = nowS;
  }

  get delayS() {
    return Math.min(this.#before, this.#now);
  }

  feed(delayS, nowS) {
    if (nowS - this.#fromS > RECENT_S) {
      this.#before = this.#now;
      this.#now = Infinity;
      this.#fromS = nowS;
    }
    this.#now = Math.min(this.#now, delayS);
  }
}

/** Sound that was recorded without a gap. delayS: the seconds that passed before it without sound. */
class Stretch {
  isSettled = false;
  #floorS;
  #calmFromS;
  #calmDelayS;

  /** sample: its first; pause: what parts it from the stretch before, null if the device did. */
  constructor(sample, delayS, nowS, pause, before) {
    this.#floorS = before?.delayS ?? -Infinity; // with a fast clock; time does not go back
    Object.assign(this, { sample, pause, least: new Least(delayS, nowS) });
    this.delayS = Math.max(delayS, this.#floorS);
    this.#disturb(nowS);
  }

  /** Takes the delay of a block of this stretch, or of a later one. */
  feed(delayS, nowS, isStall) {
    this.least.feed(delayS, nowS);
    if (this.isSettled) return;
    this.delayS = Math.max(Math.min(this.delayS, delayS), this.#floorS);
    if (isStall || this.delayS < this.#calmDelayS - FALL_S) this.#disturb(nowS);
    this.isSettled = nowS - this.#calmFromS >= CALM_S;
  }

  #disturb(nowS) {
    this.#calmFromS = nowS;
    this.#calmDelayS = this.delayS;
  }
}

/** What lies between sound that ends at `startS` and sound that begins at `endS`: Gap[]. */
function gapsBetween(startS, endS, pause) {
  if (!pause) return endS > startS ? [{ startS, endS, code: "no_sound" }] : [];
  const fromS = pause.startS - startS > LEAP_S ? pause.startS : startS;
  const isOver = pause.endS !== null;
  const toS = isOver && endS - pause.endS > LEAP_S ? Math.max(fromS, pause.endS) : endS;
  const gaps = [
    { startS, endS: fromS, code: "no_sound" },
    { startS: fromS, endS: isOver ? toS : null, code: "paused" },
    { startS: toS, endS, code: "no_sound" },
  ];
  return gaps.filter((gap) => gap.endS === null || gap.endS > gap.startS);
}

/**
 * The clock of one transcript. Its times are seconds from `startedMs`, and run on while nothing is
 * recorded. `nowMs` is the time of day (Date.now()), `runMs` that of a clock which nobody sets, and
 * which may stand still while the device sleeps (performance.now()).
 */
export class Clock {
  #startedMs;
  #day = new Day();
  #cameRunMs = null;
  #samples = 0;
  #stretches = [];
  #cameS = 0;
  #pause = null;

  constructor(startedMs) {
    this.#startedMs = startedMs;
  }

  /** Notes that a block of so many samples has come now. */
  recorded(samples, nowMs, runMs = nowMs) {
    const nowS = this.#secondsOf(nowMs, runMs, this.#cameRunMs);
    this.#cameRunMs = runMs;
    const first = this.#samples;
    this.#samples += samples;
    const delayS = nowS - this.#samples / RATE_HZ;
    const last = this.#stretches.at(-1);
    const isLeap = last && delayS > last.least.delayS + LEAP_S;
    this.#feed(delayS, nowS, isLeap || nowS - this.#cameS > STALL_S);
    if (!last || isLeap || this.#isOver) this.#begin(first, delayS, nowS);
    this.#cameS = nowS;
  }

  /** Notes that the person pauses: what is not recorded from now on is no gap of the device. */
  paused(nowMs, runMs = nowMs) {
    const startS = this.#secondsOf(nowMs, runMs);
    this.#pause ??= { startS, endS: null };
  }

  /** Notes that the person goes on. */
  resumed(nowMs, runMs = nowMs) {
    const endS = this.#secondsOf(nowMs, runMs);
    if (this.#pause) this.#pause.endS = endS;
  }

  /** The second of the transcript at which a sample was recorded. */
  secondsAt(sample) {
    return endOf(this.#stretches[this.#indexOf(sample)], sample);
  }

  /** The times of sound from one sample to another, [startS, endS]; never across a gap. */
  spanAt(start, end) {
    const index = this.#indexOf((start + end) / 2);
    const stretch = this.#stretches[index] ?? { sample: 0, delayS: 0 };
    const next = this.#stretches[index + 1]?.sample ?? Infinity;
    const secondsOf = (sample) => Math.min(Math.max(sample, stretch.sample), next) / RATE_HZ + stretch.delayS;
    return [secondsOf(start), secondsOf(end)];
  }

  /** Where nothing was recorded: Gap[], in order; in a pause, the last one has no end. */
  get gaps() {
    const gaps = this.#stretches.slice(1).flatMap((stretch, index) => {
      const isKnown = stretch.isSettled || stretch.pause || this.#pause;
      const { sample, delayS, pause } = stretch;
      const startS = endOf(this.#stretches[index], sample);
      return isKnown ? gapsBetween(startS, sample / RATE_HZ + delayS, pause) : [];
    });
    if (!this.#pause) return gaps;
    const endS = endOf(this.#stretches.at(-1), this.#samples);
    return [...gaps, ...gapsBetween(endS, endS, { startS: this.#pause.startS, endS: null })];
  }

  #begin(first, delayS, nowS) {
    const pause = this.#isOver ? this.#pause : null;
    this.#stretches.push(new Stretch(first, delayS, nowS, pause, this.#stretches.at(-1)));
    if (pause) this.#pause = null;
  }

  /** Tells a delay to the stretches that it may shorten. */
  #feed(delayS, nowS, isStall) {
    const last = this.#stretches.at(-1);
    for (const stretch of this.#stretches) {
      if (!stretch.isSettled || stretch === last) stretch.feed(delayS, nowS, isStall);
    }
    this.#stretches = this.#stretches.filter((stretch, index, all) => !isNone(stretch, all[index - 1]));
  }

  /** Whether the pause is over, so that the next block begins a stretch. */
  get #isOver() {
    return Boolean(this.#pause) && this.#pause.endS !== null;
  }

  #indexOf(sample) {
    const beyond = this.#stretches.findIndex((stretch) => stretch.sample > sample);
    return beyond < 0 ? this.#stretches.length - 1 : Math.max(0, beyond - 1);
  }

  #secondsOf(nowMs, runMs, blockRunMs = null) {
    return (this.#day.at(nowMs, runMs, blockRunMs) - this.#startedMs) / 1000;
  }
}

/** Where sound ends that goes on to a sample. */
function endOf(stretch, sample) {
  return sample / RATE_HZ + (stretch?.delayS ?? 0);
}

/** Whether what looked like a gap was a bunch of blocks that came late. */
function isNone(stretch, before) {
  if (!before || stretch.pause || stretch.isSettled) return false;
  return stretch.delayS <= (before.isSettled ? before.least.delayS : before.delayS) + LEAP_S;
}
