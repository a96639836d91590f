/** A transcript that is being recorded: its sound, its clock and its talk with the box. */

import { Clock } from "../audio/clock.js";
import { RATE_HZ, Ring } from "../audio/ring.js";
import { addWord } from "../text/words.js";
import { Talk } from "./talk.js";

const KEEP_S = 1800;
const SHORTEST_GAP_S = 1; // a shorter one is not worth a line

/**
 * One live transcript. changed(): its words, its gaps or its talk have changed; said(text): text was
 * added to it; noticed(code): as of Talk.
 */
export class Listening {
  #ring = new Ring(KEEP_S * RATE_HZ);
  #clock;
  #lost = []; // [start, end, code], samples
  #isPaused = false;
  #told;

  /** transcript: a new one, with startedMs. url, Socket, look: as of Talk. */
  constructor({ transcript, url, told, Socket, look }) {
    this.transcript = transcript;
    this.#told = told;
    this.#clock = new Clock(transcript.startedMs);
    this.talk = new Talk({ ring: this.#ring, url, Socket, look, told: {
      said: (pieces) => this.#say(pieces),
      lost: (start, end, code) => this.#lose(start, end, code),
      noticed: told.noticed,
      changed: told.changed,
    } });
  }

  /** Takes a block of sound, Int16Array, that has come now (Date.now(), performance.now()). */
  record(samples, nowMs, runMs = performance.now()) {
    this.#clock.recorded(samples.length, nowMs, runMs);
    this.#ring.append(samples);
    this.talk.push();
  }

  /** The person pauses. */
  pause(nowMs, runMs = performance.now()) {
    this.#isPaused = true;
    this.#clock.paused(nowMs, runMs);
    this.talk.end();
    this.tell();
  }

  /** The person has gone on, if there was a pause. */
  resume(nowMs, runMs = performance.now()) {
    if (!this.#isPaused) return;
    this.#isPaused = false;
    this.#clock.resumed(nowMs, runMs);
    this.tell();
  }

  /** Seconds of the transcript up to which the box has listened. */
  get heardS() {
    return this.#clock.secondsAt(this.#ring.end - this.talk.lagS * RATE_HZ);
  }

  /** Bring the gaps and the length of the transcript up to date. */
  tell() {
    const { transcript } = this;
    const lost = this.#lost.map(([start, end, code]) => {
      const [startS, endS] = [this.#clock.secondsAt(start), this.#clock.secondsAt(end)];
      return { startS, endS, code };
    });
    const isLong = ({ startS, endS }) => endS === null || endS - startS >= SHORTEST_GAP_S;
    const silent = this.#clock.gaps.filter(isLong);
    transcript.gaps = [...silent, ...lost].sort((a, b) => a.startS - b.startS);
    transcript.durationS = this.#clock.secondsAt(this.#ring.end);
    this.#told.changed();
  }

  #say(pieces) {
    for (const { text, startS, endS } of pieces) {
      const [fromS, toS] = this.#clock.spanAt((startS ?? endS) * RATE_HZ, endS * RATE_HZ);
      addWord(this.transcript.words, text, startS === null ? null : fromS, toS);
    }
    if (pieces.length) this.#told.said(pieces.map((piece) => piece.text).join(""));
  }

  /** Parts that overlap are one. */
  #lose(start, end, code) {
    const isApart = ([from, to, other]) => other !== code || to < start || from > end;
    const joined = this.#lost.filter((part) => !isApart(part));
    const rest = this.#lost.filter(isApart);
    const from = Math.min(start, ...joined.map((part) => part[0]));
    this.#lost = [...rest, [from, Math.max(end, ...joined.map((part) => part[1])), code]];
    this.tell();
  }
}
