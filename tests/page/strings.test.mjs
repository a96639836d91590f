/** Every text of the page is there in every language, and nowhere else. */

import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { test } from "node:test";

import de from "../../lanscribe/server/pages/app/strings/de.js";
import en from "../../lanscribe/server/pages/app/strings/en.js";

const APP = new URL("../../lanscribe/server/pages/app/", import.meta.url);
const COMMENT = /\/\*[^]*?\*\/|(?<=\s)\/\/.*/g;
const modules = readdirSync(APP, { recursive: true })
  .filter((path) => path.endsWith(".js") && !/^strings\/..\.js$/.test(path))
  .map((path) => [path, readFileSync(new URL(path, APP), "utf8").replace(COMMENT, "")]);
const placeholders = (text) => text.match(/\{\w+\}/g)?.sort() ?? [];

test("both languages have the same keys, in the same order, with the same places for values", () => {
  assert.deepEqual(Object.keys(de), Object.keys(en));
  for (const key of Object.keys(en)) assert.deepEqual(placeholders(de[key]), placeholders(en[key]), key);
});

test("each text that a module asks for is there", () => {
  for (const [path, code] of modules) {
    for (const [, key] of code.matchAll(/\bt\(\s*"([\w.]+)"/g)) assert.ok(key in en, `${path}: ${key}`);
    for (const [, key] of code.matchAll(/\bcounted\(\s*"([\w.]+)"/g)) {
      assert.ok(`${key}.one` in en && `${key}.other` in en, `${path}: ${key}`);
    }
  }
});

test("each text is asked for somewhere", () => {
  const all = modules.map(([, code]) => code).join("\n");
  const begun = [...all.matchAll(/`([\w.]+\.)\$\{/g)].map(([, start]) => start);
  for (const key of Object.keys(en)) {
    const name = key.replace(/\.(one|other)$/, "");
    assert.ok(all.includes(`"${name}"`) || begun.some((start) => key.startsWith(start)), key);
  }
});

test("no module has a sentence of its own", () => {
  for (const [path, code] of modules) {
    const without = code.replace(/new Error\([^;]*;/g, "").replace(/^import .*$/gm, "");
    for (const [, , text] of without.matchAll(/(["`])((?:(?!\1|\n).)*)\1/g)) {
      assert.doesNotMatch(text, /^[A-Z][a-z]+ [a-z]+ /, path);
    }
  }
});
