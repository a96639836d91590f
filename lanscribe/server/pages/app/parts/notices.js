/** One line at the edge of the page that says what has happened. */

import { h } from "../dom.js";
import { t } from "../strings/strings.js";

const SHOWN_MS = 8000;

/** The line; screen readers read it when they have said what they are saying. */
export class Notices {
  #timer;

  /** root: an element with role="status", which is in the page from the start. */
  constructor(root) {
    this.root = root;
  }

  /** Say it for a while; with `stays` until it is closed or another one comes. */
  show(text, { stays = false } = {}) {
    clearTimeout(this.#timer);
    const close = h("button", { type: "button", onclick: () => this.#close() }, t("close"));
    this.root.replaceChildren(h("div", { class: "notice" }, h("p", {}, text), ...(stays ? [close] : [])));
    if (!stays) this.#timer = setTimeout(() => this.#close(), SHOWN_MS);
  }

  #close() {
    const main = document.getElementById("main");
    if (this.root.contains(document.activeElement)) main.focus({ preventScroll: true });
    this.root.replaceChildren();
  }
}
