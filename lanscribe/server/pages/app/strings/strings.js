/** What the page says, in the language of its reader. */

import de from "./de.js";
import en from "./en.js";

const LANGUAGES = { en, de };
let chosen = "en";

/** The codes of the languages that the page speaks. */
export const CODES = Object.keys(LANGUAGES);

/** Speak the first of these languages (BCP 47) that is known, English if none is. */
export function speak(...wanted) {
  chosen = wanted.map((one) => one.split("-")[0].toLowerCase()).find((one) => CODES.includes(one)) ?? "en";
  document.documentElement.lang = chosen;
}

/** The text of `key`, with each {name} replaced by its value. Throws if there is no such text. */
export function t(key, values = {}, code = chosen) {
  const text = LANGUAGES[code][key];
  if (text === undefined) throw new Error(`no text is called ${key}`);
  return text.replace(/\{(\w+)\}/g, (_, name) => values[name]);
}

/** Whether there is such a text. */
export function isText(key) {
  return Object.hasOwn(LANGUAGES[chosen], key);
}

/** The text of KEY.one or KEY.other, as the language has it for this count; {count} is the count. */
export function counted(key, count, values = {}) {
  const form = new Intl.PluralRules(chosen).select(count) === "one" ? "one" : "other";
  return t(`${key}.${form}`, { count: count.toLocaleString(locale()), ...values });
}

/** What speakers of a language call it. */
export function languageName(code) {
  return new Intl.DisplayNames(code, { type: "language" }).of(code);
}

/** The language of dates and numbers: the reader's own kind of the language that the page speaks. */
export function locale() {
  const own = globalThis.navigator?.languages?.find((one) => one.split("-")[0].toLowerCase() === chosen);
  return own ?? chosen;
}
