/** Sends a file to the box, which tells what it hears while it hears it. */

import { Events } from "./events.js";
import { fieldsOf, objectOf, textOf } from "./fields.js";

const PATH = "/v1/audio/transcriptions";
const READ_MS = 250; // each look at the answer so far copies it
const SILENT_MS = 60_000; // the box tells its progress twice a second
const AWAY = { code: "away", message: "" };
const UNREADABLE = { code: "unreadable_answer", message: "" };
const PASSING = [408, 429]; // HTTP statuses
const CANCELLED = { code: "cancelled", message: "" };

/**
 * One attempt. Resolves with { error }: null after the last event, else { code, message, retryAfterS };
 * code "away" means that the connection failed or fell silent, "cancelled" that signal ended it,
 * "unreadable_answer" that something before the box refused it. Rejects with what a callback throws.
 *
 * onsent(share): of the file, 1 when the box has all. onevents(events): of the answer.
 */
export function transcribe(file, { track, signal, onsent, onevents }) {
  if (signal.aborted) return Promise.resolve({ error: CANCELLED });
  const request = new XMLHttpRequest();
  const form = new FormData();
  for (const [name, value] of Object.entries({ model: "any", stream: "true", progress: "true", track })) {
    if (value) form.append(name, value);
  }
  form.append("file", file, "file"); // last, and without its name: some names cannot be sent
  return new Promise((resolve, reject) => {
    const answer = new Answer(request, onevents);
    const watch = new Watch(() => request.abort());
    const end = (error) => {
      watch.end();
      resolve({ error: signal.aborted ? CANCELLED : error });
    };
    const attempt = (work) => {
      try {
        work();
      } catch (error) {
        reject(error);
        watch.end();
        request.abort();
      }
    };
    request.upload.onprogress = ({ loaded, total }) => {
      watch.again();
      attempt(() => onsent(Math.min(1, loaded / total)));
    };
    request.upload.onload = () => attempt(() => onsent(1));
    request.onprogress = () => {
      watch.again();
      attempt(() => answer.look());
    };
    request.onload = () => attempt(() => end(answer.end()));
    request.onerror = request.onabort = () => end(AWAY);
    signal.addEventListener("abort", () => request.abort());
    request.open("POST", PATH);
    request.send(form);
  });
}

/** The answer to a request: events, or one error. */
class Answer {
  #request;
  #onevents;
  #events = new Events();
  #lookedAtMs = 0;
  #last = null;

  constructor(request, onevents) {
    this.#request = request;
    this.#onevents = onevents;
  }

  look() {
    if (this.#request.status !== 200 || performance.now() - this.#lookedAtMs < READ_MS) return;
    this.#read();
    this.#lookedAtMs = performance.now();
  }

  #read() {
    const events = this.#events.read(this.#request.responseText);
    this.#last = events.at(-1) ?? this.#last;
    if (events.length) this.#onevents(events.filter((event) => event.type !== "error"));
  }

  /** What went wrong, if anything did. */
  end() {
    if (this.#request.status !== 200) return refusalOf(this.#request);
    this.#read();
    if (this.#last?.type === "transcript.text.done") return null;
    return this.#last?.type === "error" ? errorOf(this.#last) : AWAY;
  }
}

function refusalOf(request) {
  const retryAfterS = Number(request.getResponseHeader("Retry-After")) || 0;
  const isFinal = request.status < 500 && !PASSING.includes(request.status);
  return { ...errorOf(fieldsOf(request.responseText), isFinal ? UNREADABLE : AWAY), retryAfterS };
}

/** { code, message } of what tells an error; `other` without a code: it is from something before the box. */
function errorOf(told, other = AWAY) {
  const error = objectOf(told.error);
  const [code, message] = [textOf(error, "code"), textOf(error, "message")];
  return code ? { code, message } : other;
}

/** Calls back when nothing has happened for too long. */
class Watch {
  #timer;

  constructor(onsilent) {
    this.onsilent = onsilent;
    this.again();
  }

  again() {
    this.end();
    this.#timer = setTimeout(this.onsilent, SILENT_MS);
  }

  end() {
    clearTimeout(this.#timer);
  }
}
