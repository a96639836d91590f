/** The transcripts that this browser keeps; the box keeps none. */

import { Disk } from "./disk.js";
import { Memory } from "./memory.js";
import { finder, firstChanged, headerOf, newestFirst, partsOf, transcriptOf } from "./rows.js";

const AT_ONCE = 50; // transcripts whose texts are read together

/** Transcripts, all tabs of the page together. */
export class Store {
  #rows;
  #watchers = new Set();
  #channel;
  #warn;
  #isPersistAsked = false;
  /** Whether what is kept is lost when the page is closed, because the browser refuses to keep anything. */
  isInMemory = false;
  /** Whether there was no room for the words that were last to be kept. */
  isFull = false;

  /**
   * factory: window.indexedDB or undefined. warn(reason, isSo): called when a trouble, "refused" or
   * "full", begins and when it is over.
   */
  constructor(factory, warn) {
    this.#warn = warn;
    this.#rows = factory ? new Disk(factory) : new Memory();
    if (!factory) this.#refuse();
    if (typeof BroadcastChannel === "undefined") return;
    this.#channel = new BroadcastChannel("lanscribe.transcripts");
    this.#channel.onmessage = ({ data }) => this.#tell(data.id, data.isGone);
  }

  /** An id for a new transcript; crypto.randomUUID exists over https only. */
  newId() {
    const bytes = crypto.getRandomValues(new Uint8Array(12));
    return Array.from(bytes, (one) => one.toString(16).padStart(2, "0")).join("");
  }

  /** Keep a transcript, or what has become of it. Rejects if there is no room. */
  async put(transcript) {
    const { id, words } = transcript;
    await this.#write(id, (before) => {
      const first = firstChanged(before, words.length);
      return { header: headerOf(transcript, before, Date.now()), first, parts: partsOf(id, words, first) };
    });
    this.#tellFull(false);
    if (!transcript.isOpen && words.length > 0) this.#askToPersist();
  }

  /** A transcript with its words, undefined if it is not kept. */
  async get(id) {
    const rows = await this.#safely((one) => one.read(id));
    return rows && transcriptOf(rows.header, rows.parts);
  }

  /** The headers (rows.js) of all, newest first; they have no words. */
  async list() {
    return (await this.#safely((one) => one.headers())).sort(newestFirst);
  }

  /** As `list`, only those with every word of `text` in the text or title, each with its `excerpt`. */
  async find(text) {
    const find = finder(text);
    const headers = await this.list();
    const found = [];
    for (let at = 0; at < headers.length; at += AT_ONCE) {
      const some = headers.slice(at, at + AT_ONCE);
      const texts = await this.#safely((one) => one.texts(some.map((header) => header.id)));
      some.forEach((header, index) => {
        const excerpt = find(header, texts[index]);
        if (excerpt) found.push({ ...header, excerpt });
      });
    }
    return found;
  }

  /** Give it a name, which a later `put` does not change. */
  rename(id, title) {
    return this.#write(id, (header) => header && { header: { ...header, title, isRenamed: true } });
  }

  /** Erase it; `put` what `get` told before to undo that. */
  async remove(id) {
    await this.#safely((one) => one.remove(id));
    this.#changed(id, true);
  }

  /** Erase all. */
  async clear() {
    await this.#safely((one) => one.clear());
    this.#changed(null, true);
  }

  /**
   * callback(id, isGone) after each change, of other tabs too. isGone: it was erased, and all were if id is
   * null. Returns how to end it.
   */
  watch(callback) {
    this.#watchers.add(callback);
    return () => this.#watchers.delete(callback);
  }

  async #write(id, make) {
    try {
      await this.#safely((one) => one.change(id, make));
    } catch (error) {
      if (error.name === "QuotaExceededError") this.#tellFull(true);
      throw error;
    }
    this.#changed(id);
  }

  /** What `work` returns; in memory from the first time on that the disk cannot be opened. */
  async #safely(work) {
    try {
      return await work(this.#rows);
    } catch (error) {
      if (this.isInMemory || !(await this.#isRefused())) throw error;
      this.#rows = new Memory();
      this.#refuse();
      return work(this.#rows);
    }
  }

  async #isRefused() {
    return this.#rows.headers().then(() => false, () => true);
  }

  #refuse() {
    this.isInMemory = true;
    this.#warn("refused", true);
  }

  #tellFull(isSo) {
    if (this.isFull === isSo) return;
    this.isFull = isSo;
    this.#warn("full", isSo);
  }

  #changed(id, isGone = false) {
    this.#channel?.postMessage({ id, isGone });
    this.#tell(id, isGone);
  }

  #tell(id, isGone) {
    for (const callback of this.#watchers) callback(id, isGone);
  }

  /** Browsers erase what pages keep when the disk is full, unless asked; some ask the person. */
  #askToPersist() {
    if (this.#isPersistAsked || this.isInMemory) return;
    this.#isPersistAsked = true;
    navigator.storage?.persist?.().catch(() => false);
  }
}
