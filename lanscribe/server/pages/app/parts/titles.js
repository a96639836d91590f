/** What a transcript is called, and what is told of it in a line. */

import { startOf } from "../keep/rows.js";
import { lengthOf, timeOfDay } from "../strings/formats.js";
import { locale, t } from "../strings/strings.js";

const LONGEST = 60;

/** Its title, else its first words, else when it began: of a transcript, or of its header. */
export function titleOf({ title, startedMs, words = [], start = startOf(words) }) {
  if (title) return title;
  if (!start) return t("past.silent", { time: timeOfDay(startedMs) });
  const letters = [...start];
  return letters.length <= LONGEST ? start : `${letters.slice(0, LONGEST).join("").replace(/[\s\p{Po}]+\S*$/u, "")}…`;
}

/** When, how long, and in which language. */
export function factsOf({ startedMs, durationS, language }) {
  const name = language && new Intl.DisplayNames(locale(), { type: "language", fallback: "code" });
  return [timeOfDay(startedMs), lengthOf(durationS), ...(name ? [nameOf(name, language)] : [])].join(" · ");
}

function nameOf(names, language) {
  try {
    return names.of(language);
  } catch {
    return language; // the engine's own word for it
  }
}
