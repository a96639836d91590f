/** Sends a file to the box, which tells what it hears while it hears it. */

import { Events } from "./events.js";

const PATH = "/v1/audio/transcriptions";
const READ_MS = 250; // each look at the answer so far copies it
const SILENT_MS = 60_000; // the box tells its progress twice a second
const AWAY = { code: "away", message: "" };

/**
 * One attempt. Resolves with { error }: null after the last event, else { code, message, retryAfterS };
 * code "away" means that the connection failed or fell silent, "cancelled" that signal ended it.
 *
 * onsent(share): of the file, 1 when the box has all. onevents(events): of the answer.
 */
export function transcribe(file, { track, signal, onsent, onevents }) {
  const request = new XMLHttpRequest();
  const form = new FormData();
  for (const [name, value] of Object.entries({ model: "any", stream: "true", progress: "true", track })) {
    if (value) form.append(name, value);
  }
  form.append("file", file, "file"); // last, and without its name: some names cannot be sent
  return new Promise((resolve) => {
    const answer = new Answer(request, onevents);
    const watch = new Watch(() => request.abort());
    const end = (error) => {
      watch.end();
      resolve({ error: signal.aborted ? { code: "cancelled", message: "" } : error });
    };
    request.upload.onprogress = ({ loaded, total }) => {
      watch.again();
      onsent(Math.min(1, loaded / total));
    };
    request.upload.onload = () => onsent(1);
    request.onprogress = () => {
      watch.again();
      answer.look();
    };
    request.onload = () => end(answer.end());
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
    return this.#last?.type === "error" ? this.#last.error : AWAY;
  }
}

function refusalOf(request) {
  const retryAfterS = Number(request.getResponseHeader("Retry-After")) || 0;
  try {
    const { code, message } = JSON.parse(request.responseText).error;
    return { code, message, retryAfterS };
  } catch {
    return { ...AWAY, retryAfterS }; // something between here and the box
  }
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
