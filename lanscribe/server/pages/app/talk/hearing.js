/** What the box has heard of a file so far. */

import { addWord } from "../text/words.js";
import { countOf, objectOf, partsOf, secondsOf, textOf } from "./fields.js";

const MOST_TRACKS = 100; // more are no choice
const SILENCES = ["zeros", "quiet"];

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

  /** Take an event of the stream, whatever is in it. */
  take(event) {
    if (event.type === "transcript.text.delta") this.#say(event);
    else if (event.type === "transcript.missing") this.#miss(event);
    else if (event.type === "transcript.progress") this.#advance(event);
    else if (event.type === "transcript.track") this.#choose(event);
    else if (event.type === "transcript.text.done") this.#end(event);
  }

  #say(event) {
    const text = textOf(event, "delta");
    if (!text) return;
    const endS = secondsOf(event, "end") ?? this.heardS;
    addWord(this.transcript.words, text, secondsOf(event, "start"), endS);
    this.heardS = Math.max(this.heardS, endS);
  }

  #miss(event) {
    const [startS, endS] = [secondsOf(event, "start") ?? this.heardS, secondsOf(event, "end")];
    this.transcript.gaps.push({ startS, endS, code: textOf(event, "code"), why: textOf(event, "why") });
  }

  #advance(event) {
    this.heardS = secondsOf(event, "heard") ?? this.heardS;
    this.ofS = secondsOf(event, "duration") ?? 0;
  }

  #choose(event) {
    const [number, count] = [countOf(event, "number"), Math.min(countOf(event, "count"), MOST_TRACKS)];
    const texts = ["language", "title", "why"].map((name) => [name, textOf(event, name)]);
    this.track = { number, count, ...Object.fromEntries(texts) };
  }

  /** What the engine lost is only told at the end. */
  #end(event) {
    const { gaps } = this.transcript;
    for (const [startS, endS] of partsOf(event, "lost", "start", "end")) {
      const isTold = gaps.some((gap) => gap.startS <= startS && (gap.endS ?? Infinity) >= endS);
      if (!isTold) gaps.push({ startS, endS, code: "lost" });
    }
    gaps.sort((one, other) => one.startS - other.startS);
    const code = textOf(objectOf(event.no_speech), "code");
    this.noSpeech = SILENCES.includes(code) ? code : null;
    this.transcript.durationS = this.ofS; // at the end the box tells how long the file really is
  }
}
