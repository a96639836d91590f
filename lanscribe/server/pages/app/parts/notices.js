/** What the page tells on its own: what has happened, and what troubles it. Neither moves the focus. */

import { h } from "../dom.js";
import { t } from "../strings/strings.js";

const SHOWN_MS = 8000;

/** One line that passes; screen readers read it when they have said what they are saying. */
export class Notices {
  #timer;

  /** root: an element with role="status", which is in the page from the start. */
  constructor(root) {
    this.root = root;
  }

  /** Say it for a while, or until another one comes. */
  show(text) {
    clearTimeout(this.#timer);
    this.root.replaceChildren(h("p", { class: "notice" }, text));
    this.#timer = setTimeout(() => this.root.replaceChildren(), SHOWN_MS);
  }
}

/** Troubles that last: each is told once, until the reader closes it or it is over. */
export class Troubles {
  #told = new Map(); // elements, which may be closed, by cause

  /** root: as of Notices; it has room of its own in the page. */
  constructor(root) {
    this.root = root;
  }

  /** Whether there is this trouble now. text: what a reader is told of it. */
  set(cause, isSo, text) {
    if (isSo === this.#told.has(cause)) return;
    if (isSo) this.#tell(cause, text);
    else this.#end(cause);
  }

  #tell(cause, text) {
    const close = h("button", { type: "button", onclick: () => this.#close(told) }, t("close"));
    const told = h("div", { class: "card trouble", "data-state": "caution" }, h("p", {}, text), close);
    this.#told.set(cause, told);
    this.root.append(told);
  }

  #end(cause) {
    this.#close(this.#told.get(cause));
    this.#told.delete(cause);
  }

  #close(told) {
    const hadFocus = told.contains(document.activeElement);
    told.remove();
    if (hadFocus) document.getElementById("main").focus({ preventScroll: true }); // its button is gone
  }
}
