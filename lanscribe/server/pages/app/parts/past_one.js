/** One kept transcript: read it, name it, take it away, delete it. */

import { h } from "../dom.js";
import { isBeingWritten } from "../keep/rows.js";
import { dayOf } from "../strings/formats.js";
import { t } from "../strings/strings.js";
import { TakeAway } from "./take_away.js";
import { factsOf, titleOf } from "./titles.js";
import { TranscriptView } from "./transcript_view.js";

/** A transcript that is in the store. */
export class PastOne {
  #app;
  #transcript;
  #title = h("h1", { id: "past-title", dir: "auto" });
  #facts = h("p", { class: "quiet" });
  #rename = h("button", { type: "button", "data-icon": "rename" }, t("past.rename"));
  #delete = h("button", { type: "button", "data-icon": "delete" }, t("past.delete"));
  #view;

  /** transcript: as the store has it. remove(transcript): called when the reader wants that. */
  constructor(app, transcript, remove) {
    this.#app = app;
    this.#view = new TranscriptView({ label: t("past.text") });
    const take = new TakeAway(app, () => ({ ...this.#transcript, title: titleOf(this.#transcript) }));
    this.#rename.addEventListener("click", () => this.#ask());
    this.#delete.addEventListener("click", () => remove(this.#transcript));
    take.root.append(this.#rename, this.#delete);
    this.root = h("div", {}, backLink(), this.#title, this.#facts, take.root, this.#view.root);
    this.unwatch = app.choices.watch("times", (isShown) => this.#view.showTimes(isShown));
    this.#tell(transcript);
    this.#view.set(transcript);
  }

  /** It has become longer, or has another name. */
  update(transcript) {
    this.#tell(transcript);
    this.#view.update(transcript);
  }

  #tell(transcript) {
    this.#transcript = transcript;
    const nowMs = Date.now();
    const isOpen = isBeingWritten(transcript, nowMs);
    this.#title.textContent = titleOf(transcript);
    const facts = [dayOf(transcript.startedMs, nowMs), factsOf(transcript), transcript.model];
    this.#facts.textContent = [...facts, isOpen && t("past.open")].filter(Boolean).join(" · ");
    this.#delete.hidden = isOpen;
  }

  /** Put a form in the place of the title. */
  #ask() {
    const value = titleOf(this.#transcript);
    const input = h("input", { value, maxLength: 200, "aria-label": t("past.name") });
    const end = () => {
      form.replaceWith(this.#title);
      this.#rename.hidden = false;
      this.#rename.focus();
    };
    const form = h("form", { class: "rename" }, input,
      h("button", { class: "first" }, t("past.save")),
      h("button", { type: "button", onclick: end }, t("cancel")));
    form.addEventListener("keydown", ({ key }) => key === "Escape" && end());
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#name(input.value.trim());
      end();
    });
    this.#title.replaceWith(form);
    this.#rename.hidden = true;
    input.select();
  }

  async #name(title) {
    await this.#app.store.rename(this.#transcript.id, title);
    this.#tell({ ...this.#transcript, title });
  }
}

/** What is shown in its place if there is none. */
export function absent() {
  const title = h("h1", { id: "past-title" }, t("past.absent"));
  return h("div", {}, backLink(), title, h("p", {}, t("past.absent_why")));
}

function backLink() {
  return h("p", {}, h("a", { href: "#past", "data-icon": "back" }, t("past.back")));
}
