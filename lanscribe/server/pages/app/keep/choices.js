/** What its reader has chosen, kept in this browser. */

/** What each choice is as long as nobody has chosen. */
export const DEFAULTS = {
  /** Size of the words of transcripts, per cent: 80 to 300. */
  size: 100,
  /** "normal" or "more". */
  contrast: "normal",
  /** "auto" (as the device), "light" or "dark". */
  scheme: "auto",
  /** A code of strings.js, or "auto". */
  language: "auto",
  /** Whether transcripts show the time of each paragraph. */
  times: true,
  /** The deviceId of a microphone; "": the one that the browser takes. */
  microphone: "",
};
const PREFIX = "lanscribe.";

/** Choices, the same in all tabs; for this tab only if the browser refuses to keep anything. */
export class Choices {
  #storage;
  #unkept = new Map();
  #watchers = new Map();

  /** storage: window.localStorage, or null if it is refused. target: tells of "storage" in other tabs. */
  constructor(storage, target) {
    this.#storage = storage;
    target?.addEventListener("storage", ({ key }) => {
      if (key?.startsWith(PREFIX)) this.#tell(key.slice(PREFIX.length));
    });
  }

  /** What is chosen, else what DEFAULTS has for it. */
  get(name) {
    if (this.#unkept.has(name)) return this.#unkept.get(name);
    try {
      const kept = this.#storage?.getItem(PREFIX + name);
      return kept ? JSON.parse(kept) : DEFAULTS[name];
    } catch {
      return DEFAULTS[name]; // refused, or not written by this page
    }
  }

  /** Choose. value: anything that JSON has. */
  set(name, value) {
    try {
      if (!this.#storage) throw new Error("refused");
      this.#storage.setItem(PREFIX + name, JSON.stringify(value));
    } catch {
      this.#unkept.set(name, value);
    }
    this.#tell(name);
  }

  /** callback(value) now and after each change. Returns how to end it. */
  watch(name, callback) {
    if (!this.#watchers.has(name)) this.#watchers.set(name, new Set());
    this.#watchers.get(name).add(callback);
    callback(this.get(name));
    return () => this.#watchers.get(name).delete(callback);
  }

  #tell(name) {
    for (const callback of this.#watchers.get(name) ?? []) callback(this.get(name));
  }
}
