/** Text that comes piece by piece, cut into sentences of whatever script. */

import { endsSentence } from "./captions.js";

const LONGEST_LETTERS = 240; // then a space ends a sentence, too; after twice as many, any letter
const SPACE = /^\s$/u;
const END = /^(?![.!?\uff0e])\p{Sentence_Terminal}$/u; // of scripts that may have no space after it
const CLOSING = /^[\p{Sentence_Terminal}\p{Pe}\p{Pf}\p{Pi}"'\u2026]$/u; // goes with the sentence before

/** Takes text, and gives whole sentences; the time it takes grows with the text and no faster. */
export class Sentences {
  #waiting = "";
  #word = ""; // the last one of it
  #isEnded = false;

  /** The sentences that are over, now that this text has come: string[]. */
  feed(text) {
    const over = [];
    for (const letter of text) {
      if (this.#isOver(letter)) over.push(this.flush());
      this.#add(letter);
    }
    return over.filter(Boolean);
  }

  /** What waits for its end, "" if nothing does. */
  flush() {
    const said = this.#waiting.trim();
    this.#waiting = this.#word = "";
    this.#isEnded = false;
    return said;
  }

  #add(letter) {
    this.#isEnded = END.test(letter) || (this.#isEnded && CLOSING.test(letter));
    this.#word = SPACE.test(letter) ? "" : this.#word + letter;
    this.#waiting += letter;
  }

  /** Whether a letter begins another sentence. */
  #isOver(letter) {
    if (this.#isEnded) return !CLOSING.test(letter);
    const { length } = this.#waiting;
    if (SPACE.test(letter)) return length > LONGEST_LETTERS || (this.#word && endsSentence(this.#word));
    return length > 2 * LONGEST_LETTERS;
  }
}
