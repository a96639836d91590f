/** Tells screen readers what is said, a sentence at a time, so that they do not stammer. */

import { h } from "../dom.js";
import { Sentences } from "../text/sentences.js";

const KEPT = 3;

/** A live region; `root` has to be in the page from the start. */
export class Announcer {
  #sentences = new Sentences();

  constructor() {
    const how = { "aria-live": "polite", "aria-atomic": "false", "aria-relevant": "additions" };
    this.root = h("div", { class: "unseen", ...how });
  }

  /** Takes settled text as it comes. */
  feed(text) {
    for (const sentence of this.#sentences.feed(text)) this.#say(sentence);
  }

  /** Says what waits, as at a pause. */
  flush() {
    this.#say(this.#sentences.flush());
  }

  #say(said) {
    if (!said) return;
    this.root.append(h("p", {}, said));
    while (this.root.children.length > KEPT) this.root.firstChild.remove();
  }
}
