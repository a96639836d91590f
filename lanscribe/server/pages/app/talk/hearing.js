/** What the box has heard of a file so far. */

import { addWord } from "../text/words.js";

/** Grows a transcript by the events of the box. */
export class Hearing {
  /** { number, count, language, title, why } if the file has several tracks, else null. */
  track = null;
  /** How far the file is heard, and how long it says to be (0 if it does not), in seconds. */
  heardS = 0;
  ofS = 0;
  /** Why there is no text: null, "zeros" or "quiet". */
  noSpeech = null;

  constructor(transcript) {
    this.transcript = transcript;
  }

  /** Take an event of the stream. */
  take(event) {
    const { words, gaps } = this.transcript;
    if (event.type === "transcript.text.delta" && event.delta) {
      addWord(words, event.delta, event.start ?? null, event.end);
      this.heardS = Math.max(this.heardS, event.end);
    } else if (event.type === "transcript.missing") {
      gaps.push({ startS: event.start, endS: event.end, code: event.code, why: event.why });
    } else if (event.type === "transcript.progress") {
      this.heardS = event.heard;
      this.ofS = event.duration ?? 0;
    } else if (event.type === "transcript.track") {
      this.track = event;
    } else if (event.type === "transcript.text.done") this.#end(event);
  }

  /** What the engine lost is only told at the end. */
  #end({ lost = [], no_speech: noSpeech }) {
    const { gaps } = this.transcript;
    for (const { start, end } of lost) {
      const isTold = gaps.some((gap) => gap.startS <= start && (gap.endS ?? Infinity) >= end);
      if (!isTold) gaps.push({ startS: start, endS: end, code: "lost" });
    }
    gaps.sort((one, other) => one.startS - other.startS);
    this.noSpeech = noSpeech?.code ?? null;
    this.transcript.durationS = this.ofS; // at the end the box tells how long the file really is
  }
}
