/** Keeps the screen on, where the browser can. */

/** The wish to keep the screen on. */
export class WakeLock {
  #isWanted = false;
  #lock = null;

  constructor() {
    document.addEventListener("visibilitychange", () => this.#take()); // hidden pages lose it
  }

  /** Keep the screen on from now on, or no longer. */
  set(isWanted) {
    if (isWanted === this.#isWanted) return;
    this.#isWanted = isWanted;
    if (isWanted) this.#take();
    else this.#lock?.release();
  }

  async #take() {
    if (!this.#isWanted || document.hidden || (this.#lock && !this.#lock.released)) return;
    try {
      this.#lock = await navigator.wakeLock?.request("screen");
      if (!this.#isWanted) this.#lock?.release();
    } catch {
      this.#lock = null; // the battery is low, or the browser has none
    }
  }
}
