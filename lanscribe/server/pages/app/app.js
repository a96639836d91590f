/** The page: starts its views, and shows the one that the address names. */

import { h } from "./dom.js";
import { Choices } from "./keep/choices.js";
import { Store } from "./keep/store.js";
import { Notices, Troubles } from "./parts/notices.js";
import { speak, t } from "./strings/strings.js";
import { FilesView } from "./views/files.js";
import { LiveView } from "./views/live.js";
import { PastView } from "./views/past.js";
import { SettingsView } from "./views/settings.js";

const VIEWS = { live: LiveView, files: FilesView, past: PastView, settings: SettingsView };
const WORKER = "/pages/app/worker.js";

/** What the views share. */
class App {
  #shown;
  #scrolled = new Map(); // how far, by place

  constructor() {
    this.choices = new Choices(refusable(() => localStorage), window);
    const language = this.choices.get("language");
    speak(...(language === "auto" ? navigator.languages : [language]));
    this.#look();
    this.#frame();
    const warn = (reason, isSo) => this.troubles.set(reason, isSo, t(`kept.${reason}`));
    this.store = new Store(refusable(() => indexedDB), warn);
    this.views = Object.fromEntries(
      Object.entries(VIEWS).map(([name, View]) => [name, new View(document.getElementById(name), this)]),
    );
    history.scrollRestoration = "manual";
    addEventListener("hashchange", () => this.#route(true));
    this.#route(false);
  }

  /** Say something in one line, for a while. */
  notice(text) {
    this.notices.show(text);
  }

  /** Show a place: a view and what is in it, as "past/ID". */
  go(place) {
    location.hash = place;
  }

  /** What the style sheet asks for. */
  #look() {
    const { dataset, style } = document.documentElement;
    this.choices.watch("scheme", (scheme) => (dataset.scheme = scheme));
    this.choices.watch("contrast", (contrast) => (dataset.contrast = contrast));
    this.choices.watch("size", (size) => style.setProperty("--size", size / 100));
  }

  #frame() {
    const skip = document.querySelector(".skip");
    skip.textContent = t("skip");
    skip.addEventListener("click", (event) => {
      event.preventDefault(); // the address names the view
      document.getElementById("main").focus();
    });
    this.notices = new Notices(document.getElementById("notices"));
    this.troubles = new Troubles(document.getElementById("troubles"));
    this.links = Object.keys(VIEWS).map((name) =>
      h("a", { href: `#${name}`, "data-view": name }, h("span", {}, t(`nav.${name}`))),
    );
    document.getElementById("head").append(
      h("p", { class: "brand", "aria-hidden": "true" }, t("title")),
      h("nav", { "aria-label": t("nav") }, ...this.links),
    );
  }

  #route(isAsked) {
    const place = location.hash.slice(1);
    const [name, ...rest] = place.split("/");
    const shown = Object.hasOwn(this.views, name) ? name : "live";
    if (this.#shown) this.#scrolled.set(this.#shown.place, scrollY);
    this.#show(shown);
    const showing = this.views[shown].show(rest.join("/"));
    this.#shown = { name: shown, place };
    if (isAsked) Promise.resolve(showing).then((focus) => this.#lead(focus, place));
  }

  #show(shown) {
    for (const [name, view] of Object.entries(this.views)) view.root.hidden = name !== shown;
    if (this.#shown && this.#shown.name !== shown) this.views[this.#shown.name].hide();
    for (const link of this.links) {
      if (link.dataset.view === shown) link.setAttribute("aria-current", "page");
      else link.removeAttribute("aria-current");
    }
    document.title = `${t(`nav.${shown}`)} · ${t("title")}`;
  }

  /** To where the reader was at this place; the focus goes to what the view wants, or to its title. */
  #lead(wanted, place) {
    if (this.#shown.place !== place) return;
    const focus = wanted ?? document.getElementById(`${this.#shown.name}-title`);
    if (!focus.matches("a, button, input")) focus.tabIndex = -1;
    scrollTo(0, this.#scrolled.get(place) ?? 0);
    focus.focus({ preventScroll: true });
  }
}

/** What `get` returns, null if the browser refuses it. */
function refusable(get) {
  try {
    return get();
  } catch {
    return null;
  }
}

/** So that the page opens when the box is away. Browsers refuse it without a trusted certificate. */
function keepPage() {
  if (location.protocol !== "https:") return; // on the box itself, http would be allowed too
  navigator.serviceWorker?.register(WORKER, { scope: "/" }).catch(() => {});
}

new App();
keepPage();
