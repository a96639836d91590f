/** A transcript as a file: text, JSON or captions. */

import { captionFile, msOf, segmentsOf } from "./captions.js";
import { paragraphsOf } from "./paragraphs.js";
import { inLine } from "./words.js";

/** The kinds of files, which are the ends of their names too. */
export const KINDS = ["txt", "srt", "vtt", "json"];

/**
 * The text of a file of one of KINDS.
 *
 * `txt` is one line a paragraph, with an empty line between; `sayGap` gives the line for what is
 * missing, and without it nothing stands there. `json` has text, duration, words and segments as
 * OpenAI's verbose_json, and the rest of the transcript beside them.
 */
export function documentOf(transcript, kind, sayGap = () => "") {
  const words = inLine(transcript.words) ? transcript.words : [];
  if (kind === "txt") return textOf({ ...transcript, words }, sayGap);
  if (kind === "json") return `${JSON.stringify(verbose(transcript, words))}\n`;
  return captionFile(words, kind);
}

function textOf(transcript, sayGap) {
  const parts = paragraphsOf(transcript).map((part) => (part.gap ? sayGap(part.gap) : part.text));
  return `${parts.filter(Boolean).join("\n\n")}\n`;
}

function verbose(transcript, words) {
  const { title, startedMs, durationS, model, language, gaps = [] } = transcript;
  return {
    title,
    started: startedMs ? new Date(startedMs).toISOString() : undefined,
    model,
    language,
    text: inLine(words),
    duration: rounded(durationS),
    words: words.map((word) => ({ word: inLine([word]), ...times(word, word) })),
    segments: segmentsOf(words).map((segment, id) => ({
      id,
      ...times(segment[0], segment.at(-1)),
      text: inLine(segment),
    })),
    missing: gaps.length ? gaps.map(missing) : undefined,
  };
}

/** A gap as the server tells the missing parts of a file. */
function missing({ startS, endS, code, why }) {
  return { start: rounded(startS), end: endS === null ? null : rounded(endS), code, why };
}

function times(first, last) {
  return { start: rounded(first.startS), end: rounded(last.endS) };
}

/** Seconds, to the millisecond. */
function rounded(seconds) {
  return msOf(seconds) / 1000;
}
