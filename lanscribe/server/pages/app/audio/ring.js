/** Recorded sound by absolute sample. Touches no document, no clock and no network. */

/** Samples a second of all sound that is kept and sent. */
export const RATE_HZ = 16_000;

const BLOCK_SAMPLES = RATE_HZ;

/** The newest `limitSamples` of the recording, Int16; each sample keeps its index for ever. */
export class Ring {
  #limit;
  #blocks = [];
  #first = 0; // the index of the first sample of the first block
  #start = 0;
  #end = 0;

  constructor(limitSamples) {
    this.#limit = limitSamples;
  }

  /** The index of the oldest sample that is kept. */
  get start() {
    return this.#start;
  }

  /** The index after the newest sample. */
  get end() {
    return this.#end;
  }

  /** Adds samples, Int16Array; over the limit the oldest ones are dropped. */
  append(samples) {
    for (let done = 0; done < samples.length; ) {
      const at = (this.#end - this.#first) % BLOCK_SAMPLES;
      if (this.#first + this.#blocks.length * BLOCK_SAMPLES === this.#end) {
        this.#blocks.push(new Int16Array(BLOCK_SAMPLES));
      }
      const piece = samples.subarray(done, done + BLOCK_SAMPLES - at);
      this.#blocks.at(-1).set(piece, at);
      this.#end += piece.length;
      done += piece.length;
      this.forget(this.#end - this.#limit);
    }
  }

  /** Up to `most` samples from the index `at` on, copied. Throws RangeError if `at` is not kept. */
  read(at, most) {
    if (at < this.#start || at > this.#end) {
      throw new RangeError(`sample ${at} is not among ${this.#start} to ${this.#end}`);
    }
    const read = new Int16Array(Math.min(most, this.#end - at));
    for (let done = 0; done < read.length; ) {
      const offset = at + done - this.#first;
      const begin = offset % BLOCK_SAMPLES;
      const block = this.#blocks[Math.floor(offset / BLOCK_SAMPLES)];
      const piece = block.subarray(begin, begin + read.length - done);
      read.set(piece, done);
      done += piece.length;
    }
    return read;
  }

  /** Drops the samples before this index; memory is freed by the second. */
  forget(before) {
    this.#start = Math.max(this.#start, Math.min(before, this.#end));
    const blocks = Math.floor((this.#start - this.#first) / BLOCK_SAMPLES);
    this.#blocks.splice(0, blocks);
    this.#first += blocks * BLOCK_SAMPLES;
  }
}
