/** Saves a live transcript while it grows: only what has changed, and never one that was deleted. */

export class Saver {
  /** Whether somebody has deleted it. */
  isErased = false;
  #store;
  #saved = "";
  #isKept = false;

  /** listening: whose transcript it is. */
  constructor(store, listening) {
    this.#store = store;
    this.listening = listening;
  }

  /** Save it if it has changed; one without a word is kept only while it is recorded. */
  async save() {
    const { transcript } = this.listening;
    const state = stateOf(transcript);
    const isEmpty = !transcript.words.length && !(transcript.isOpen && transcript.durationS > 0);
    if (this.isErased || state === this.#saved) return;
    this.#saved = state;
    try {
      await (isEmpty ? this.#drop(transcript.id) : this.#put(transcript));
    } catch {
      this.#saved = ""; // the store has told it; there may be room the next time
    }
  }

  /** The store has erased the transcript with this id, or all (null). */
  forget(id) {
    this.isErased ||= this.#isKept && (id === null || id === this.listening.transcript.id);
  }

  async #put(transcript) {
    await this.#store.put(transcript);
    this.#isKept = true;
  }

  async #drop(id) {
    if (!this.#isKept) return;
    this.#isKept = false; // or it would count as deleted by somebody
    await this.#store.remove(id);
  }
}

function stateOf({ words, gaps, durationS, isOpen, model }) {
  const last = words.at(-1);
  return JSON.stringify([words.length, last?.text, last?.endS, gaps, durationS, isOpen, model]);
}
