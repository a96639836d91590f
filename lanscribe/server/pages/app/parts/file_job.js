/** A file that is sent to the box, and what becomes of it. */

import { h } from "../dom.js";
import { sizeOf } from "../strings/formats.js";
import { locale, t } from "../strings/strings.js";
import { lookAtBox } from "../talk/box.js";
import { Hearing } from "../talk/hearing.js";
import { transcribe } from "../talk/upload.js";
import { TakeAway } from "./take_away.js";
import { timeOf, TranscriptView } from "./transcript_view.js";

const WAITS = new Map([
  ["away", "away"],
  ["internal", "broke"],
  ["processing_error", "broke"],
  ["engine_unavailable", "loading"],
  ["server_stopping", "away"],
  ["server_busy", "busy"],
  ["upload_too_slow", "busy"],
  ["idle_timeout", "away"],
  ["too_many_guesses", "busy"],
]);
const MOST_BREAKS = 5; // in the middle of one file, before a person has to ask again
const LONGEST_WAIT_S = 15;
const LONGEST_TITLE = 200;

/** One file on the page: its state, its text, and the buttons for it. */
export class FileJob {
  /** "waiting", "sending", "hearing", "holding" (it is sent again soon), "done", "failed" or "cancelled". */
  state = "waiting";
  #app;
  #file;
  #onchange;
  #track = "";
  #isAsked = false; // to be heard once more
  #stop = new AbortController();

  /** onchange: called when the state has changed. onremove: when the person wants it away. */
  constructor(app, file, { onchange, onremove }) {
    this.#app = app;
    this.#file = file;
    this.#onchange = onchange;
    this.#build(onremove);
    this.#begin();
    this.#to("waiting");
  }

  /** Whether nothing more happens by itself. */
  get isOver() {
    return ["done", "failed", "cancelled"].includes(this.state);
  }

  /** Send it, again and again if need be, until it is over. */
  async run() {
    try {
      await this.#run();
    } catch (error) {
      console.error(error); // a mistake of this page; the other files go on
      this.#to("failed", "broken");
    }
  }

  async #run() {
    this.#stop = new AbortController();
    this.#isAsked = false;
    let breaks = 0;
    for (let attempt = 0; ; attempt += 1) {
      const error = await this.#attempt();
      if (!error) return this.#finish();
      if (error.code === "cancelled") return this.#stopped();
      if (this.state === "hearing") breaks += 1;
      if (!WAITS.has(error.code) || breaks === MOST_BREAKS) return this.#fail(error);
      await this.#hold(error, attempt);
      if (this.#stop.signal.aborted) return this.#stopped();
    }
  }

  #stopped() {
    this.#to(this.#isAsked ? "waiting" : "cancelled");
  }

  #build(onremove) {
    const title = h("h2", { dir: "auto" }, this.#file.name || t("files.nameless"));
    this.told = h("p", { class: "file-state", role: "status" });
    this.figures = h("span", { class: "quiet small figures" });
    this.bar = h("progress", { max: 1, "aria-label": this.#file.name });
    this.sign = h("a", { class: "button", href: "/sign-in", hidden: true }, t("files.sign_in"));
    this.tracks = h("div", { class: "tracks", hidden: true });
    this.text = new TranscriptView({ label: this.#file.name });
    this.take = new TakeAway(this.#app, () => this.transcript);
    this.cancel = this.#button("cancel", () => this.#stop.abort());
    this.again = this.#button("again", () => this.#ask());
    this.remove = this.#button("remove", onremove);
    const actions = h("div", { class: "actions" }, this.take.root, this.cancel, this.again, this.sign, this.remove);
    this.root = h("article", { class: "card file" }, title, this.told, this.bar, this.figures, this.tracks,
      this.text.root, actions);
  }

  #button(name, onclick) {
    return h("button", { type: "button", class: name, onclick }, t(`files.${name}`));
  }

  /** Nothing of the file is heard yet. */
  #begin() {
    this.transcript = {
      id: this.transcript?.id ?? this.#app.store.newId(),
      kind: "file",
      title: this.#file.name.slice(0, LONGEST_TITLE),
      startedMs: Date.now(),
      durationS: 0,
      model: "",
      language: "",
      words: [],
      gaps: [],
      isOpen: true,
    };
    this.hearing = new Hearing(this.transcript);
    this.sign.hidden = true;
    this.text.set(this.transcript);
  }

  async #attempt() {
    this.#begin();
    this.#to("sending");
    if (this.#stop.signal.aborted) return { code: "cancelled" };
    if (!(await isReadable(this.#file))) return { code: "unreadable", message: t("files.unreadable") };
    const { error } = await transcribe(this.#file, {
      track: this.#track,
      signal: this.#stop.signal,
      onsent: (share) => this.#sent(share),
      onevents: (events) => this.#heard(events),
    });
    return error;
  }

  #sent(share) {
    if (this.state !== "sending") return;
    this.bar.value = share;
    const percent = share.toLocaleString(locale(), { style: "percent" });
    this.figures.textContent = t("files.sent", { percent, size: sizeOf(this.#file.size) });
    if (share === 1) this.#to("hearing");
  }

  #heard(events) {
    this.#to("hearing");
    for (const event of events) this.hearing.take(event);
    const { heardS, ofS } = this.hearing;
    if (ofS) this.bar.value = Math.min(1, heardS / ofS);
    const [heard, of] = [heardS, ofS].map((seconds) => timeOf(this.transcript, seconds));
    this.figures.textContent = ofS ? t("files.heard_of", { heard, of }) : t("files.heard", { heard });
    this.text.update(this.transcript);
    this.#showTrack();
  }

  /** Which track is heard, and the others to choose from. */
  #showTrack() {
    const { track } = this.hearing;
    if (!track || !this.tracks.hidden) return;
    const numbers = Array.from({ length: track.count }, (_, index) => String(index + 1));
    const facts = [track.language, track.title].filter(Boolean).join(", ");
    const name = (one) => (one === String(track.number) && facts ? `${one} (${facts})` : one);
    const options = numbers.map((one) => h("option", { value: one }, t("files.track_number", { number: name(one) })));
    const chosen = h("select", { onchange: () => this.#ask(chosen.value) }, ...options,
      h("option", { value: "all" }, t("files.all_tracks")));
    chosen.value = track.number ? String(track.number) : "all";
    const count = t("files.tracks", { count: track.count });
    this.tracks.replaceChildren(h("label", {}, h("span", {}, count), chosen));
    this.tracks.hidden = false;
  }

  /** Hear it again. track: "" for the one that the box takes. */
  #ask(track = this.#track) {
    this.#track = track;
    this.#isAsked = true;
    if (this.isOver) this.#to("waiting");
    else this.#stop.abort();
  }

  async #finish() {
    const { model, languages } = await lookAtBox();
    Object.assign(this.transcript, { model, language: languages.length === 1 ? languages[0] : "" });
    this.text.set(this.transcript);
    await this.#keep();
    this.#to("done", this.transcript.words.length ? "done" : `nothing.${this.hearing.noSpeech ?? "said"}`);
  }

  /** Keep what was heard, and show the server's own sentence. */
  async #fail({ code, message }) {
    const { words, gaps } = this.transcript;
    this.sign.hidden = code !== "unauthorized";
    if (words.length) {
      gaps.push({ startS: this.hearing.heardS, endS: null, code: "lost", why: message });
      this.transcript.durationS = this.hearing.heardS;
      this.text.update(this.transcript);
      await this.#keep();
    }
    this.#to("failed", "failed");
    const other = t(code === "unreadable_answer" ? "files.broken" : "files.broke_often");
    this.told.textContent = message ? `${message[0].toLocaleUpperCase()}${message.slice(1)}.` : other;
  }

  async #keep() {
    this.transcript.isOpen = false;
    if (this.transcript.words.length) await this.#app.store.put(this.transcript).catch(() => {});
  }

  /** Wait until it is worth another attempt. */
  #hold({ code, retryAfterS }, attempt) {
    this.#to("holding", `holding.${WAITS.get(code)}`);
    const backOffS = Math.min(LONGEST_WAIT_S, 2 ** Math.min(attempt, 5)) * (0.75 + Math.random() / 2);
    const ends = new AbortController();
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, 1000 * Math.max(retryAfterS || 0, backOffS));
      for (const [one, kind] of [[window, "online"], [this.#stop.signal, "abort"]]) {
        one.addEventListener(kind, resolve, { signal: ends.signal });
      }
      ends.signal.addEventListener("abort", () => clearTimeout(timer));
    }).finally(() => ends.abort());
  }

  #to(state, said = state) {
    if (this.state === state && this.told.textContent) return;
    this.state = state;
    if (state === "waiting" || state === "sending") this.tracks.hidden = true;
    this.root.dataset.job = state;
    this.root.dataset.state = { done: "good", failed: "bad", holding: "caution" }[state] ?? "";
    this.told.textContent = t(`files.${said}`);
    this.bar.hidden = this.figures.hidden = state !== "sending" && state !== "hearing";
    if (!this.bar.hidden) this.bar.removeAttribute("value");
    this.cancel.hidden = this.isOver || state === "waiting";
    this.again.hidden = state !== "failed" && state !== "cancelled";
    this.remove.hidden = !this.isOver && state !== "waiting";
    this.take.root.hidden = !this.isOver || !this.transcript.words.length;
    this.#onchange(this);
  }
}

/** Whether the browser still can read a file: it may have been changed, or is a folder. */
function isReadable(file) {
  return file.slice(0, 1).arrayBuffer().then(() => true, () => false);
}
