/** A transcript in paragraphs, with what is missing between them. */

import { endsSentence, widthOf } from "./captions.js";
import { inLine } from "./words.js";

const PAUSE_S = 2; // a longer one begins a paragraph
const FULL_WIDTH = 360; // about 60 words; then the next end of a sentence ends the paragraph

const FULLEST_WIDTH = 4 * FULL_WIDTH; // then any word ends it: not every engine ends sentences

/**
 * The parts of a transcript in order: paragraphs {startS, endS, text, words}, and {gap} for each gap.
 *
 * A paragraph ends at a gap, at a long pause, and at an end of a sentence when it is full, or of a word
 * when it is overfull.
 */
export function paragraphsOf({ words, gaps = [] }) {
  const parts = [];
  const waiting = [...gaps].sort((a, b) => a.startS - b.startS);
  let open = [];
  let width = 0;
  const close = () => {
    if (open.length) parts.push(paragraphOf(open));
    open = [];
    width = 0;
  };
  for (const word of words) {
    const isFull = width >= FULLEST_WIDTH || (width >= FULL_WIDTH && endsSentence(open.at(-1).text));
    if (open.length && (isFull || word.startS - open.at(-1).endS >= PAUSE_S)) close();
    while (waiting.length && waiting[0].startS <= middleOf(word)) {
      close();
      parts.push({ gap: waiting.shift() });
    }
    open.push(word);
    width += widthOf(word.text);
  }
  close();
  return [...parts, ...waiting.map((gap) => ({ gap }))];
}

function middleOf(word) {
  return (word.startS + word.endS) / 2;
}

function paragraphOf(words) {
  return { startS: words[0].startS, endS: words.at(-1).endS, text: inLine(words), words };
}
