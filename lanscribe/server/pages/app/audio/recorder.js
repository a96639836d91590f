/** Runs in an AudioWorklet: passes on what the microphone gives as blocks of 16 kHz, mono, Int16. */

import { Resampler, toInt16 } from "./resampler.js";

const BLOCK_S = 0.08;

class Recorder extends AudioWorkletProcessor {
  #resampler = new Resampler(sampleRate);
  #block = new Float32Array(Math.round(sampleRate * BLOCK_S));
  #filled = 0;
  #isOn = true;

  constructor() {
    super();
    this.port.onmessage = () => (this.#isOn = false);
  }

  process([channels]) {
    const length = channels[0]?.length ?? 0;
    for (let at = 0; at < length; at += 1) {
      let sum = 0;
      for (const channel of channels) sum += channel[at];
      this.#block[this.#filled] = sum / channels.length;
      this.#filled += 1;
      if (this.#filled === this.#block.length) this.#post();
    }
    return this.#isOn;
  }

  #post() {
    const samples = toInt16(this.#resampler.feed(this.#block));
    this.#filled = 0;
    this.port.postMessage(samples, [samples.buffer]);
  }
}

registerProcessor("recorder", Recorder);
