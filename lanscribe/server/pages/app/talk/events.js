/** Reads server-sent events that are JSON objects with a type, from an answer that grows. */

import { fieldsOf, textOf } from "./fields.js";

export class Events {
  #at = 0;

  /** The events that have become whole; lines that are none are passed over. text: all of the answer so far. */
  read(text) {
    const events = [];
    for (let end; (end = text.indexOf("\n\n", this.#at)) >= 0; this.#at = end + 2) {
      const line = text.slice(this.#at, end);
      if (line.startsWith("data: ")) events.push(fieldsOf(line.slice(6)));
    }
    return events.filter((event) => textOf(event, "type"));
  }
}
