/** How much this browser keeps, for how long, and all of it to take away or to delete. */

import { h } from "../dom.js";
import { Zip } from "../keep/zip.js";
import { sizeOf } from "../strings/formats.js";
import { counted, t } from "../strings/strings.js";
import { confirmed } from "./confirm.js";
import { apart, dayStamp, fileName } from "./names.js";
import { save, written } from "./take_away.js";
import { titleOf } from "./titles.js";

const KINDS = ["txt", "json"];

/** A card below the list. */
export class Kept {
  #app;
  #amount = h("p", {});
  #lasting = h("p", { class: "quiet" });
  #persist = h("button", { type: "button" }, t("past.persist"));
  #all = h("button", { type: "button", "data-icon": "download" }, t("past.download_all"));
  #clear = h("button", { type: "button", "data-icon": "delete" }, t("past.delete_all"));
  #progress = h("p", { role: "status" });

  constructor(app) {
    this.#app = app;
    this.#persist.addEventListener("click", () => this.#askToPersist());
    this.#all.addEventListener("click", () => this.#download());
    this.#clear.addEventListener("click", () => this.#deleteAll());
    const actions = h("div", { class: "actions" }, this.#all, this.#persist, this.#clear);
    const title = h("h2", { id: "kept-title" }, t("past.kept"));
    this.root = h("section", { class: "card", "aria-labelledby": "kept-title" },
      title, this.#amount, this.#lasting, actions, this.#progress);
  }

  /** count: how many transcripts are kept. */
  async show(count) {
    this.count = count;
    const { usage } = (await navigator.storage?.estimate?.()) ?? {};
    const isPersistent = (await navigator.storage?.persisted?.()) ?? false;
    const amount = counted("past.count", count);
    this.#amount.textContent = usage ? t("past.amount", { amount, size: sizeOf(usage) }) : `${amount}.`;
    this.#lasting.textContent = this.#lasts(isPersistent);
    this.#persist.hidden = isPersistent || this.#app.store.isInMemory || !navigator.storage?.persist;
    this.#all.hidden = this.#clear.hidden = count === 0;
  }

  #lasts(isPersistent) {
    if (this.#app.store.isInMemory) return t("kept.refused");
    if (erasesAfterDays()) return `${t("past.only_here")} ${t("past.safari")}`;
    return `${t("past.only_here")} ${t(isPersistent ? "past.persistent" : "past.not_persistent")}`;
  }

  async #askToPersist() {
    const isPersistent = await navigator.storage.persist();
    this.#app.notice(t(isPersistent ? "past.persistent" : "past.persist_refused"));
    await this.show(this.count);
    if (isPersistent) this.#all.focus();
  }

  /** All as one .zip: each as text to read, and as JSON for programs. */
  async #download() {
    if (this.#all.getAttribute("aria-disabled")) return;
    this.#all.setAttribute("aria-disabled", "true");
    try {
      save(await this.#packed(), t("past.archive", { day: dayStamp(new Date()) }));
      this.#say("");
    } catch (error) {
      if (!(error instanceof RangeError)) throw error;
      this.#say(t("past.too_large"));
    } finally {
      this.#all.removeAttribute("aria-disabled");
    }
  }

  async #packed() {
    const zip = new Zip();
    const headers = (await this.#app.store.list()).map((one) => ({ ...one, title: titleOf(one) }));
    const names = KINDS.map((kind) => apart(headers.map((one) => fileName(one, kind))));
    for (const [index, { id, title, startedMs }] of headers.entries()) {
      if (index % 20 === 0) this.#say(t("past.packing", { done: index, all: headers.length }));
      const transcript = await this.#app.store.get(id);
      if (!transcript) continue; // deleted meanwhile
      KINDS.forEach((kind, of) => {
        zip.add(names[of][index], written({ ...transcript, title }, kind), new Date(startedMs));
      });
    }
    return zip.blob();
  }

  #say(text) {
    this.#progress.textContent = text;
  }

  async #deleteAll() {
    const amount = counted("past.count", this.count);
    const text = t("past.delete_all_text", { amount });
    if (await confirmed({ title: t("past.delete_all_title"), text, yes: t("past.delete_all") })) {
      await this.#app.store.clear();
      document.getElementById("past-title").focus();
    }
  }
}

/** Safari, and every browser on an iPhone or iPad, unless it runs from the home screen. */
function erasesAfterDays() {
  const isSafari = /^((?!Chrome|Chromium|Android|Firefox).)*Safari/.test(navigator.userAgent);
  return isSafari && !matchMedia("(display-mode: standalone)").matches;
}
