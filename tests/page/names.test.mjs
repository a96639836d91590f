/** Names of files that every system takes. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { apart, fileName } from "../../lanscribe/server/pages/app/parts/names.js";

const startedMs = new Date(2026, 10, 8, 9, 3).getTime();

test("a name has the time and the title, without what a system forbids", () => {
  const title = 'a/b\\c: "d"?\n\u202eend. ';
  assert.equal(fileName({ title, startedMs }, "srt"), "2026-11-08 09.03 a b c d end.srt");
  assert.equal(fileName({ title: "", startedMs }, "txt"), "2026-11-08 09.03.txt");
  const long = fileName({ title: "🙂".repeat(200), startedMs }, "txt");
  assert.equal([...long].length, 84);
});

test("no two names are equal", () => {
  const names = ["a.txt", "A.txt", "a.json", "a.txt"];
  assert.deepEqual(apart(names), ["a.txt", "A (2).txt", "a.json", "a (3).txt"]);
});
