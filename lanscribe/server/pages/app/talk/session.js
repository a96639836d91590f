/** A session that continues after a socket or a server breaks. */

import { RATE_HZ } from "../audio/ring.js";
import { secondsOf } from "./fields.js";

const PASSING = ["engine_unavailable", "internal", "processing_error", "server_busy", "server_stopping"];
const ENDING = ["idle_timeout", "session_too_long"];

/** How long to wait before the next attempt, in ms; random, so that pages do not retry together. */
export function pauseMs(failures, random = Math.random()) {
  return (60 + 60 * random) * 2 ** Math.min(failures, 5);
}

/**
 * An error that the server tells, which ends the session; `message` is its sentence, `code` as in
 * docs/protocol.md. passes: a later attempt may help. isEnd: the server ended the session because
 * its time was over, and expects another when there is something to say.
 */
export class Refused extends Error {
  constructor(event) {
    super(event.error);
    this.code = event.code;
    this.passes = PASSING.includes(event.code);
    this.isEnd = ENDING.includes(event.code);
  }
}

/** The state that outlives a socket: the server's token, and the number of its last message. */
export class Session {
  token = "";
  keepS = 0;
  #url;
  #seen = 0;
  #missingAfter = -1;

  /** url: of the WebSocket, such as wss://box:8443/v1/realtime. */
  constructor(url) {
    this.#url = url;
  }

  /** The address that resumes the session, or starts a new one. */
  get address() {
    if (!this.token) return this.#url;
    const query = new URLSearchParams({ resume: this.token, seen: this.#seen });
    return `${this.#url}${this.#url.includes("?") ? "&" : "?"}${query}`;
  }

  /**
   * Continues where the server says, or begins at the sample `place`.
   *
   * False if the server has lost the session: connect again for a new one. Throws Refused.
   */
  greet(greeting, story, place) {
    if (this.token && greeting.code === "resume_failed") {
      this.token = "";
      return false;
    }
    if (greeting.type === "error") throw this.refused(greeting);
    if (greeting.type === "session.resumed") {
      story.sent = story.base + Math.max(0, greeting.received_samples ?? 0);
      story.isCommitted = greeting.received_commits > 0;
      return true;
    }
    this.token = greeting.resume?.token ?? "";
    this.keepS = secondsOf(greeting.resume ?? {}, "keep_s") ?? 0;
    this.#seen = greeting.seq ?? 0;
    story.begin(place);
    return true;
  }

  /** The message that chooses the model, and asks for words that may still change. */
  model(name) {
    const keep = this.token ? { resume: true, tentative: true } : {};
    return JSON.stringify({ type: "session.update", model: name, ...keep });
  }

  /** The message that acknowledges what was received; sent after the first commit, it only does that. */
  get acknowledgement() {
    return JSON.stringify({ type: "input_audio_buffer.commit", final: false, seen: this.#seen });
  }

  /**
   * Whether messages before the event are missing, which resuming may bring. Said once for a place:
   * if they are missing again, the server has them no more.
   */
  isAfterMissing(event) {
    if (!this.token || (event.seq ?? 0) <= this.#seen + 1 || this.#missingAfter === this.#seen) return false;
    this.#missingAfter = this.#seen;
    return true;
  }

  /** Whether the event was not received before. */
  isNew(event) {
    const [number, seen] = [event.seq ?? 0, this.#seen];
    this.#seen = Math.max(number, seen);
    return number === 0 || number > seen;
  }

  /** An error event as Refused; ends the session. */
  refused(event) {
    this.token = "";
    return new Refused(event);
  }
}

/** The parts of the sound that an event says could not be transcribed: [[start, end]], samples. */
export function lostOf(event, base) {
  const place = (seconds) => base + Math.round(seconds * RATE_HZ);
  return [event.lost ?? []].flat().map((part) => [place(part.start_s), place(part.end_s)]);
}
