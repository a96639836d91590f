/** Names from outside, such as codes of the box, may be those that every object has. */

import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { test } from "node:test";

import { gapText } from "../../lanscribe/server/pages/app/parts/transcript_view.js";
import { isText, speak, t } from "../../lanscribe/server/pages/app/strings/strings.js";
import { stateOf } from "../../lanscribe/server/pages/app/views/live_state.js";

const APP = new URL("../../lanscribe/server/pages/app/", import.meta.url);
const NAMES = [...Object.getOwnPropertyNames(Object.prototype), "lost.open", "", "é", "new one"];
const OWN = ["TABLE", "TYPES", "DEFAULTS", "LANGUAGES", "FILES"]; // asked for names that the page has made up

test("the state of a talk is told, whatever the cause is called", () => {
  const talk = { state: "away", awaySinceMs: 0, lagS: 1, isSettled: false };
  for (const why of NAMES) {
    const situation = { microphone: "on", isListening: true, hasBegun: true, nowMs: 1e4 };
    const { key } = stateOf({ ...situation, talk: { ...talk, why } });
    assert.equal(key, "away.away", why);
  }
});

test("a gap is told, whatever its code", () => {
  for (const code of [...NAMES, undefined, 5]) {
    for (const endS of [2, null]) {
      assert.match(gapText({ kind: "file", startedMs: 0 }, { startS: 1, endS, code }), /0:01/, code);
    }
  }
});

test("only texts of the page are known, and languages that it has are spoken", () => {
  for (const name of NAMES) assert.ok(!isText(name), name);
  globalThis.document = { documentElement: {} };
  speak(...NAMES, "de-AT");
  assert.equal(t("close"), "Schließen");
  speak(...NAMES);
  assert.equal(t("close"), "Close");
});

test("no module looks a name up where the names of every object are found too", () => {
  for (const path of readdirSync(APP, { recursive: true })) {
    if (!path.endsWith(".js") || path.startsWith("strings/de") || path.startsWith("strings/en")) continue;
    const text = readFileSync(new URL(path, APP), "utf8");
    const code = text.replace(/\/\*[^]*?\*\/|\/\/.*|(["`])(?:(?!\1).)*\1/g, "");
    assert.doesNotMatch(code, /(?<![\w.#])in\b/, `${path}: use Object.hasOwn, or a Map`);
    for (const [, name] of code.matchAll(/\b([A-Z][A-Z_]+)\[/g)) {
      assert.ok(OWN.includes(name), `${path}: let ${name} be a Map`);
    }
  }
});
