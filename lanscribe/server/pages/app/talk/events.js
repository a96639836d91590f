/** Reads server-sent events that are JSON, from an answer that grows. */
export class Events {
  #at = 0;

  /** The events that have become whole. text: all of the answer so far. */
  read(text) {
    const events = [];
    for (let end; (end = text.indexOf("\n\n", this.#at)) >= 0; this.#at = end + 2) {
      const line = text.slice(this.#at, end);
      if (line.startsWith("data: ")) events.push(JSON.parse(line.slice(6)));
    }
    return events;
  }
}
