/** What the page says, in the language of its reader. */

import de from "./de.js";
import en from "./en.js";

const LANGUAGES = { en, de };
let chosen = en;

/** The codes of the languages that the page speaks. */
export const CODES = Object.keys(LANGUAGES);

/** Speak the first of these languages (BCP 47) that is known, English if none is. */
export function speak(...wanted) {
  const code = wanted.map((one) => one.split("-")[0].toLowerCase()).find((one) => one in LANGUAGES) ?? "en";
  chosen = LANGUAGES[code];
  document.documentElement.lang = code;
}

/** The text of `key`, with each {name} replaced by its value. Throws if there is no such text. */
export function t(key, values = {}) {
  const text = chosen[key];
  if (text === undefined) throw new Error(`no text is called ${key}`);
  return text.replace(/\{(\w+)\}/g, (_, name) => values[name]);
}
