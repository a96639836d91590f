/** Joins pieces of a transcript into words with times. */

const WORD_S = 1; // the longest assumed length of a word if its beginning is unknown
const UNSPACED = /^[\p{scx=Hiragana}\p{scx=Katakana}\p{Script=Han}\u3006]/u;
const ENDLESS_LETTERS = 2000; // no paragraph of any script is so long
const HALF_WIDTH = /^[\uff61-\uff9f]/;

/**
 * Adds a piece of text, not empty, to words {text, startS, endS} in order of time and without
 * overlap; the last word may grow.
 *
 * A word begins with a piece that starts with a space, or after a piece that ends with one. In a
 * script without spaces every piece is a word. Punctuation belongs to the word before. Times are
 * in seconds; startS: null if the engine cannot tell.
 */
export function addWord(words, text, startS, endS) {
  const last = words.at(-1) ?? { text: "", startS: 0, endS: 0 };
  endS = Math.max(endS, last.endS);
  startS ??= endS - WORD_S;
  if (!words.length || opensWord(last.text, text)) {
    words.push({ text, startS: Math.min(Math.max(startS, last.endS), endS), endS });
  } else if (last.text.trim()) {
    words[words.length - 1] = { text: last.text + text, startS: last.startS, endS };
  } else {
    words[words.length - 1] = { text: last.text + text, startS: Math.min(Math.max(startS, 0), endS), endS };
  }
}

/** Whether a word of the text is so long that to break it into lines takes a browser seconds. */
export function isEndless(text) {
  return text.length > ENDLESS_LETTERS && text.split(/\s+/).some((word) => word.length > ENDLESS_LETTERS);
}

/** The text of the words, without line breaks and with single spaces. */
export function inLine(words) {
  return words.map((word) => word.text).join("").trim().replace(/\s+/g, " ");
}

/** Whether `text` after the word `before` begins a new word. */
function opensWord(before, text) {
  if (!before.trim() || !text.trim()) return false;
  return /^\s/.test(text) || /\s$/.test(before) || isUnspaced(text);
}

/** Whether it begins with a letter of a script without spaces between words. */
export function isUnspaced(text) {
  return UNSPACED.test(text) && /^[\p{L}\p{N}]/u.test(text) && !HALF_WIDTH.test(text);
}
