/** The view "live": speak, and read while you speak. */

import { hasMicrophone, Microphone } from "../audio/microphone.js";
import { h } from "../dom.js";
import { Saver } from "../keep/saver.js";
import { Announcer } from "../parts/announcer.js";
import { confirmed } from "../parts/confirm.js";
import { Follower } from "../parts/follower.js";
import { LevelMeter } from "../parts/level_meter.js";
import { MicrophoneChooser } from "../parts/microphone_chooser.js";
import { TakeAway } from "../parts/take_away.js";
import { TranscriptView } from "../parts/transcript_view.js";
import { WakeLock } from "../parts/wake_lock.js";
import { lengthOf, timeOfDay } from "../strings/formats.js";
import { locale, t } from "../strings/strings.js";
import { lookAtBox } from "../talk/box.js";
import { Finishing } from "../talk/finishing.js";
import { Listening } from "../talk/listening.js";
import { leadScanned } from "../talk/scanned.js";
import { STUCK, stateOf, Telling } from "./live_state.js";

const SAVE_MS = 2000;
const LOOK_MS = 500;
const MUTED_SAMPLES = 5 * 16_000;
const APART_S = 2.6; // words that come so long after the last ones begin a paragraph
const KEPT_S = 3; // with so much sound that is not text, leaving the page is asked about
const INTERRUPTED_MS = 3000; // then the last words are asked for

/** The view; it goes on listening while another one is in sight. */
export class LiveView {
  #app;
  #microphone;
  #listening = null; // the transcript that is recorded
  #isListening = false; // whether the person wants to be heard
  #silentSamples = 0;
  #interruptedAtMs = null;
  #lagS = 0;
  #saver = null;
  #finishing = new Finishing();
  #isDrawing = false;
  #shown = "";
  #telling = new Telling();

  /** root: the section of the page that it fills. app: what the views share. */
  constructor(root, app) {
    this.root = root;
    this.#app = app;
    this.#build();
    leadScanned(app);
    if (!hasMicrophone()) {
      this.#explain();
      return;
    }
    this.#microphone = new Microphone({
      onblock: (samples) => this.#record(samples),
      onchange: () => this.#changed(),
    });
    this.chooser = new MicrophoneChooser(app.choices, () => this.#isListening && this.#listen());
    this.tools.append(this.chooser.root);
    app.choices.watch("times", (isShown) => this.text.showTimes(isShown));
    this.#watch();
    this.#lookAtBox();
    this.#draw();
  }

  /** The view comes into sight; rest: what follows #live/ in the address. */
  show(_rest) {
    this.follower.reset();
  }

  /** Another view comes into sight; listening goes on. */
  hide() {}

  #build() {
    this.text = new TranscriptView({ label: t("live.text"), isLive: true });
    this.announcer = new Announcer();
    this.wakeLock = new WakeLock();
    this.meter = new LevelMeter();
    this.hint = h("p", { class: "hint" }, t("live.hint"));
    this.engine = h("span", {});
    this.lag = h("span", { class: "lag" });
    this.box = h("p", { class: "quiet small box" }, this.engine, this.lag);
    this.record = h("button", { type: "button", class: "first record", onclick: () => this.#press() });
    this.word = h("p", { class: "word" });
    this.advice = h("p", { class: "advice small" });
    this.state = h("div", { class: "live-state" }, this.word, this.advice);
    this.unkept = h("p", { class: "unkept quiet small" });
    this.told = h("div", { class: "unseen", role: "status" }); // not the seconds that run
    this.newest = h("button", { type: "button", class: "newest", hidden: true }, t("live.newest"));
    this.again = h("button", { type: "button", hidden: true, onclick: () => this.#begin() }, t("live.new"));
    this.take = new TakeAway(this.#app, () => this.#listening.transcript);
    this.take.root.hidden = true;
    this.tools = h("div", { class: "tools" }, this.again, this.take.root);
    this.bar = h("div", { class: "live-bar" },
      this.newest, this.record, this.state, this.meter.root, this.unkept, this.told);
    this.follower = new Follower(this.newest, { text: this.text.root, bar: this.bar });
    const title = h("h1", { id: "live-title", class: "unseen" }, t("nav.live"));
    this.root.append(title, this.hint, this.text.root, this.announcer.root, this.tools, this.box, this.bar);
  }

  /** No microphone here: say why, and where to get one. */
  #explain() {
    const trust = h("p", {}, h("a", { class: "button first", href: "/trust" }, t("live.trust")));
    const link = isSecureContext ? [] : [trust];
    const text = t(isSecureContext ? "live.no_microphone" : "live.insecure");
    this.hint.replaceWith(h("div", { class: "card", "data-state": "caution" }, h("p", {}, text), ...link));
    this.bar.hidden = this.tools.hidden = true;
  }

  #watch() {
    setInterval(() => this.#look(), LOOK_MS);
    setInterval(() => this.#save(), SAVE_MS);
    this.#app.store.watch((id, isGone) => isGone && this.#erased(id));
    addEventListener("online", () => this.#wake());
    addEventListener("pagehide", () => this.#save());
    document.addEventListener("visibilitychange", () => {
      this.#wake();
      this.#changed();
    });
    addEventListener("beforeunload", (event) => {
      const lagS = Math.max(this.#listening?.talk.lagS ?? 0, this.#finishing.lagS);
      if (lagS > KEPT_S) event.preventDefault();
    });
  }

  #wake() {
    this.#listening?.talk.wake();
    this.#finishing.wake();
  }

  async #lookAtBox() {
    const { engine, model, languages } = await lookAtBox();
    if (!model) return;
    const names = new Intl.DisplayNames(locale(), { type: "language", fallback: "code" });
    const few = languages.map((one) => names.of(one)).join(", ");
    const spoken = languages.length > 3 ? t("live.languages", { count: languages.length }) : few;
    this.model = { model, language: languages.length === 1 ? languages[0] : "" };
    if (this.#listening) Object.assign(this.#listening.transcript, this.model);
    this.engine.textContent = [model, spoken].filter(Boolean).join(" · ");
    this.engine.title = engine;
  }

  /** The one button: listen, pause, go on. */
  #press() {
    if (this.#isListening) this.#pause();
    else this.#listen();
  }

  #listen() {
    this.#listening ??= this.#newTranscript();
    this.#isListening = true;
    this.#listening.transcript.isOpen = true;
    this.#silentSamples = 0;
    this.#microphone.start(this.#app.choices.get("microphone"));
    this.follower.reset();
  }

  #pause() {
    this.#isListening = false;
    this.#microphone.stop();
    this.meter.rest();
    this.#listening.pause(Date.now());
    this.#changed();
  }

  #newTranscript() {
    const transcript = {
      id: this.#app.store.newId(),
      kind: "live",
      title: "",
      startedMs: Date.now(),
      durationS: 0,
      model: "",
      language: "",
      words: [],
      gaps: [],
      isOpen: true,
      ...this.model,
    };
    this.text.set(transcript);
    const url = new URL("/v1/realtime", location.href.replace(/^http/, "ws")).href;
    const listening = new Listening({ transcript, url, told: {
      changed: () => this.#changed(),
      said: (text) => listening === this.#listening && this.announcer.feed(text),
      noticed: () => {},
    } });
    this.#saver = new Saver(this.#app.store, listening);
    return listening;
  }

  /** A new transcript; the one before is written to its end beside it, and kept. */
  async #begin() {
    const { talk } = this.#listening;
    const text = t("live.drop", { length: lengthOf(this.#finishing.lagS) });
    const question = { title: t("live.new"), text, yes: t("live.new") };
    if (this.#finishing.isFull && !(await confirmed(question))) return;
    if (!talk.isSettled) this.#app.notice(t("live.finishing"));
    this.announcer.flush();
    this.#finishing.add(this.#saver);
    this.#clear();
    this.record.focus();
  }

  /** A transcript was deleted, here or in another tab, or all (null) were. */
  #erased(id) {
    this.#finishing.forget(id);
    this.#saver?.forget(id);
    if (!this.#saver?.isErased) return;
    this.#listening.talk.close();
    this.#clear();
    if (this.#isListening) this.#listen();
  }

  #clear() {
    this.#listening = this.#saver = null;
    this.text.set({ kind: "live", startedMs: 0, words: [], gaps: [] });
    this.#draw();
  }

  #record(samples) {
    if (!this.#isListening) return;
    this.#silentSamples = samples.some((sample) => sample !== 0) ? 0 : this.#silentSamples + samples.length;
    this.#listening.resume(Date.now()); // the first sound ends a pause, not the click
    this.#listening.record(samples, Date.now());
    this.meter.feed(samples);
  }

  /** From time to time, also while nothing comes. */
  #look() {
    this.#microphone.check();
    const isInterrupted = this.#isListening && !["on", "asking"].includes(this.#microphone.state);
    this.#interruptedAtMs = isInterrupted ? (this.#interruptedAtMs ?? performance.now()) : null;
    const silentMs = performance.now() - this.#interruptedAtMs;
    if (isInterrupted && silentMs > INTERRUPTED_MS) this.#listening.talk.end();
    this.#listening?.tell();
    this.#finishing.look();
    this.#drawLag();
    this.#changed();
  }

  #drawLag() {
    const lagS = this.#listening?.talk.lagS ?? 0;
    this.#lagS += (lagS - this.#lagS) / 2;
    const style = { minimumFractionDigits: 1, maximumFractionDigits: 1 };
    const { state } = this.state.dataset; // that the text is behind is said there
    if (state === "away") put(this.lag, t("live.kept", { length: lengthOf(lagS) }));
    else if (!this.#isListening || state === "behind") put(this.lag, "");
    else put(this.lag, t("live.lag", { s: this.#lagS.toLocaleString(locale(), style) }));
  }

  /** Something has changed: show it once for all changes of a moment. */
  #changed() {
    if (this.#isDrawing) return;
    this.#isDrawing = true;
    queueMicrotask(() => {
      this.#isDrawing = false;
      this.#draw();
    });
  }

  #draw() {
    const listening = this.#listening;
    if (STUCK.includes(this.#microphone.state) && this.#isListening) this.#giveUp();
    if (listening) this.#drawText(listening);
    this.#drawState();
    const hasWords = Boolean(listening?.transcript.words.length);
    this.hint.hidden = this.#hasBegun;
    this.text.root.hidden = !this.#hasBegun;
    this.take.root.hidden = !hasWords || this.#isListening;
    this.again.hidden = !this.#hasBegun || this.#isListening;
    this.meter.root.hidden = !this.#isListening;
    this.wakeLock.set(this.#isListening);
    const isSilent = this.#isMuted || this.#microphone.state === "gone";
    this.chooser.show(this.#microphone, { isNeeded: !this.#isListening || isSilent });
  }

  #drawText({ transcript, talk, heardS }) {
    this.text.update(transcript);
    const lastS = transcript.words.at(-1)?.endS ?? 0;
    this.text.held(talk.held);
    this.text.tentative(talk.tentative, { isApart: heardS - lastS > APART_S });
    this.follower.grew();
  }

  /** The microphone cannot be had: the person has to do something first. */
  #giveUp() {
    this.#isListening = false;
    this.meter.rest();
    this.#listening.pause(Date.now());
  }

  #drawState() {
    const talk = this.#listening?.talk ?? null;
    const { state, key, link } = stateOf({
      microphone: this.#microphone.state,
      isListening: this.#isListening,
      isMuted: this.#isMuted,
      hasBegun: this.#hasBegun,
      talk,
      nowMs: Date.now(),
      wasBehind: this.state.dataset.state === "behind",
    });
    if (state === "paused") this.#settled();
    this.root.dataset.microphone = this.#microphone.state;
    this.state.dataset.state = state;
    const values = { time: timeOfDay(talk?.awaySinceMs ?? 0), length: lengthOf(talk?.lagS ?? 0) };
    put(this.word, t(`live.${key}`, values));
    this.#advise(t(`live.${key}.do`), link);
    const { isInMemory, isFull } = this.#app.store;
    put(this.unkept, isInMemory || isFull ? t("live.unkept") : "");
    this.#tellState(key);
    put(this.record, t(this.#isListening ? "live.pause" : this.#hasBegun ? "live.resume" : "live.listen"));
    this.record.dataset.icon = this.#isListening ? "pause" : "listen";
  }

  /** Whether there is something to read or to come: not if the microphone could not be had. */
  get #hasBegun() {
    return this.#isListening || this.#listening?.transcript.durationS > 0;
  }

  /** Whether all sound of late was silence to the last bit. */
  get #isMuted() {
    return this.#silentSamples > MUTED_SAMPLES;
  }

  /** Tell screen readers a state when it begins. */
  #tellState(key) {
    const words = [this.word.textContent, this.advice.textContent].filter(Boolean).join(". ");
    if (this.#telling.isNews(key, performance.now())) this.told.textContent = words;
  }

  #advise(text, link) {
    if (this.#shown === text + link) return;
    this.#shown = text + link;
    const there = link ? [" ", h("a", { href: link, target: "_blank" }, t("live.sign_in"))] : [];
    this.advice.replaceChildren(text, ...there);
  }

  /** A pause, and every word is text. */
  #settled() {
    this.announcer.flush();
    this.#listening.transcript.isOpen = false;
    this.#save();
  }

  #save() {
    this.#finishing.save();
    this.#saver?.save();
  }
}

function put(element, text) {
  if (element.textContent !== text) element.textContent = text;
}
