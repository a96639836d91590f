/** Joins two transcripts of the same sound: finds the words that were already said. */

import { RATE_HZ } from "../audio/ring.js";

const HAN = "\\u3040-\\u30ff\\u3400-\\u9fff\\uf900-\\ufaff"; // no spaces: each letter is a word
const WORD = new RegExp(`[${HAN}][^\\p{L}\\p{N}_\\s]*|[^\\s${HAN}]+`, "gu");
const HAN_LETTER = new RegExp(`^[${HAN}]`);
const OLD_WORDS = 24; // so many last words are compared
const NEAR_S = 0.6; // two sessions' times of the same word differ by at most this
const TIE_S = 0.15; // the same for the end of a word that one session misheard

/** Word times are late by at most this, in samples. */
export const SLACK_SAMPLES = 19_200;

/**
 * Joins the transcript of a new session to the text `said` before, which ends at `saidS`.
 *
 * The server hears some sound a second time. While open, the stitch holds the words of that sound;
 * when closed, it drops those that were said already. A piece is {text, startS, endS}, startS null
 * if unknown; in seconds of sound.
 */
export class Stitch {
  #old;
  #saidS;
  #held;

  constructor(said, isOpen, saidS = Infinity) {
    this.#old = (said.match(WORD) ?? []).slice(-OLD_WORDS);
    this.#saidS = saidS;
    this.#held = said ? [{ text: " ", startS: null, endS: 0 }] : [];
    this.isOpen = isOpen;
  }

  /** Adds a piece; returns the pieces that can be said now. */
  feed(piece) {
    this.#held.push(piece);
    return this.isOpen ? [] : this.#release(0);
  }

  /** Whether it holds words. */
  get hasWords() {
    return this.#text.trim() !== "";
  }

  /** The held words that were not said before. */
  close() {
    this.isOpen = false;
    const words = [...this.#text.matchAll(WORD)].map(({ 0: text, index }) => ({ text, index }));
    const texts = words.map((word) => word.text);
    const count = this.#countSaid(texts, this.#endsS(words));
    if (!count) return this.#release(0);
    const old = this.#old.at(-1);
    const last = words[count - 1];
    const isCutShort = folded(last.text).startsWith(folded(old)); // the old word may have been
    return this.#release(last.index + (isCutShort ? old : last.text).length);
  }

  /** The end times of the words that may have been said already. */
  #endsS(words) {
    const endsS = words.map((word) => this.#endS(word.index + word.text.length));
    const beyond = endsS.findIndex((endS) => endS > this.#saidS + SLACK_SAMPLES / RATE_HZ);
    return beyond < 0 ? endsS : endsS.slice(0, beyond);
  }

  /** The end time of the letter before this index. */
  #endS(at) {
    let end = 0;
    return this.#held.find((piece) => (end += piece.text.length) >= at).endS;
  }

  #countSaid(texts, endsS) {
    const count = repeated(this.#old, texts.slice(0, endsS.length));
    const hasTimes = this.#held.some((piece) => piece.startS !== null);
    return count || !this.#old.length || !hasTimes ? count : this.#countByTime(texts, endsS);
  }

  /** How many were said already, by their times; used if no run of words is equal. */
  #countByTime(texts, endsS) {
    const old = this.#old.slice(-1);
    const same = endsS.findIndex(
      (endS, index) => Math.abs(endS - this.#saidS) < NEAR_S && areSame(old, [texts[index]]),
    );
    return same >= 0 ? same + 1 : endsS.filter((endS) => endS <= this.#saidS + TIE_S).length;
  }

  get #text() {
    return this.#held.map((piece) => piece.text).join("");
  }

  /** The held text without its first `start` letters. */
  #release(start) {
    const released = [];
    for (const piece of this.#held) {
      if (piece.text.length > start) released.push({ ...piece, text: piece.text.slice(start) });
      start = Math.max(0, start - piece.text.length);
    }
    this.#held = [];
    return released;
  }
}

/** How many of the first new words repeat the last old ones; the very last may differ. */
export function repeated(old, fresh) {
  for (let count = Math.min(old.length, fresh.length); count > 0; count -= 1) {
    for (let end = count; end <= lastEnd(old, fresh, count); end += 1) {
      const run = fresh.slice(end - count, end);
      if (areSame(old.slice(-count), run)) return end;
      const mayBeMisheard = 1 < count && count < old.length;
      if (mayBeMisheard && areSame(old.slice(-count - 1, -1), run)) return Math.min(end + 1, fresh.length);
    }
  }
  return 0;
}

/** Where a run of `count` old words may end at the latest; 1 word: near the start. */
function lastEnd(old, fresh, count) {
  if (count > 1) return fresh.length;
  return Math.min(fresh.length, HAN_LETTER.test(old.at(-1)) ? 1 : 4); // single letters are often equal
}

/** Whether they are equal except for case, punctuation, and a last old word cut short. */
function areSame(old, fresh) {
  return old.every((word, index) => {
    const [a, b] = [bare(word), bare(fresh[index])];
    return a === b || (index === old.length - 1 && a.length > 2 && b.startsWith(a));
  });
}

/** A word's letters and digits, caseless. */
function bare(word) {
  return folded(word.replace(/[^\p{L}\p{N}_]/gu, ""));
}

function folded(text) {
  return text.toLowerCase().replaceAll("ß", "ss").replaceAll("ς", "σ");
}
