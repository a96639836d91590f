/** The transcript of a recording over several sessions, and where a new one must start. */

import { RATE_HZ } from "../audio/ring.js";
import { secondsOf } from "./fields.js";
import { SLACK_SAMPLES, Stitch } from "./stitch.js";

const DELTA_S = 0.08; // assumed for a delta without end_s, as from bare vLLM
const NO_WORD_S = 3; // after so long without a word, the speaker pauses or has ended
const CHUNK_SAMPLES = 1_600;
const UNSURE_SAMPLES = 480_000; // 30 s: an engine writes its words within this time
const WORD_SAMPLES = 25_600; // 1.6 s: no word is longer
const SAID_LETTERS = 500; // kept for the stitch to the next session

/**
 * The transcript of the recording, each word once, over any number of sessions.
 *
 * Places are sample indices. `base`, `sent`: start and end of this session's audio. `heard`: how
 * far the server has listened; `place`: the end of its newest delta. `safe`: all words before it
 * are here, so a new session must listen from there. `lastWords`: the last words of a session that
 * the server cut; the next session hears them again, so they are said only if none follows.
 * Pieces are {text, startS, endS}: text as received, times in seconds of sound, startS null if
 * unknown.
 */
export class Story {
  base = 0;
  sent = 0;
  heard = 0;
  place = 0;
  safe = 0;
  isCommitted = false;
  lastWords = [];
  #saidEnd = 0;
  #said = "";
  #isCut = false;
  #stitch = new Stitch("", false);
  #deltas = [];
  #textS = 0;

  /** Whether all audio was sent and listened to. */
  get isWhole() {
    return this.isCommitted && this.heard > this.sent - CHUNK_SAMPLES;
  }

  /** Whether the text of its session is held: it may repeat what was said, or be cut within a word. */
  get isJoining() {
    return this.#stitch.isOpen || this.#isCut;
  }

  /** Whether the whole recording has no word, and its last event may tell the cause. */
  isWordless(event) {
    const isBare = secondsOf(event, "duration_s") === null; // bare vLLM sends no cause
    const isKnown = Boolean(event.no_speech) || isBare || this.sent < RATE_HZ;
    return isKnown && !event.lost?.length && !this.#said.trim();
  }

  /** Begins a session that listens from `place` on. */
  begin(place) {
    this.base = this.sent = this.heard = this.place = place;
    this.#stitch = new Stitch(this.#said, place < this.#saidEnd, this.#saidEnd / RATE_HZ);
    this.#deltas = [];
    this.lastWords = [];
    this.isCommitted = this.#isCut = false;
  }

  /** Notes that the server ends the utterance here, perhaps within a word. */
  cut() {
    this.#isCut = true;
  }

  /** Takes a delta; returns the pieces that can be said now. */
  hear(event, nowS) {
    let said = this.#feed(event);
    if (this.#stitch.isOpen) {
      if (!this.#isBeyondTheOld(event.delta, nowS)) return [];
      said = this.#stitch.close();
    }
    if (this.#isCut) {
      this.lastWords.push(...said);
      return [];
    }
    this.#secure(event.delta);
    return this.#say(said);
  }

  /** Passes a delta to the stitch; returns the pieces that it releases. */
  #feed(event) {
    let [startS, endS] = [secondsOf(event, "start_s"), secondsOf(event, "end_s")];
    if (endS === null) {
      startS = this.#deltas.length * DELTA_S;
      endS = startS + DELTA_S;
    }
    this.#deltas.push(event.delta);
    this.place = this.#placeOf(endS);
    this.heard = Math.max(this.heard, this.place);
    if (!event.delta) return [];
    const beginS = startS === null ? null : this.#placeOf(startS) / RATE_HZ;
    return this.#stitch.feed({ text: event.delta, startS: beginS, endS: this.place / RATE_HZ });
  }

  /** Advances `safe` after a delta with this text. */
  #secure(text) {
    if (text) {
      const isNewWord = /\s/.test(text); // then the word before it is complete
      const wholeTo = Math.max(isNewWord ? this.#saidEnd : 0, this.place - WORD_SAMPLES);
      this.safe = Math.max(this.safe, wholeTo - SLACK_SAMPLES);
      this.#saidEnd = Math.max(this.#saidEnd, this.place);
    }
    this.safe = Math.max(this.safe, this.heard - UNSURE_SAMPLES);
  }

  /** Takes the end of the utterance; returns the remaining pieces. Without a cut it is complete. */
  end(event) {
    const endS = secondsOf(event, "duration_s");
    if (endS === null && !this.isCommitted) return []; // the server ended it, and does not say where
    this.heard = endS === null ? this.sent : this.#placeOf(endS);
    const text = this.#beyondTheDeltas(event.text ?? "");
    const rest = text ? this.#stitch.feed({ text, startS: null, endS: this.heard / RATE_HZ }) : [];
    this.lastWords.push(...rest, ...this.#stitch.close());
    const isComplete = !this.#isCut && this.heard >= this.#saidEnd;
    if (!this.isWhole && !isComplete) return [];
    this.safe = this.#saidEnd = this.heard;
    const said = this.lastWords;
    this.lastWords = [];
    return this.#say(said);
  }

  /** The part of an utterance's full text that follows its deltas. */
  #beyondTheDeltas(text) {
    const [whole, deltas] = [text.trim(), this.#deltas.join("").trim()];
    return whole.startsWith(deltas) ? whole.slice(deltas.length) : "";
  }

  /** Whether this session is past the words of the earlier ones. */
  #isBeyondTheOld(text, nowS) {
    if (text) {
      this.#textS = nowS;
      return this.place > this.#saidEnd + SLACK_SAMPLES;
    }
    if (!this.#stitch.hasWords) return this.heard > this.#saidEnd + UNSURE_SAMPLES;
    const isPausing = nowS - this.#textS > NO_WORD_S; // an engine that catches up emits words late
    return isPausing && this.heard > this.#saidEnd + 3 * SLACK_SAMPLES;
  }

  #placeOf(timeS) {
    return Math.min(this.base + Math.round(timeS * RATE_HZ), this.sent);
  }

  #say(pieces) {
    this.#said = (this.#said + pieces.map((piece) => piece.text).join("")).slice(-SAID_LETTERS);
    return pieces;
  }
}
