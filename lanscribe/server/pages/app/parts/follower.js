/** Keeps the newest words in sight, until the reader scrolls up; then a button leads back. */

const NEAR_PX = 24;
const SHOWN = 0.4; // of the room over the bar that the text has at its end; what follows it has the rest

export class Follower {
  #button;
  #text;
  #bar;
  #follows = true;
  #lastY = 0;

  /**
   * button: shown while the newest words are out of sight; press it to follow them again. text: what
   * has the words as paragraphs. bar: what covers the lower end of the window.
   */
  constructor(button, { text, bar }) {
    [this.#button, this.#text, this.#bar] = [button, text, bar];
    button.hidden = true;
    button.addEventListener("click", () => this.reset());
    addEventListener("scroll", () => this.#scrolled(), { passive: true });
    addEventListener("resize", () => this.grew());
  }

  /** Words were added. */
  grew() {
    if (!this.#isShown()) return;
    this.#scrolled(); // the reader may have, and its event is yet to come
    if (this.#follows) this.#toEnd();
    this.#offer();
  }

  /** Go to the newest words, and follow them. */
  reset() {
    this.#follows = true;
    this.grew();
  }

  #toEnd() {
    const distance = this.#distance();
    if (distance > 0) scrollBy({ top: distance, behavior: "instant" });
    this.#lastY = scrollY;
  }

  #scrolled() {
    if (!this.#isShown()) return;
    const isUp = scrollY < this.#lastY - 2;
    this.#lastY = scrollY;
    if (this.#distance() < NEAR_PX) this.#follows = true;
    else if (isUp) this.#follows = false;
    this.#offer();
  }

  #offer() {
    this.#button.hidden = this.#follows || this.#wordsEnd() - this.#barTop() < NEAR_PX;
  }

  /** How far to scroll to the end of the page, or only so far that the newest words stay in sight. */
  #distance() {
    const wordsEnd = this.#wordsEnd();
    if (wordsEnd === -Infinity) return 0;
    const pageEnd = document.documentElement.scrollHeight - innerHeight - scrollY;
    return Math.min(pageEnd, wordsEnd - SHOWN * this.#barTop());
  }

  /** Where the newest words end in the window; -Infinity if there are none. */
  #wordsEnd() {
    let last = this.#text.lastElementChild;
    while (last && !last.offsetHeight) last = last.previousElementSibling;
    return last ? last.getBoundingClientRect().bottom : -Infinity;
  }

  #barTop() {
    return Math.min(innerHeight, this.#bar.getBoundingClientRect().top);
  }

  #isShown() {
    return this.#button.parentElement?.offsetParent !== null;
  }
}
