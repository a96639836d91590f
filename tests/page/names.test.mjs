/** Names of files that every system takes. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { apart, dayStamp, fileName } from "../../lanscribe/server/pages/app/parts/names.js";

const startedMs = new Date(2026, 10, 8, 9, 3).getTime();

test("a name has the time and the title, without what a system forbids", () => {
  const title = 'a/b\\c: "d"?\n\u202eend. ';
  assert.equal(fileName({ title, startedMs }, "srt"), "2026-11-08 09.03 a b c d end.srt");
  assert.equal(fileName({ title: "", startedMs }, "txt"), "2026-11-08 09.03.txt");
  const long = fileName({ title: "🙂".repeat(200), startedMs }, "txt");
  assert.equal([...long].length, 84);
});

test("a name keeps what shapes its signs, and nothing else that nobody sees", () => {
  const family = "\u{1f468}\u200d\u{1f469}\u{1f3fd}\u200d\u{1f467}";
  const scotland = "\u{1f3f4}\u{e0067}\u{e0062}\u{e0073}\u{e0063}\u{e0074}\u{e007f}";
  const shaped = [
    family,
    scotland,
    "\u2764\ufe0f\u200d\u{1f525}", // a heart on fire
    "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645", // Persian
    "\u0d05\u0d35\u0d28\u0d4d\u200d", // Malayalam, with a joiner at its end
    "\u845b\u{e0100}", // a variant of a Japanese name
    "\u0600\u06dd\u0661", // signs of Arabic numbers
  ];
  for (const title of shaped) assert.equal(fileName({ title, startedMs }, "txt"), `2026-11-08 09.03 ${title}.txt`);
  const unseen = "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u200e\u200f\u061c\ufeff\u00ad\u2060\u200b"
    + "\u034f\u115f\u3164\ufff9\ufffb\u{e0001}\u{e0041}\u{e007f}\u{1d173}";
  for (const sign of unseen) {
    assert.equal(fileName({ title: `Kin${sign}der`, startedMs }, "txt"), "2026-11-08 09.03 Kinder.txt", escape(sign));
  }
  assert.equal(fileName({ title: "\u200d\u200cTea \u200d a\u200d\u200d\ud83d", startedMs }, "txt"),
    "2026-11-08 09.03 Tea a\u200d.txt");
  const cut = fileName({ title: `${"a".repeat(58)} ${family}${family}`, startedMs }, "txt");
  assert.doesNotMatch(cut, /\u200d\.txt$/);
});

test("a day is that of the reader", () => {
  const zone = process.env.TZ;
  for (const [place, day] of [["Europe/Berlin", "2026-11-29"], ["America/New_York", "2026-11-28"]]) {
    process.env.TZ = place;
    assert.equal(dayStamp(new Date("2026-11-28T23:30:00Z")), day);
  }
  process.env.TZ = zone ?? "";
  if (zone === undefined) delete process.env.TZ;
});

test("no two names are equal", () => {
  const names = ["a.txt", "A.txt", "a.json", "a.txt"];
  assert.deepEqual(apart(names), ["a.txt", "A (2).txt", "a.json", "a (3).txt"]);
});
