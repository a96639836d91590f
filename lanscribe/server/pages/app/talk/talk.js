/** One talk with the box, over any number of connections: sends the ring, and tells what it hears. */

import { RATE_HZ } from "../audio/ring.js";
import { lookAtBox } from "./box.js";
import { eventOf } from "./fields.js";
import { lostOf, pauseMs, Session } from "./session.js";
import { Story } from "./story.js";

const END = '{"type":"input_audio_buffer.commit","final":true}';
const CHUNK_SAMPLES = RATE_HZ;
const MOST_WAITING_BYTES = 256_000; // in the socket: 8 s of sound
const SEEN_MS = 5000;
const SILENT_MS = 8000; // without a message although sound is sent
const DOUBT_MS = 6000; // the same, then the box is asked: is it slow, or away?
const LONGEST_SILENT_MS = 64_000;
const CONNECT_MS = 10_000;
const TICK_MS = 500;
const REFUSED_MS = 15_000; // between attempts that need somebody to do something first
const GREETINGS = ["session.created", "session.resumed", "error"];
const MOST_FAILURES = 3; // of the engine at the same place

/**
 * Sends what the ring records, and tells the words, each once. What the server kept is resumed; a new
 * session listens again from where all words are safe. Nothing but `close` makes it stop trying.
 *
 * told: an object with
 *   said(pieces)             pieces {text, startS, endS} to append; seconds of sound, startS may be null
 *   lost(start, end, code)   samples that will have no words: "lost" or "forgotten"
 *   noticed(code)            "zeros": the microphone sends nothing but silence
 *   changed()                something below has changed
 */
export class Talk {
  /** "idle": no sound to transcribe; "connecting"; "open"; "away". */
  state = "idle";
  /** Why it is away: a state of box.js or a code of docs/protocol.md. */
  why = "";
  /** Since when the box has not been heard, on the clock of Date.now(); null: it is there. */
  awaySinceMs = null;
  /** Words after all that was said that may still change. */
  tentative = "";

  #ring;
  #Socket;
  #look;
  #told;
  #session;
  #story = new Story();
  #socket = null;
  #isGreeted = false;
  #ends = []; // samples at which an utterance is to end
  #floor = 0; // no session begins before this sample
  #failures = 0;
  #silences = 0;
  #engineFailures = { safe: -1, count: 0 };
  #retryAtMs = 0;
  #heardAtMs = 0; // when the last message came, on the clock of performance.now()
  #doubtedAtMs = 0; // the same of the last silence that was doubted
  #connectedAtMs = 0;
  #seenAtMs = 0;
  #ticking = null;
  #isClosed = false;

  /** url: of the WebSocket. Socket: a WebSocket class. look: as lookAtBox. */
  constructor({ ring, url, told, Socket = WebSocket, look = lookAtBox }) {
    this.#ring = ring;
    this.#told = told;
    this.#Socket = Socket;
    this.#look = look;
    this.#session = new Session(url);
  }

  /** Seconds of recorded sound that the box has not listened to. */
  get lagS() {
    return Math.max(0, this.#ring.end - Math.max(this.#story.heard, this.#floor)) / RATE_HZ;
  }

  /** Whether all recorded sound is text. */
  get isSettled() {
    return this.state === "idle" && this.#ring.end <= this.#place;
  }

  /** The last words of a session that the server cut; the next session says them anew. */
  get held() {
    return this.#story.lastWords.map((piece) => piece.text).join("");
  }

  /** Sound was added to the ring. */
  push() {
    if (!this.#isClosed) this.#go();
  }

  /** The utterance ends at the newest sample; its last words are told soon. */
  end() {
    const { end } = this.#ring;
    if (this.#isClosed || end <= this.#place || this.#ends.at(-1) === end) return;
    this.#ends.push(end);
    this.#go();
  }

  /** The network may be back: try now. */
  wake() {
    this.#retryAtMs = 0;
    if (this.#ticking) this.#go();
  }

  /** End the talk for good; words that were held are said. */
  close() {
    this.#isClosed = true;
    this.#told.said(this.#story.lastWords.splice(0));
    this.#rest();
  }

  /** Where a new session would begin, as far as the ring reaches. */
  get #place() {
    return Math.max(this.#story.safe, this.#floor);
  }

  #go() {
    const isDue = this.#ring.end > this.#place && performance.now() >= this.#retryAtMs;
    if (!this.#socket && isDue) this.#connect();
    this.#ticking ??= setInterval(() => this.#tick(), TICK_MS);
    this.#check();
    this.#pump();
  }

  /** Timers of a hidden page are slow, so all that they do is done when sound comes, too. */
  #tick() {
    if (this.#socket || this.#ring.end > this.#place) this.#go();
    else this.#rest();
  }

  #connect() {
    const socket = new this.#Socket(this.#session.address);
    this.#socket = socket;
    this.#isGreeted = false;
    this.#connectedAtMs = performance.now();
    if (this.state === "idle") this.#heardAtMs = this.#connectedAtMs;
    if (this.state !== "away") this.#change("connecting");
    const isMine = () => socket === this.#socket;
    socket.onmessage = ({ data }) => isMine() && this.#take(eventOf(data));
    socket.onclose = () => isMine() && this.#break();
    socket.onerror = socket.onclose;
  }

  /** Give up a socket that is dead without having told. */
  #check() {
    if (!this.#socket) return;
    const silentMs = performance.now() - this.#heardAtMs;
    const patienceMs = Math.min(SILENT_MS * 2 ** this.#silences, LONGEST_SILENT_MS);
    const isWaiting = this.#story.isCommitted || this.#story.heard < this.#story.sent - RATE_HZ;
    if (!this.#isGreeted) {
      if (performance.now() - this.#connectedAtMs > CONNECT_MS) this.#break();
    } else if (isWaiting && silentMs > patienceMs) {
      this.#silences += 1;
      this.#leave();
      this.#connect(); // away only if that fails: a slow box is there
    } else if (isWaiting && silentMs > DOUBT_MS) this.#doubt();
  }

  /** Ask the box once in a silence whether it is there at all. */
  async #doubt() {
    const heardAtMs = this.#heardAtMs;
    if (this.#doubtedAtMs === heardAtMs) return;
    this.#doubtedAtMs = heardAtMs;
    const { state } = await this.#look();
    const isOver = this.state === "idle" || this.awaySinceMs !== null || this.#heardAtMs !== heardAtMs;
    if (isOver || state !== "away") return;
    this.awaySinceMs = this.#silentSinceMs;
    this.#told.changed();
  }

  /** When the last message came, on the clock of Date.now(). */
  get #silentSinceMs() {
    return Date.now() - (performance.now() - this.#heardAtMs);
  }

  /** event: null if the message was none. */
  #take(event) {
    if (!event) return;
    if (!this.#isGreeted) this.#greet(event);
    else if (event.type === "error") this.#refuse(event);
    else if (this.#session.isAfterMissing(event)) this.#break();
    else if (this.#session.isNew(event)) this.#hear(event);
    if (this.#isGreeted) this.#pump();
  }

  #greet(event) {
    if (!GREETINGS.includes(event.type)) return;
    this.#heardAtMs = performance.now();
    const { safe, sent } = this.#story;
    const place = Math.max(this.#place, this.#ring.start);
    try {
      if (!this.#session.greet(event, this.#story, place)) {
        this.#leave();
        this.#connect();
        return;
      }
    } catch (error) {
      this.#fail(error, event);
      return;
    }
    if (event.type === "session.created") this.#begin(safe, place);
    else this.#story.sent = Math.min(this.#story.sent, sent); // it has no more than it was sent
    this.#isGreeted = true;
    this.tentative = "";
    this.awaySinceMs = null;
    this.#introduce();
    this.#change("open");
  }

  #begin(safe, place) {
    const from = Math.max(safe, this.#floor);
    if (place > from) this.#told.lost(from, place, "forgotten");
    this.#floor = place;
    this.#ends = this.#ends.filter((end) => end > place);
  }

  #introduce() {
    this.#socket.send(this.#session.model(""));
    this.#acknowledge();
  }

  /** Not after the end of an utterance: there it would begin another one. */
  #acknowledge() {
    this.#seenAtMs = performance.now();
    if (!this.#story.isCommitted) this.#socket.send(this.#session.acknowledgement);
  }

  #pump() {
    const [socket, story] = [this.#socket, this.#story];
    if (!this.#isGreeted || story.isCommitted || socket.readyState !== 1) return;
    const end = this.#ends[0] ?? this.#ring.end;
    if (story.sent < end && story.sent < this.#ring.start) {
      this.#session.token = ""; // the ring has overtaken it
      this.#leave(1000);
      this.#connect();
      return;
    }
    while (story.sent < end && socket.bufferedAmount < MOST_WAITING_BYTES) {
      const samples = this.#ring.read(story.sent, Math.min(CHUNK_SAMPLES, end - story.sent));
      story.sent += samples.length;
      socket.send(samples);
    }
    if (this.#ends.length && story.sent >= end) {
      story.isCommitted = true;
      socket.send(END);
    } else if (performance.now() - this.#seenAtMs > SEEN_MS) this.#acknowledge();
  }

  #hear(event) {
    this.#heardAtMs = performance.now();
    this.awaySinceMs = null;
    if (event.type === "session.stopping") this.#story.cut();
    if (event.type === "transcription.delta") this.#append(event);
    if (event.type === "transcription.done") this.#finish(event);
    this.#told.changed();
  }

  #append(event) {
    [this.#failures, this.#silences] = [0, 0];
    this.#told.said(this.#story.hear(event, performance.now() / 1000));
    this.tentative = this.#story.isJoining ? "" : event.tentative;
    this.#lose(event);
    if (event.notice === "zeros") this.#told.noticed("zeros");
    this.#ring.forget(this.#place);
  }

  #lose(event) {
    const { base, sent } = this.#story;
    for (const [start, end] of lostOf(event, base)) {
      if (start < sent) this.#told.lost(start, Math.min(end, sent), "lost");
    }
  }

  /** An utterance ends: because it is over, or because the server had to end it. */
  #finish(event) {
    this.tentative = "";
    this.#told.said(this.#story.end(event));
    const { isWhole, sent } = this.#story;
    this.#session.token = "";
    this.#leave(1000);
    if (!isWhole) {
      this.#later();
      return;
    }
    this.#ends.shift();
    this.#floor = Math.max(this.#floor, sent);
    this.#ring.forget(this.#floor);
    if (this.#ring.end > this.#place) this.#connect();
    else this.#rest();
  }

  #refuse(event) {
    this.#heardAtMs = performance.now();
    this.awaySinceMs = null;
    this.#fail(this.#session.refused(event), event);
  }

  /** The server tells an error, which ends the session. */
  #fail(error, event) {
    if (error.code === "processing_error") this.#countFailure(event);
    this.#leave(1000);
    this.why = error.code;
    this.#later(error.passes || error.isEnd ? undefined : REFUSED_MS);
  }

  /** Sound on which the engine fails again and again is passed over. */
  #countFailure(event) {
    const [failed, safe] = [this.#engineFailures, this.#place];
    failed.count = failed.safe === safe ? failed.count + 1 : 1;
    failed.safe = safe;
    if (failed.count < MOST_FAILURES) return;
    const ends = lostOf(event, this.#story.base).map(([, end]) => end);
    this.#floor = Math.min(this.#ring.end, Math.max(...ends, this.#story.heard, safe + RATE_HZ));
    this.#told.lost(safe, this.#floor, "lost");
  }

  /** The socket is broken; the session may go on. */
  async #break() {
    const wasGreeted = this.#isGreeted;
    if (wasGreeted) this.why = "";
    this.#leave();
    this.#later();
    if (wasGreeted) return;
    const { state } = await this.#look();
    if (this.#isClosed || this.state === "open") return;
    this.why = state === "ready" ? "away" : state;
    if (state === "locked" || state === "refused") this.#retryAtMs = performance.now() + REFUSED_MS;
    this.#told.changed();
  }

  /** Try again after a pause. */
  #later(afterMs = pauseMs(this.#failures)) {
    this.#failures += 1;
    this.#retryAtMs = performance.now() + afterMs;
    this.awaySinceMs ??= this.#silentSinceMs;
    this.tentative = "";
    this.#change("away");
    setTimeout(() => this.#ticking && this.#tick(), afterMs);
  }

  /** Without a code the server keeps the session; with 1000 it ends it. */
  #leave(code) {
    const socket = this.#socket;
    this.#socket = null;
    this.#isGreeted = false;
    if (!socket) return;
    socket.onmessage = socket.onclose = socket.onerror = null;
    if (code) socket.close(code);
    else socket.close();
  }

  #rest() {
    this.#leave(1000);
    clearInterval(this.#ticking);
    this.#ticking = this.awaySinceMs = null;
    this.tentative = "";
    this.#change("idle");
  }

  #change(state) {
    this.state = state;
    if (state !== "away") this.why = "";
    this.#told.changed();
  }
}
