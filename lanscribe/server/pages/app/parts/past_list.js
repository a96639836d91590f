/** The list of kept transcripts, newest first, by day. */

import { h } from "../dom.js";
import { isBeingWritten, newestFirst } from "../keep/rows.js";
import { dayOf } from "../strings/formats.js";
import { t } from "../strings/strings.js";
import { factsOf, titleOf } from "./titles.js";

/** Rows; one that says the same as before stays, and so does the focus. */
export class PastList {
  #headers = [];
  #deleted = new Map(); // headers by id: their rows offer to undo it
  #rows = new Map(); // { said, element } by id
  #said;
  #remove;
  #undo;

  /** remove(header), undo(header): called when the reader wants that. */
  constructor(remove, undo) {
    this.#remove = remove;
    this.#undo = undo;
    this.root = h("div", { class: "past-list" });
  }

  /** Show these headers (Store.list, Store.find). */
  show(headers) {
    this.#headers = headers;
    for (const { id } of headers) this.#deleted.delete(id);
    this.#place([...headers, ...this.#deleted.values()].sort(newestFirst), Date.now());
  }

  /** Offer to undo, in its place, that this one is deleted. */
  markDeleted(header) {
    this.#deleted.set(header.id, header);
    this.show(this.#headers.filter((one) => one.id !== header.id));
  }

  /** What is deleted cannot be undone any more. */
  forgetDeleted() {
    this.#deleted.clear();
  }

  /** What may be pressed first of a transcript; undefined if it is not in the list. */
  at(id) {
    return this.#rows.get(id)?.element.querySelector("a, button");
  }

  #place(headers, nowMs) {
    const rows = headers.map((header) => this.#row(header, nowMs));
    const said = rows.map((row) => row.said).join("\n");
    if (said === this.#said) return;
    this.#said = said;
    const active = document.activeElement;
    const focused = [...this.#rows].find(([, row]) => row.element.contains(active))?.[0];
    this.#rows = new Map(headers.map((header, index) => [header.id, rows[index]]));
    this.root.replaceChildren(...byDay(rows));
    if (focused) (active.isConnected ? active : this.at(focused))?.focus({ preventScroll: true });
  }

  /** A row as it is, or anew if it says something else now. */
  #row(header, nowMs) {
    const isDeleted = this.#deleted.has(header.id);
    const day = dayOf(header.startedMs, nowMs);
    const isOpen = isBeingWritten(header, nowMs);
    const words = [titleOf(header), factsOf(header), header.start, ...Object.values(header.excerpt ?? {})];
    const said = JSON.stringify([header.id, day, isDeleted, isOpen, ...words]);
    const before = this.#rows.get(header.id);
    if (before?.said === said) return before;
    return { said, day, element: isDeleted ? this.#undoRow(header) : this.#keptRow(header, isOpen) };
  }

  #keptRow(header, isOpen) {
    const title = titleOf(header);
    const link = h("a", { href: `#past/${header.id}` },
      h("strong", { dir: "auto" }, title),
      ...wordsOf(header),
      h("span", { class: "quiet small" }, factsOf(header), ...(isOpen ? [" · ", t("past.open")] : [])));
    const button = h("button", {
      type: "button", class: "plain", "data-icon": "delete", "aria-label": t("past.delete_one", { title }),
      title: t("past.delete"), onclick: () => this.#remove(header),
    });
    return h("li", {}, link, ...(isOpen ? [] : [button]));
  }

  #undoRow(header) {
    const text = t("past.deleted", { title: titleOf(header) });
    const onclick = () => this.#undo(header);
    const undo = h("button", { type: "button", "data-icon": "undo", onclick }, t("undo"));
    return h("li", { class: "deleted" }, h("span", {}, text), undo);
  }
}

/** What was found, or how it begins if its title does not tell. */
function wordsOf({ excerpt, title, start }) {
  if (excerpt?.found) {
    const mark = h("mark", {}, excerpt.found);
    return [h("span", { dir: "auto" }, excerpt.before, mark, excerpt.after)];
  }
  return title && start ? [h("span", { class: "start", dir: "auto" }, start)] : [];
}

function byDay(rows) {
  const days = new Map();
  for (const { day, element } of rows) days.set(day, [...(days.get(day) ?? []), element]);
  return [...days].map(([day, some]) => h("section", {}, h("h2", {}, day), h("ul", {}, ...some)));
}
