/** Tells screen readers what is said, a sentence at a time, so that they do not stammer. */

import { h } from "../dom.js";
import { endsSentence } from "../text/captions.js";

const LONGEST_LETTERS = 240;
const KEPT = 3;

/** A live region; `root` has to be in the page from the start. */
export class Announcer {
  #words = [];

  constructor() {
    const how = { "aria-live": "polite", "aria-atomic": "false", "aria-relevant": "additions" };
    this.root = h("div", { class: "unseen", ...how });
  }

  /** Takes settled text as it comes. */
  feed(text) {
    for (const piece of text.match(/\s*\S+|\s+/g) ?? []) this.#feedPiece(piece);
  }

  /** Says what waits, as at a pause. */
  flush() {
    const said = this.#words.join("").trim();
    this.#words = [];
    if (!said) return;
    this.root.append(h("p", {}, said));
    while (this.root.children.length > KEPT) this.root.firstChild.remove();
  }

  #feedPiece(piece) {
    const begins = /^\s/.test(piece);
    const waiting = this.#words.join("");
    if (begins && (endsSentence(waiting.trim()) || waiting.length > LONGEST_LETTERS)) this.flush();
    this.#words.push(piece);
  }
}
