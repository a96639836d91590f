/** The view "settings": how the page looks, and which language it speaks. */

import { h } from "../dom.js";
import { CODES, languageName, t } from "../strings/strings.js";

const SIZES = { min: 80, max: 300, step: 10 };
const LINKS = ["trust", "docs", "sign-in"];

export class SettingsView {
  #app;
  #offer = null; // of the browser to install the page

  /** root: the section of the page that it fills. app: what the views share. */
  constructor(root, app) {
    this.root = root;
    this.#app = app;
    root.append(
      h("h1", { id: "settings-title" }, t("nav.settings")),
      h("h2", {}, t("settings.look")),
      this.#radios("scheme", ["auto", "light", "dark"]),
      this.#radios("contrast", ["normal", "more"]),
      h("h2", {}, t("settings.transcripts")),
      ...this.#size(),
      this.#times(),
      h("h2", {}, t("settings.language")),
      ...this.#language(),
      this.#install(),
      h("h2", {}, t("settings.box")),
      h("ul", {}, ...LINKS.map((place) => h("li", {}, link(place)))),
    );
  }

  /** The view comes into sight. */
  show() {}

  /** Another view comes into sight. */
  hide() {}

  #radios(name, values) {
    const inputs = values.map((value) => h("input", { type: "radio", name, value }));
    const fieldset = h("fieldset", { onchange: ({ target }) => this.#app.choices.set(name, target.value) });
    this.#app.choices.watch(name, (chosen) => {
      for (const input of inputs) input.checked = input.value === chosen;
    });
    const labels = inputs.map((input, index) =>
      h("label", { class: "choice" }, input, t(`settings.${name}.${values[index]}`)),
    );
    fieldset.append(h("legend", {}, t(`settings.${name}`)), h("div", { class: "choices" }, ...labels));
    return fieldset;
  }

  #size() {
    const shown = h("output", { htmlFor: "size" });
    const input = h("input", { type: "range", id: "size", ...SIZES });
    input.addEventListener("input", () => this.#app.choices.set("size", Number(input.value)));
    this.#app.choices.watch("size", (size) => {
      input.value = size;
      shown.textContent = t("settings.percent", { size });
      input.setAttribute("aria-valuetext", shown.textContent);
    });
    const label = h("label", { htmlFor: "size" }, t("settings.size"), " ", shown);
    return [label, input, h("p", { class: "transcript card" }, t("settings.sample"))];
  }

  #times() {
    const input = h("input", { type: "checkbox", id: "times" });
    input.addEventListener("change", () => this.#app.choices.set("times", input.checked));
    this.#app.choices.watch("times", (isShown) => (input.checked = isShown));
    return h("p", {}, h("label", { class: "choice" }, input, t("settings.times")));
  }

  /** A text that is there already stays as it is: what is being said must not be lost for it. */
  #language() {
    const options = ["auto", ...CODES].map((code) =>
      h("option", { value: code }, code === "auto" ? t("settings.language.auto") : languageName(code)),
    );
    const select = h("select", { id: "language" }, ...options);
    const hint = h("p", { role: "status" });
    select.addEventListener("change", () => {
      this.#app.choices.set("language", select.value);
      const again = h("button", { type: "button", onclick: () => location.reload() }, t("settings.reload"));
      hint.replaceChildren(t("settings.later"), " ", again);
    });
    this.#app.choices.watch("language", (code) => (select.value = code));
    return [h("label", { htmlFor: "language" }, t("settings.language.label")), select, hint];
  }

  #install() {
    const button = h("button", { type: "button", hidden: true }, t("settings.install.now"));
    addEventListener("beforeinstallprompt", (event) => {
      event.preventDefault(); // the browser's own bar would cover the words
      this.#offer = event;
      button.hidden = false;
    });
    button.addEventListener("click", async () => {
      await this.#offer.prompt();
      button.hidden = true;
    });
    const text = h("p", {}, t(isSecureContext ? "settings.install.text" : "settings.install.https"));
    return h("section", { "aria-labelledby": "install-title" },
      h("h2", { id: "install-title" }, t("settings.install")), text, button);
  }
}

function link(place) {
  return h("a", { href: `/${place}` }, t(`settings.to.${place}`));
}
