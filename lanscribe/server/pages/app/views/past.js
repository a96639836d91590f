/** The view "past": the transcripts that this browser keeps. */

import { h } from "../dom.js";
import { Kept } from "../parts/kept.js";
import { PastList } from "../parts/past_list.js";
import { absent, PastOne } from "../parts/past_one.js";
import { counted, t } from "../strings/strings.js";

const TYPING_MS = 200; // so long nothing was typed: then it is searched

export class PastView {
  #app;
  #list;
  #kept;
  #one = null; // the transcript that is open
  #opened = ""; // its id; of the last one while the list is shown
  #gone = new Map(); // deleted transcripts by id, to undo that
  #asked = 0;
  #typing;
  #search = h("input", { type: "search", id: "past-search", autocomplete: "off", enterKeyHint: "search" });
  #found = h("p", { class: "quiet", role: "status" });
  #isShown = false;

  /** root: the section of the page that it fills. app: what the views share. */
  constructor(root, app) {
    this.root = root;
    this.#app = app;
    this.#list = new PastList((header) => this.#remove(header), (header) => this.#undo(header));
    this.#kept = new Kept(app);
    this.#search.addEventListener("input", () => this.#typed());
    const form = h("form", { role: "search", onsubmit: (event) => this.#submitted(event) },
      h("label", { for: "past-search", htmlFor: "past-search" }, t("past.search")), this.#search);
    const title = h("h1", { id: "past-title", tabIndex: -1 }, t("nav.past"));
    this.page = h("div", {}, title, form, this.#found, this.#list.root, this.#kept.root);
    root.append(this.page);
    app.store.watch((id) => this.#isShown && this.#changed(id));
  }

  /** Show the list, or the transcript with this id. Returns what gets the focus. */
  async show(id) {
    this.#isShown = true;
    if (id) return this.#open(id);
    const before = this.#opened;
    this.#close();
    await this.#refresh();
    return this.#list.at(before);
  }

  /** Another view comes into sight. */
  hide() {
    this.#isShown = false;
    this.#close();
    this.#opened = "";
    this.#gone.clear();
    this.#list.forgetDeleted();
  }

  async #open(id) {
    this.#close();
    this.#opened = id;
    const transcript = await this.#app.store.get(id);
    if (this.#opened !== id || !this.#isShown) return;
    this.#one = transcript && new PastOne(this.#app, transcript, (one) => this.#remove(one));
    this.root.replaceChildren(this.#one?.root ?? absent());
  }

  #close() {
    this.#one?.unwatch();
    this.#one = null;
    this.root.replaceChildren(this.page);
  }

  /** Something else has changed what is kept: another tab, or another view. */
  async #changed(id) {
    if (!this.#one) return this.#refresh();
    if (id && id !== this.#opened) return;
    const transcript = await this.#app.store.get(this.#opened);
    if (!this.#one) return;
    if (transcript) this.#one.update(transcript);
    else this.root.replaceChildren(absent());
  }

  async #refresh() {
    const asked = (this.#asked += 1);
    const wanted = this.#search.value.trim();
    const all = await this.#app.store.list();
    const headers = wanted ? await this.#app.store.find(wanted) : all;
    if (asked !== this.#asked) return; // something newer is wanted
    this.#list.show(headers);
    this.#say(wanted ? counted("past.found", headers.length) : all.length === 0 ? t("past.none") : "");
    this.page.classList.toggle("empty", all.length === 0);
    await this.#kept.show(all.length);
  }

  #say(text) {
    if (this.#found.textContent !== text) this.#found.textContent = text;
  }

  #typed() {
    clearTimeout(this.#typing);
    this.#typing = setTimeout(() => this.#refresh(), TYPING_MS);
  }

  #submitted(event) {
    event.preventDefault();
    clearTimeout(this.#typing);
    this.#refresh();
  }

  async #remove({ id }) {
    const transcript = await this.#app.store.get(id);
    if (!transcript) return;
    const header = (await this.#app.store.list()).find((one) => one.id === id);
    this.#gone.set(id, transcript);
    if (this.#one) this.#app.go("past");
    this.#list.markDeleted(header);
    await this.#app.store.remove(id);
    this.#list.at(id)?.focus();
  }

  async #undo({ id }) {
    await this.#app.store.put(this.#gone.get(id));
    this.#gone.delete(id);
    await this.#refresh();
    this.#list.at(id)?.focus();
  }
}
