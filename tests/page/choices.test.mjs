/** What the reader chose stays, in every tab, also where the browser keeps nothing. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { Choices } from "../../lanscribe/server/pages/app/keep/choices.js";

class Storage {
  kept = new Map();
  getItem(key) {
    return this.kept.get(key) ?? null;
  }
  setItem(key, value) {
    this.kept.set(key, value);
  }
}

const refusing = {
  getItem() {
    throw new DOMException("", "SecurityError");
  },
  setItem() {
    throw new DOMException("", "QuotaExceededError");
  },
};

test("a choice is kept for the next visit", () => {
  const storage = new Storage();
  new Choices(storage).set("size", 150);
  assert.equal(new Choices(storage).get("size"), 150);
  assert.equal(new Choices(storage).get("scheme"), "auto");
});

test("what another page wrote under the name is passed over", () => {
  const storage = new Storage();
  storage.setItem("lanscribe.size", "{");
  assert.equal(new Choices(storage).get("size"), 100);
});

test("a choice holds for this visit where the browser keeps nothing", () => {
  for (const storage of [null, refusing]) {
    const choices = new Choices(storage);
    choices.set("size", 200);
    assert.equal(choices.get("size"), 200);
  }
});

test("who watches a choice is told of it at once, after each change, and of other tabs", () => {
  const storage = new Storage();
  const window = new EventTarget();
  const seen = [];
  const choices = new Choices(storage, window);
  const end = choices.watch("scheme", (scheme) => seen.push(scheme));
  choices.set("scheme", "dark");
  storage.setItem("lanscribe.scheme", '"light"');
  window.dispatchEvent(Object.assign(new Event("storage"), { key: "lanscribe.scheme" }));
  window.dispatchEvent(Object.assign(new Event("storage"), { key: "another" }));
  end();
  choices.set("scheme", "dark");
  assert.deepEqual(seen, ["auto", "dark", "light"]);
});
