/** Which microphone records, and which others there are. */

import { microphones } from "../audio/microphone.js";
import { h } from "../dom.js";
import { t } from "../strings/strings.js";

/** A list of the microphones; the choice is kept. */
export class MicrophoneChooser {
  #choices;
  #select;
  #hint = h("p", { class: "quiet small", hidden: true });
  #shown = "";
  #isNeeded = true;
  #count = 0;

  /** onchoose(): another one was chosen. */
  constructor(choices, onchoose) {
    this.#choices = choices;
    this.#select = h("select", { id: "microphone", onchange: () => {
      choices.set("microphone", this.#select.value);
      onchoose();
    } });
    this.root = h("div", { class: "chooser", hidden: true },
      h("label", { htmlFor: "microphone", class: "small" }, t("live.microphone")), this.#select, this.#hint);
    this.#list();
    navigator.mediaDevices.addEventListener?.("devicechange", () => this.#list());
  }

  /** Bring it up to date after a change of the microphone. isNeeded: whether to show it. */
  show(microphone, { isNeeded }) {
    this.#isNeeded = isNeeded;
    this.#reveal();
    const now = `${microphone.state} ${microphone.label} ${microphone.isOther}`;
    if (now === this.#shown) return;
    this.#shown = now;
    if (microphone.state === "on") this.#list();
    this.#hint.hidden = !microphone.isOther;
    this.#hint.textContent = microphone.isOther ? t("live.other", { name: microphone.label }) : "";
  }

  async #list() {
    const found = (await microphones()).filter(({ id, label }) => id && label);
    const wanted = this.#choices.get("microphone");
    const options = [{ id: "", label: t("live.default") }, ...found];
    if (wanted && !found.some(({ id }) => id === wanted)) options.push({ id: wanted, label: t("live.absent") });
    this.#select.replaceChildren(...options.map(({ id, label }) => h("option", { value: id }, label)));
    this.#select.value = wanted;
    this.#count = found.length;
    this.#reveal();
  }

  #reveal() {
    this.root.hidden = !this.#isNeeded || this.#count === 0;
  }
}
