/** Joins two transcripts of the same sound: finds the words that were already said. */

import { RATE_HZ } from "../audio/ring.js";

const HAN = "\\u3005-\\u3007\\u3040-\\u30ff\\u3400-\\u9fff\\uf900-\\ufaff"; // no spaces: each letter is a word
const WORD = new RegExp(`[${HAN}][^\\p{L}\\p{N}_\\s]*|[^\\s${HAN}]+`, "gu");
const HAN_LETTER = new RegExp(`^[${HAN}]`);
const OLD_WORDS = 24; // so many last words are compared
const NEAR_S = 0.6; // two sessions' times of the same word differ by at most this
const TIE_S = 0.15; // the assumed length of a word if its start is unknown

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
    const isUnspaced = HAN_LETTER.test(this.#old.at(-1) ?? "");
    this.#held = said && !isUnspaced ? [{ text: " ", startS: null, endS: 0 }] : [];
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
    const count = this.#countSaid(texts, this.#spans(words));
    if (!count) return this.#release(0);
    const old = this.#old.at(-1);
    const last = words[count - 1];
    const isCutShort = folded(last.text).startsWith(folded(old)); // the old word may have been
    return this.#release(last.index + (isCutShort ? old : last.text).length);
  }

  /** When the words were spoken that may have been said already: [startS, endS]. */
  #spans(words) {
    const spans = words.map(({ index, text }) => {
      const { endS } = this.#pieceAt(index + text.length);
      return [this.#pieceAt(index + 1).startS ?? endS - TIE_S, endS];
    });
    const beyond = spans.findIndex(([, endS]) => endS > this.#saidS + SLACK_SAMPLES / RATE_HZ);
    return beyond < 0 ? spans : spans.slice(0, beyond);
  }

  /** The piece with the letter before this index. */
  #pieceAt(at) {
    let end = 0;
    return this.#held.find((piece) => (end += piece.text.length) >= at);
  }

  #countSaid(texts, spans) {
    const hasTimes = this.#held.some((piece) => piece.startS !== null);
    const isLater = spans.map((span) => hasTimes && this.#isLater(span));
    const count = repeated(this.#old, texts.slice(0, spans.length), isLater);
    return count || !this.#old.length || !hasTimes ? count : this.#countByTime(texts, spans);
  }

  /** How many were said already, by their times; used if no run of words is equal. */
  #countByTime(texts, spans) {
    const same = spans.findIndex(([startS, endS], index) => {
      const isNear = Math.abs(endS - this.#saidS) < NEAR_S;
      const isWithin = startS < this.#saidS && this.#saidS < endS; // a beginning of any length is the same
      return isNear && areSame(this.#old.slice(-1), [texts[index]], isWithin ? 0 : 2);
    });
    return same >= 0 ? same + 1 : spans.filter((span) => !this.#isLater(span)).length;
  }

  /** Whether most of a word lies after all that was said. */
  #isLater([startS, endS]) {
    return (startS + endS) / 2 > this.#saidS;
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

/**
 * How many of the first new words repeat the last old ones; the very last may differ.
 *
 * isLater: of each new word, whether it was spoken after the old ones; then it is none of them.
 */
function repeated(old, fresh, isLater) {
  for (let count = Math.min(old.length, fresh.length); count > 0; count -= 1) {
    for (let end = count; end <= lastEnd(old, fresh, count); end += 1) {
      const run = fresh.slice(end - count, end);
      if (areSame(old.slice(-count), run, count === 1 ? 2 : 0)) return end;
      if (1 < count && count < old.length && areSame(old.slice(-count - 1, -1), run, 2)) {
        return end + (end < fresh.length && !isLater[end] ? 1 : 0);
      }
    }
  }
  return 0;
}

/** Where a run of `count` old words may end at the latest; 1 word: near the start. */
function lastEnd(old, fresh, count) {
  if (count > 1) return fresh.length;
  return Math.min(fresh.length, HAN_LETTER.test(old.at(-1)) ? 1 : 4); // single letters are often equal
}

/**
 * Whether they are equal except for case, punctuation, and a last old word cut short.
 *
 * least: a part of a word has more letters.
 */
function areSame(old, fresh, least) {
  return old.every((word, index) => {
    const [a, b] = [bare(word), bare(fresh[index])];
    return a === b || (index === old.length - 1 && a.length > least && b.startsWith(a));
  });
}

/** A word's letters and digits, caseless. */
function bare(word) {
  return folded(word.replace(/[^\p{L}\p{N}_]/gu, ""));
}

function folded(text) {
  return text.toLowerCase().replaceAll("ß", "ss").replaceAll("ς", "σ");
}
