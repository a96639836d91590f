/**
 * Words with times as captions. One is at most a sentence, seven seconds, or two lines of 42 narrow
 * letters.
 */

import { inLine } from "./words.js";

const LINE_WIDTH = 42;
const SEGMENT_S = 7;
const SEGMENT_GAP_S = 0.8; // a longer pause between two words begins a segment
const SHOWN_MS = 1_000; // a caption stays for at least this long, unless the next one comes earlier
const SENTENCE_END = /[.!?\u2026\u3002\uff01\uff1f]["')\]\u2019\u201d\u300d]*$/;
const ABBREVIATION = /^(?:Mrs?|Ms|Drs?|St|Prof|Sr|Jr|vs|[A-Z])\.$/;
const WIDE = new RegExp(
  "[\\u1100-\\u115f\\u2329\\u232a\\u2e80-\\u303e\\u3041-\\u3247\\u3250-\\u4dbf\\u4e00-\\ua4c6\\ua960-\\ua97c" +
    "\\uac00-\\ud7a3\\uf900-\\ufad9\\ufe10-\\ufe19\\ufe30-\\ufe6b\\uff01-\\uff60\\uffe0-\\uffe6" +
    "\\u{16fe0}-\\u{1b2fb}\\u{1f200}-\\u{1f265}\\u{20000}-\\u{3134a}]|(?![\\u{1f1e6}-\\u{1f1ff}])\\p{Emoji_Presentation}",
  "u",
);

/** Whether a text ends a sentence, and not only an abbreviation. */
export function endsSentence(text) {
  const last = text.trim();
  return SENTENCE_END.test(last) && !ABBREVIATION.test(last);
}

/** The width in letters; Chinese, Japanese and Korean letters, and pictures, count twice. */
export function widthOf(text) {
  let width = 0;
  for (const letter of text) width += letter >= "\u1100" && WIDE.test(letter) ? 2 : 1;
  return width;
}

/** The words in order, cut at ends of sentences, at pauses, and when a segment is full: Word[][]. */
export function segmentsOf(words) {
  const segments = [];
  let start = 0;
  for (let index = 1; index <= words.length; index += 1) {
    if (index < words.length && !endsSegment(words.slice(start, index), words[index])) continue;
    segments.push(words.slice(start, index));
    start = index;
  }
  return segments;
}

/** The words as a caption file; kind: "srt" or "vtt". */
export function captionFile(words, kind) {
  const segments = segmentsOf(words);
  const cues = segments.map((segment, index) => {
    const text = linesOf(segment).join("\n");
    const times = timesOf(segment, segments[index + 1], kind === "srt" ? "," : ".");
    // SRT cannot escape an arrow, so it is shortened there
    return kind === "srt"
      ? `${index + 1}\n${times}\n${text.replace(/--+>/g, "->")}\n\n`
      : `${times}\n${escaped(text)}\n\n`;
  });
  return (kind === "vtt" ? "WEBVTT\n\n" : "") + cues.join("");
}

/** Seconds as milliseconds; a half is rounded to the even one, as Python does. */
export function msOf(seconds) {
  const ms = 1000 * seconds;
  const whole = Math.floor(ms);
  return ms - whole === 0.5 ? whole + (whole % 2) : Math.round(ms);
}

function endsSegment(words, following) {
  const last = words.at(-1);
  if (endsSentence(last.text) || following.startS - last.endS > SEGMENT_GAP_S) return true;
  if (following.endS - words[0].startS > SEGMENT_S) return true;
  return Math.max(...linesOf([...words, following]).map(widthOf)) > LINE_WIDTH;
}

/** The text in one line if that is short enough, else in two of about equal length. */
function linesOf(words) {
  const line = inLine(words);
  if (widthOf(line) <= LINE_WIDTH || words.length === 1) return [line];
  const cut = cutOf(line, words);
  return [line.slice(0, cut), line.slice(cut).trimStart()];
}

/** Where to cut a line between two of its words so that the wider part is the least wide. */
function cutOf(line, words) {
  const widths = widthsOf(line);
  let best = { cut: 0, width: Infinity };
  for (const cut of endsOf(words).slice(0, -1)) {
    const after = widths[line.length] - widths[cut] - (line[cut] === " " ? 1 : 0);
    const width = Math.max(widths[cut], after);
    if (width < best.width) best = { cut, width };
  }
  return best.cut;
}

/** The width of the first n units of a line, for each n. */
function widthsOf(line) {
  const widths = new Uint32Array(line.length + 1);
  let at = 0;
  for (const letter of line) {
    widths.fill(widths[at] + widthOf(letter), at + 1, at + 1 + letter.length);
    at += letter.length;
  }
  return widths;
}

/** Where each word ends in the line of them all (inLine), in units. */
function endsOf(words) {
  let end = 0;
  let isApart = false;
  return words.map(({ text }) => {
    const said = inLine([{ text }]);
    isApart ||= /^\s/.test(text);
    if (!said) return end;
    end += said.length + (isApart && end > 0 ? 1 : 0);
    isApart = /\s$/.test(text);
    return end;
  });
}

/** When a segment is shown; WebVTT requires the end to be after the start. */
function timesOf(segment, next, mark) {
  const startMs = msOf(segment[0].startS);
  const shownMs = Math.min(startMs + SHOWN_MS, next ? msOf(next[0].startS) : Infinity);
  const endMs = Math.max(msOf(segment.at(-1).endS), shownMs, startMs + 1);
  return `${clock(startMs, mark)} --> ${clock(endMs, mark)}`;
}

function clock(ms, mark) {
  const two = (number) => String(Math.floor(number)).padStart(2, "0");
  const parts = [ms / 3_600_000, (ms / 60_000) % 60, (ms / 1000) % 60].map(two);
  return `${parts.join(":")}${mark}${String(ms % 1000).padStart(3, "0")}`;
}

function escaped(text) {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
}
