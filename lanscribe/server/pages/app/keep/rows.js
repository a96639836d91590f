/**
 * How a transcript lies in the store: a header, which a list shows, and its words in parts, so that a
 * transcript that grows is written at its end only.
 *
 *   Header { id, kind, title, startedMs, durationS, model, language, gaps, isOpen,
 *            savedMs, wordCount, start, isRenamed }     start: its first words
 *   Part   { id, part, text, lengths: Uint32Array, times: Uint32Array }
 *            times: start and end of each word, in ms
 */

/** Words in a part: about a quarter of an hour of speech, 30 kB. */
export const PART_WORDS = 2000;
/** An open transcript that was not saved for so long is one whose page has ended. */
export const ABANDONED_MS = 15_000;
const START_WORDS = 24;
const AROUND = 60; // letters of an excerpt on either side of what was found

/** The header of a transcript. before: the one that it replaces; a name that a person gave stays. */
export function headerOf(transcript, before, nowMs) {
  const { words, ...rest } = transcript;
  const title = before?.isRenamed ? before.title : (rest.title ?? "");
  const isRenamed = before?.isRenamed ?? false;
  const about = { savedMs: nowMs, wordCount: words.length, start: startOf(words) };
  return { ...rest, title, isRenamed, gaps: rest.gaps ?? [], ...about };
}

/** The first words. */
export function startOf(words) {
  return words.slice(0, START_WORDS).map((word) => word.text).join("").trim();
}

/** The first part that differs from what is stored: words come at the end, and the last one may grow. */
export function firstChanged(before, wordCount) {
  if (!before || wordCount < before.wordCount) return 0;
  return Math.floor(Math.max(0, before.wordCount - 1) / PART_WORDS);
}

/** The parts of these words from the part `first` on. */
export function partsOf(id, words, first = 0) {
  const parts = [];
  for (let part = first; part * PART_WORDS < words.length; part += 1) {
    parts.push(packed(id, part, words.slice(part * PART_WORDS, (part + 1) * PART_WORDS)));
  }
  return parts;
}

function packed(id, part, words) {
  const lengths = Uint32Array.from(words, (word) => word.text.length);
  const times = Uint32Array.from(words.flatMap((word) => [ms(word.startS), ms(word.endS)]));
  return { id, part, text: words.map((word) => word.text).join(""), lengths, times };
}

function ms(seconds) {
  return Math.round(Math.max(0, seconds) * 1000);
}

/** The words of a part. */
export function wordsOf({ text, lengths, times }) {
  let at = 0;
  return Array.from(lengths, (length, index) => {
    const [startS, endS] = [times[2 * index] / 1000, times[2 * index + 1] / 1000];
    at += length;
    return { text: text.slice(at - length, at), startS, endS };
  });
}

/** The transcript of a header and all its parts. */
export function transcriptOf(header, parts) {
  const { savedMs, wordCount, start, isRenamed, ...rest } = header;
  return { ...rest, words: parts.flatMap(wordsOf) };
}

/** Whether a page writes this transcript now. */
export function isBeingWritten(header, nowMs) {
  return header.isOpen && nowMs - header.savedMs < ABANDONED_MS;
}

/** Newest first, which is the order of a list. */
export function newestFirst(one, other) {
  return other.startedMs - one.startedMs;
}

/**
 * A function (header, text) that tells whether each word of `wanted` is in the title or the text, in
 * any case of letters, and whether an accent is a letter's own or follows it (as macOS names files):
 * null if not, else { before, found, after } of the first place in the text, all "" if it is in the
 * title only.
 */
export function finder(wanted) {
  const patterns = wanted.normalize().trim().split(/\s+/).map(patternOf);
  return (header, written) => {
    const [title, text] = [header.title, written].map((one) => one.normalize());
    if (!patterns.every((one) => one.test(text) || one.test(title))) return null;
    const matches = patterns.map((one) => one.exec(text)).filter(Boolean);
    return excerpt(text, matches.sort((one, other) => one.index - other.index)[0]);
  };
}

function patternOf(word) {
  return new RegExp(word.replace(/[\\^$.*+?()[\]{}|]/g, "\\$&"), "iu");
}

function excerpt(text, match) {
  if (!match) return { before: "", found: "", after: "" };
  const before = text.slice(0, match.index);
  const after = text.slice(match.index + match[0].length);
  return {
    before: before.length > AROUND ? before.slice(-AROUND).replace(/^\S*\s/, "…") : before.trimStart(),
    found: match[0],
    after: after.length > AROUND ? after.slice(0, AROUND).replace(/\s\S*$/, "…") : after.trimEnd(),
  };
}
