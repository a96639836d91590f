/** Keeps the newest words in sight, until the reader scrolls up; then a button leads back. */

const NEAR_PX = 24;

export class Follower {
  #button;
  #follows = true;
  #lastY = 0;

  /** button: shown while the newest words are out of sight; press it to follow them again. */
  constructor(button) {
    this.#button = button;
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
    this.#button.hidden = this.#follows || this.#distance() < NEAR_PX;
  }

  /** Go to the newest words, and follow them. */
  reset() {
    this.#follows = true;
    this.grew();
  }

  #toEnd() {
    const { scrollHeight } = document.documentElement;
    if (this.#distance() > 0) scrollTo({ top: scrollHeight, behavior: "instant" });
    this.#lastY = scrollY;
  }

  #scrolled() {
    if (!this.#isShown()) return;
    const isUp = scrollY < this.#lastY - 2;
    this.#lastY = scrollY;
    if (this.#distance() < NEAR_PX) this.#follows = true;
    else if (isUp) this.#follows = false;
    this.#button.hidden = this.#follows;
  }

  #distance() {
    return document.documentElement.scrollHeight - innerHeight - scrollY;
  }

  #isShown() {
    return this.#button.parentElement?.offsetParent !== null;
  }
}
