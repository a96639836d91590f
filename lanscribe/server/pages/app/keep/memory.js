/** Keeps rows in memory, where the browser refuses to keep them: until the page is closed. */

/** The same as `Disk`. */
export class Memory {
  #kept = new Map();

  async change(id, make) {
    const kept = this.#kept.get(id);
    const made = make(kept?.header);
    if (!made) return;
    const { header, first = Infinity, parts = [] } = made;
    this.#kept.set(id, { header, parts: [...(kept?.parts ?? []).slice(0, first), ...parts] });
  }

  async read(id) {
    return this.#kept.get(id);
  }

  async headers() {
    return [...this.#kept.values()].map((one) => one.header);
  }

  async texts(ids) {
    return ids.map((id) => (this.#kept.get(id)?.parts ?? []).map((one) => one.text).join(""));
  }

  async remove(id) {
    this.#kept.delete(id);
  }

  async clear() {
    this.#kept.clear();
  }
}
