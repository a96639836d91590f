/** A transcript on the screen: paragraphs with their times, and the gaps between them. */

import { h } from "../dom.js";
import { isText, locale, t } from "../strings/strings.js";
import { paragraphsOf } from "../text/paragraphs.js";
import { isEndless } from "../text/words.js";

const OPEN_BLOCKS = 20; // so many of the last paragraphs and gaps may still change

/** A time of a transcript: of day if it is live, else since the start of the file ("1:02:03"). */
export function timeOf(transcript, seconds, { exact = false } = {}) {
  if (transcript.kind === "file") return sinceStart(seconds);
  const style = { hour: "2-digit", minute: "2-digit", ...(exact ? { second: "2-digit" } : {}) };
  return new Date(transcript.startedMs + 1000 * seconds).toLocaleTimeString(locale(), style);
}

function sinceStart(seconds) {
  const two = (number) => String(number).padStart(2, "0");
  const [hours, minutes, rest] = [seconds / 3600, (seconds / 60) % 60, seconds % 60].map(Math.floor);
  return hours ? `${hours}:${two(minutes)}:${two(rest)}` : `${minutes}:${two(rest)}`;
}

/** What a reader is told of a gap. */
export function gapText(transcript, { startS, endS, code }) {
  const from = timeOf(transcript, startS, { exact: true });
  const isOpen = endS === null || endS === undefined;
  const end = isOpen ? ".open" : "";
  const known = isText(`gap.${code}${end}`) ? code : "other"; // a newer box may tell more
  return t(`gap.${known}${end}`, { from, to: isOpen ? "" : timeOf(transcript, endS, { exact: true }) });
}

/** Let a text that is hard to break into lines be broken anywhere. */
function markEndless(element, text) {
  element.classList.toggle("endless", isEndless(text));
}

/** A paragraph; its text only grows. */
class Paragraph {
  constructor(key, transcript, block) {
    this.key = key;
    this.startS = block.startS;
    this.text = document.createTextNode("");
    const time = h("time", {}, timeOf(transcript, block.startS));
    const settled = h("span", { class: "settled" }, this.text);
    const lang = transcript.language || undefined;
    this.root = h("p", { class: "said", dir: "auto", lang }, time, settled);
    this.show(transcript, block);
  }

  show(_transcript, { text }) {
    const before = this.text.data;
    if (text === before) return;
    if (text.startsWith(before)) this.text.appendData(text.slice(before.length));
    else this.text.data = text;
    markEndless(this.text.parentNode, text);
  }
}

/** Time without text, and why. */
class GapMark {
  constructor(key, transcript, block) {
    this.key = key;
    this.root = h("p", { class: "gap", "data-code": block.gap.code });
    this.show(transcript, block);
  }

  show(transcript, { gap }) {
    const text = gapText(transcript, gap);
    if (this.root.textContent !== text) this.root.textContent = text;
    this.root.title = gap.why ?? "";
  }
}

/**
 * Shows a transcript. Settled text is only ever added to; the words that may still change (tentative)
 * and those that the next session may say anew (held) are in elements of their own at its end, which
 * screen readers skip.
 */
export class TranscriptView {
  #blocks = []; // the last ones, that may still change
  #word = 0; // the index of their first word
  #fromS = -Infinity; // and where they begin
  #lastWord = null;
  #toldGaps = "";
  #isApart = false;
  #held = h("span", { class: "held", "aria-hidden": "true" });
  #tentative = h("span", { class: "tentative", "aria-hidden": "true" });
  #tail = h("p", { class: "tail", dir: "auto" }, this.#held, this.#tentative);

  /** label: its name for screen readers. */
  constructor({ label, isLive = false }) {
    this.root = h("div", { class: "transcript", role: "region", "aria-label": label }, this.#tail);
    this.root.classList.toggle("live", isLive);
  }

  /** Show another transcript. */
  set(transcript) {
    this.#blocks = [];
    [this.#word, this.#fromS, this.#isApart] = [0, -Infinity, false];
    [this.#lastWord, this.#toldGaps] = [null, ""];
    this.#held.textContent = this.#tentative.textContent = "";
    this.root.replaceChildren(this.#tail);
    this.#placeTail();
    this.update(transcript);
  }

  /** Show the same transcript: words and gaps were added at its end. */
  update(transcript) {
    const words = transcript.words.slice(this.#word);
    const gaps = transcript.gaps.filter((gap) => gap.startS >= this.#fromS);
    if (this.#isShown(words, gaps)) return;
    this.#show(transcript, paragraphsOf({ ...transcript, words, gaps }));
    this.#close();
    this.#placeTail();
  }

  /** Show the words that may still change. isApart: they follow a pause, so they begin a paragraph. */
  tentative(text, { isApart = false } = {}) {
    if (!this.#tentative.textContent || !text) this.#isApart = isApart && text !== "";
    this.#tell(this.#tentative, text);
  }

  /** Show the words that are shown until a new session has said them. */
  held(text) {
    this.#tell(this.#held, text);
  }

  /** Show the times of paragraphs, or not. */
  showTimes(isShown) {
    this.root.classList.toggle("timeless", !isShown);
  }

  /** Whether nothing was added since it was asked last: a word that grows is another one. */
  #isShown(words, gaps) {
    const [last, told] = [words.at(-1), JSON.stringify(gaps)];
    const isSame = last === this.#lastWord && told === this.#toldGaps;
    [this.#lastWord, this.#toldGaps] = [last, told];
    return isSame;
  }

  #tell(element, text) {
    if (element.textContent !== text) {
      element.textContent = text;
      markEndless(element, text);
    }
    this.#placeTail();
  }

  #show(transcript, found) {
    let word = this.#word;
    const keys = found.map((block) => {
      const key = block.gap ? `gap ${block.gap.startS} ${block.gap.code}` : `word ${word}`;
      word += block.words?.length ?? 0;
      return key;
    });
    this.#drop(new Set(keys));
    found.forEach((block, index) => this.#showOne(transcript, block, keys[index], index));
  }

  /** Drop the blocks that are no more, as when a gap turns out to part a paragraph. */
  #drop(wanted) {
    for (const block of this.#blocks) if (!wanted.has(block.key)) block.root.remove();
    this.#blocks = this.#blocks.filter((block) => wanted.has(block.key));
  }

  #showOne(transcript, block, key, index) {
    const there = this.#blocks[index];
    if (there?.key === key) {
      there.show(transcript, block);
      return;
    }
    const made = new (block.gap ? GapMark : Paragraph)(key, transcript, block);
    this.root.insertBefore(made.root, there?.root ?? this.#tail);
    this.#blocks.splice(index, 0, made);
    this.#isApart = false;
  }

  /** Let the older blocks be as they are, so that a long talk costs no more than a short one. */
  #close() {
    if (this.#blocks.length <= 2 * OPEN_BLOCKS) return;
    const first = this.#blocks.findIndex((block, index) => index >= OPEN_BLOCKS && block instanceof Paragraph);
    if (first < 0) return;
    this.#word = Number(this.#blocks[first].key.split(" ")[1]);
    this.#fromS = this.#blocks[first].startS;
    this.#blocks = this.#blocks.slice(first);
  }

  /** The tail goes on in the last paragraph, unless that is over. */
  #placeTail() {
    const last = this.#blocks.at(-1);
    const home = last instanceof Paragraph && !this.#isApart ? last.root : this.#tail;
    if (this.#held.parentNode !== home) home.append(this.#held, this.#tentative);
    this.#tail.hidden = home !== this.#tail || !(this.#held.textContent || this.#tentative.textContent);
  }
}
