/** Sound at the rate of the device to sound at 16 kHz. Runs in an AudioWorklet too. */

const ZERO_CROSSINGS = 32; // on each side: 2 ms at 16 kHz
const CUTOFF = 0.925; // of the lower Nyquist frequency: what would fold back is 80 dB down
const KAISER_BETA = 8;
const MOST_PHASES = 512; // beyond, filters are interpolated

/** One stream of mono sound, Float32Array in, Float32Array out, at rates from 8 to 192 kHz. */
export class Resampler {
  #up;
  #down;
  #half; // of a filter, in samples of the input
  #filters;
  #kept; // the input that later output needs
  #at; // where in `kept` the next output lies, and how many `up`ths of a sample beyond
  #phase = 0;
  #fed = 0;
  #made = 0;

  constructor(fromHz, toHz = 16_000) {
    const shared = greatestDivisor(Math.round(fromHz), toHz);
    this.#up = toHz / shared;
    this.#down = Math.round(fromHz) / shared;
    const width = Math.max(1, this.#down / this.#up);
    this.#half = Math.ceil(ZERO_CROSSINGS * width);
    const phases = Math.min(this.#up, MOST_PHASES);
    const filter = (_, index) => filterOf(index / phases, this.#half, CUTOFF / width);
    this.#filters = Array.from({ length: phases + 1 }, filter);
    this.#begin();
  }

  /** The next samples of the input; returns those of the output that are complete. */
  feed(samples) {
    if (this.#up === this.#down) return samples.slice();
    this.#fed += samples.length;
    return this.#advance(samples, Infinity);
  }

  /** The rest of the output: in all, as long as the input. What is fed next is a new stream. */
  flush() {
    if (this.#up === this.#down) return new Float32Array(0);
    const most = Math.round((this.#fed * this.#up) / this.#down) - this.#made;
    const rest = this.#advance(new Float32Array(this.#half + 1), most);
    this.#begin();
    return rest;
  }

  #begin() {
    this.#kept = new Float32Array(this.#half - 1);
    this.#at = this.#half - 1;
    this.#phase = this.#fed = this.#made = 0;
  }

  #advance(samples, most) {
    const input = new Float32Array(this.#kept.length + samples.length);
    input.set(this.#kept);
    input.set(samples, this.#kept.length);
    const room = Math.ceil(((input.length - this.#at) * this.#up) / this.#down) + 1;
    const output = new Float32Array(Math.max(0, room));
    let count = 0;
    while (this.#at + this.#half < input.length && count < most) {
      output[count] = this.#sample(input);
      count += 1;
      this.#phase += this.#down;
      this.#at += Math.floor(this.#phase / this.#up);
      this.#phase %= this.#up;
    }
    const before = Math.min(input.length, this.#at - this.#half + 1);
    this.#kept = input.slice(before);
    this.#at -= before;
    this.#made += count;
    return output.slice(0, count);
  }

  #sample(input) {
    const place = (this.#phase / this.#up) * (this.#filters.length - 1);
    const index = Math.floor(place);
    const begin = this.#at - this.#half + 1;
    const value = dot(this.#filters[index], input, begin);
    if (place === index) return value;
    return value + (place - index) * (dot(this.#filters[index + 1], input, begin) - value);
  }
}

/** Float samples in [-1, 1) as Int16, clipped. */
export function toInt16(samples) {
  const clipped = (sample) => Math.max(-32_768, Math.min(32_767, Math.round(sample * 32_768)));
  return Int16Array.from(samples, clipped);
}

function greatestDivisor(a, b) {
  return b === 0 ? a : greatestDivisor(b, a % b);
}

function dot(filter, input, begin) {
  let sum = 0;
  for (let index = 0; index < filter.length; index += 1) sum += filter[index] * input[begin + index];
  return sum;
}

/** Weights of the 2 * half samples around a place that is `fraction` after the middle one. */
function filterOf(fraction, half, cutoff) {
  const weights = Float32Array.from({ length: 2 * half }, (_, index) => {
    const away = index - half + 1 - fraction;
    return sinc(cutoff * away) * kaiser(away / half);
  });
  const sum = weights.reduce((total, weight) => total + weight, 0);
  return weights.map((weight) => weight / sum);
}

function sinc(x) {
  return x === 0 ? 1 : Math.sin(Math.PI * x) / (Math.PI * x);
}

/** Kaiser's window for x in [-1, 1]. */
function kaiser(x) {
  return bessel(KAISER_BETA * Math.sqrt(Math.max(0, 1 - x * x)));
}

/** The modified Bessel function of order 0, by its series. */
function bessel(x) {
  let term = 1;
  let sum = 1;
  for (let k = 1; term > 1e-12 * sum; k += 1) {
    term *= (x / (2 * k)) ** 2;
    sum += term;
  }
  return sum;
}
