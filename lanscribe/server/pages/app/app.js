/** The page: starts its views, and shows the one that the address names. */

import { h } from "./dom.js";
import { speak, t } from "./strings/strings.js";
import { FilesView } from "./views/files.js";
import { LiveView } from "./views/live.js";
import { PastView } from "./views/past.js";
import { SettingsView } from "./views/settings.js";

const VIEWS = { live: LiveView, files: FilesView, past: PastView, settings: SettingsView };

/** What the views share. */
class App {
  constructor() {
    speak(...navigator.languages);
    const head = document.getElementById("head");
    head.append(h("nav", { "aria-label": "lanscribe" }, ...Object.keys(VIEWS).map((name) => this.#link(name))));
    this.views = Object.fromEntries(
      Object.entries(VIEWS).map(([name, View]) => [name, new View(document.getElementById(name), this)]),
    );
    addEventListener("hashchange", () => this.#route());
    this.#route();
  }

  #link(name) {
    return h("a", { href: `#${name}` }, t(`nav.${name}`));
  }

  #route() {
    const [name, rest = ""] = location.hash.slice(1).split("/", 2);
    const shown = name in VIEWS ? name : "live";
    for (const [other, view] of Object.entries(this.views)) {
      const wasShown = !view.root.hidden;
      view.root.hidden = other !== shown;
      if (other !== shown && wasShown) view.hide();
    }
    this.views[shown].show(rest);
  }
}

new App();
