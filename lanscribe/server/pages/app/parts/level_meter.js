/** How loud the microphone is, as a bar. It only tells eyes; warnings are told in words elsewhere. */

import { h } from "../dom.js";

const FLOOR_DB = -60;
const FALL_DB = 1.5; // a frame

/** A bar that follows the peaks of the sound. */
export class LevelMeter {
  #bar = h("span", {});
  #levelDb = FLOOR_DB;
  #shownDb = FLOOR_DB;
  #isMoving = false;

  constructor() {
    this.root = h("div", { class: "level", "aria-hidden": "true" }, this.#bar);
  }

  /** Show a block of sound, Int16Array. */
  feed(samples) {
    let peak = 1;
    for (const sample of samples) peak = Math.max(peak, Math.abs(sample));
    this.#levelDb = Math.max(FLOOR_DB, 20 * Math.log10(peak / 32_768));
    this.#shownDb = Math.max(this.#shownDb, this.#levelDb);
    if (!this.#isMoving && !document.hidden) this.#move();
  }

  /** No sound comes. */
  rest() {
    this.#levelDb = FLOOR_DB;
  }

  #move() {
    this.#isMoving = true;
    requestAnimationFrame(() => {
      this.#isMoving = false;
      this.#shownDb = Math.max(this.#levelDb, this.#shownDb - FALL_DB);
      this.#bar.style.transform = `scaleX(${(1 - this.#shownDb / FLOOR_DB).toFixed(3)})`;
      this.root.classList.toggle("loud", this.#shownDb > -1);
      if (this.#shownDb > this.#levelDb) this.#move();
    });
  }
}
