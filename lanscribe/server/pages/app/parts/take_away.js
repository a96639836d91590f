/** Buttons that take a transcript out of the page: copy, share, download. */

import { h } from "../dom.js";
import { t } from "../strings/strings.js";
import { documentOf } from "../text/document.js";
import { fileName } from "./names.js";
import { gapText } from "./transcript_view.js";

const TYPES = { txt: "text/plain", srt: "application/x-subrip", vtt: "text/vtt", json: "application/json" };

/** A row of buttons. */
export class TakeAway {
  #app;
  #transcript;

  /** transcript: returns the transcript as it is now. */
  constructor(app, transcript) {
    this.#app = app;
    this.#transcript = transcript;
    this.root = h("div", { class: "actions take-away" }, this.#button("copy", () => this.#copy()));
    if (navigator.share) this.root.append(this.#button("share", () => this.#share()));
    this.root.append(this.#downloads());
  }

  #button(name, onclick) {
    return h("button", { type: "button", "data-icon": name, onclick }, t(`take.${name}`));
  }

  /** A list of formats, which opens below its button. */
  #downloads() {
    const menu = h("details", { class: "menu" });
    const formats = Object.keys(TYPES).map((kind) =>
      h("button", { type: "button", class: "plain", onclick: () => this.#download(kind, menu) },
        h("strong", {}, `.${kind}`), " ", t(`take.${kind}`)),
    );
    menu.append(h("summary", { class: "button", "data-icon": "download" }, t("take.download")),
      h("div", {}, ...formats));
    menu.addEventListener("keydown", ({ key }) => key === "Escape" && shut(menu));
    menu.addEventListener("focusout", ({ relatedTarget }) => {
      if (relatedTarget && !menu.contains(relatedTarget)) menu.open = false;
    });
    return menu;
  }

  async #copy() {
    const isCopied = await copied(written(this.#transcript(), "txt"));
    this.#app.notice(t(isCopied ? "take.copied" : "take.not_copied"));
  }

  async #share() {
    const transcript = this.#transcript();
    const text = written(transcript, "txt");
    const file = new File([text], fileName(transcript, "txt"), { type: TYPES.txt });
    const canBeFile = navigator.canShare?.({ files: [file] });
    try {
      await navigator.share({ title: transcript.title, ...(canBeFile ? { files: [file] } : { text }) });
    } catch (error) {
      if (error.name !== "AbortError") this.#app.notice(t("take.not_shared"));
    }
  }

  #download(kind, menu) {
    const transcript = this.#transcript();
    save(new Blob([written(transcript, kind)], { type: TYPES[kind] }), fileName(transcript, kind));
    shut(menu);
  }
}

/** What is in a file of this kind (document.js). */
export function written(transcript, kind) {
  return documentOf(transcript, kind, (gap) => `[${gapText(transcript, gap)}]`);
}

/** Download what is in a Blob. */
export function save(blob, name) {
  const link = h("a", { href: URL.createObjectURL(blob), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000); // Safari reads it after the click
}

function shut(menu) {
  menu.open = false;
  menu.querySelector("summary").focus();
}

/** Whether `text` is in the clipboard now. The new way exists over https only. */
async function copied(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return copiedTheOldWay(text);
  }
}

function copiedTheOldWay(text) {
  const before = document.activeElement;
  const area = h("textarea", { value: text, class: "unseen", "aria-hidden": "true" });
  document.body.append(area);
  area.select();
  const isCopied = document.execCommand("copy");
  area.remove();
  before?.focus({ preventScroll: true });
  return isCopied;
}
