/** Transcripts that wait for their last words while another one is recorded. */

const MOST = 2;

export class Finishing {
  #savers = [];

  /** Whether another one would end the oldest without its last words. */
  get isFull() {
    return this.#savers.length >= MOST;
  }

  /** Seconds of sound that are not text yet. */
  get lagS() {
    return Math.max(0, ...this.#savers.map(({ listening }) => listening.talk.lagS));
  }

  /** saver: of a transcript that is paused. */
  add(saver) {
    if (this.isFull) this.#end(this.#savers.shift());
    this.#savers.push(saver);
    this.look();
  }

  /** From time to time: save all, and end those that are whole or deleted. */
  look() {
    const isOver = ({ isErased, listening }) => isErased || listening.talk.isSettled;
    const over = this.#savers.filter(isOver);
    this.#savers = this.#savers.filter((saver) => !isOver(saver));
    over.forEach((saver) => this.#end(saver));
    this.save();
  }

  /** The page may end, or some time has passed. */
  save() {
    for (const saver of this.#savers) {
      saver.listening.tell();
      saver.save();
    }
  }

  /** The network may be back. */
  wake() {
    for (const { listening } of this.#savers) listening.talk.wake();
  }

  /** The store has erased the transcript with this id, or all (null). */
  forget(id) {
    for (const saver of this.#savers) saver.forget(id);
  }

  #end(saver) {
    saver.listening.talk.close();
    saver.listening.tell();
    saver.listening.transcript.isOpen = false;
    saver.save();
  }
}
