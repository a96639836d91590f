/** Keeps rows in IndexedDB. */

const NAME = "lanscribe";
const CLOSED = ["AbortError", "InvalidStateError"]; // a connection whose data the browser erases
const VERSION = 1;

/** The rows of transcripts on the disk of this device. Each method rejects with what the browser says. */
export class Disk {
  #database = null;
  #factory;

  /** factory: window.indexedDB. */
  constructor(factory) {
    this.#factory = factory;
  }

  /**
   * Write what `make` returns for the header that is stored, or undefined: { header, first, parts }, of
   * which `parts` replace all from the part `first` on and may be absent. Nothing if it returns nothing.
   */
  async change(id, make) {
    await this.#in("readwrite", async (headers, parts) => {
      const made = make(await answer(headers.get(id)));
      if (!made) return;
      headers.put(made.header);
      if (!made.parts) return;
      parts.delete(from(id, made.first));
      for (const part of made.parts) parts.put(part);
    });
  }

  /** { header, parts }, undefined if it is not stored. */
  read(id) {
    return this.#in("readonly", async (headers, parts) => {
      const [header, all] = await Promise.all([answer(headers.get(id)), answer(parts.getAll(from(id)))]);
      return header && { header, parts: all };
    });
  }

  /** All headers, in no order. */
  headers() {
    return this.#in("readonly", (headers) => answer(headers.getAll()));
  }

  /** The whole text of each. */
  texts(ids) {
    return this.#in("readonly", async (_, parts) => {
      const rows = await Promise.all(ids.map((id) => answer(parts.getAll(from(id)))));
      return rows.map((all) => all.map((one) => one.text).join(""));
    });
  }

  remove(id) {
    return this.#in("readwrite", async (headers, parts) => {
      headers.delete(id);
      parts.delete(from(id));
    });
  }

  clear() {
    return this.#in("readwrite", async (headers, parts) => {
      headers.clear();
      parts.clear();
    });
  }

  /** What `work(headers, parts)` returns; once more if the connection was closed meanwhile. */
  async #in(mode, work) {
    const opened = this.#opened();
    try {
      return await this.#once(await opened, mode, work);
    } catch (error) {
      if (!CLOSED.includes(error.name)) throw error;
      if (this.#database === opened) this.#database = null; // it may not have been told yet
      return this.#once(await this.#opened(), mode, work);
    }
  }

  /** What `work(headers, parts)` returns, in one transaction that is on the disk. */
  async #once(database, mode, work) {
    const transaction = database.transaction(["headers", "parts"], mode);
    const ended = new Promise((resolve, reject) => {
      transaction.oncomplete = resolve;
      transaction.onabort = () => reject(transaction.error ?? new DOMException("", "AbortError"));
    });
    const [result] = await Promise.all([
      work(transaction.objectStore("headers"), transaction.objectStore("parts")), ended,
    ]);
    return result;
  }

  #opened() {
    this.#database ??= this.#open().catch((error) => {
      this.#database = null;
      throw error;
    });
    return this.#database;
  }

  async #open() {
    const request = this.#factory.open(NAME, VERSION);
    request.onupgradeneeded = () => {
      request.result.createObjectStore("headers", { keyPath: "id" });
      request.result.createObjectStore("parts", { keyPath: ["id", "part"] });
    };
    const database = await answer(request);
    const forget = () => (this.#database = null);
    database.onclose = forget; // the browser or the person has erased what it keeps
    database.onversionchange = () => {
      database.close(); // else a newer page in another tab could not open it
      forget();
    };
    return database;
  }
}

function answer(request) {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
}

function from(id, part = 0) {
  return IDBKeyRange.bound([id, part], [id, Infinity]);
}
