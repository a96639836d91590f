/** Times and sizes, as the language of the page writes them. */

import { locale, t } from "./strings.js";

const DAY_MS = 86_400_000;

/** The time of day: "14:03". */
export function timeOfDay(ms) {
  return new Date(ms).toLocaleTimeString(locale(), { hour: "2-digit", minute: "2-digit" });
}

/** The day: "today", "yesterday", else with its date. */
export function dayOf(ms, nowMs) {
  const days = Math.round((midnight(ms) - midnight(nowMs)) / DAY_MS);
  if (days === 0 || days === -1) {
    const text = new Intl.RelativeTimeFormat(locale(), { numeric: "auto" }).format(days, "day");
    return text[0].toLocaleUpperCase(locale()) + text.slice(1);
  }
  return new Date(ms).toLocaleDateString(locale(), { dateStyle: "full" });
}

function midnight(ms) {
  return new Date(ms).setHours(0, 0, 0, 0);
}

/** A length: "45 s", "12 min", "1 h 5 min". */
export function lengthOf(seconds) {
  const minutes = Math.round(seconds / 60);
  if (seconds < 60) return t("length.s", { s: Math.round(seconds) });
  if (minutes < 60) return t("length.min", { min: minutes });
  return t("length.h", { h: Math.floor(minutes / 60), min: minutes % 60 });
}

/** A size: "12.3 MB". */
export function sizeOf(bytes) {
  const units = ["kilobyte", "megabyte", "gigabyte"];
  const power = Math.min(Math.max(Math.floor(Math.log10(Math.max(bytes, 1)) / 3), 1), 3);
  const size = bytes / 1000 ** power;
  const maximumFractionDigits = size < 10 ? 1 : 0;
  return size.toLocaleString(locale(), { style: "unit", unit: units[power - 1], maximumFractionDigits });
}
