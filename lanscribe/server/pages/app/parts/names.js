/** Names of files that a transcript is saved as. */

const LONGEST = 80;
const FORBIDDEN = /[\p{Cc}\p{Cs}<>:"/\\|?*\s]+/gu;
/**
 * What nobody sees, such as marks that turn the direction of text. Kept are what shapes the sign before
 * it (joiners, as in Persian and in families of emoji; variants; the letters of a flag), and the Arabic
 * and Syriac signs that Unicode counts here though they are seen.
 */
const UNSEEN = new RegExp(
  [
    /(?<![\p{L}\p{M}\p{Extended_Pictographic}\p{Emoji_Modifier}])[\u200c\u200d]/u,
    /(?<!\u{1f3f4}[\u{e0020}-\u{e007e}]*)[\u{e0020}-\u{e007f}]/u,
    /(?![\u200c\u200d\u{e0020}-\u{e007f}\p{Variation_Selector}])\p{Default_Ignorable_Code_Point}/u,
    /[\ufff9-\ufffb]/u,
  ].map((one) => one.source).join("|"),
  "gu",
);

/** A name that every system takes, as "2026-11-28 14.03 Kitchen.srt". ending: without the dot. */
export function fileName(transcript, ending) {
  const title = transcript.title.replace(UNSEEN, "").replace(FORBIDDEN, " ");
  const stem = [...`${stamp(new Date(transcript.startedMs))} ${title}`];
  const cut = stem.slice(0, LONGEST).join("").replace(stem.length > LONGEST ? /[. \u200d]+$/ : /[. ]+$/, "");
  return `${cut}.${ending}`;
}

/** The day of a Date where the reader is, as "2026-11-28". */
export function dayStamp(date) {
  return `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())}`;
}

/** The same names with numbers where two would be equal. */
export function apart(names) {
  const seen = new Map();
  return names.map((name) => {
    const count = (seen.get(name.toLowerCase()) ?? 0) + 1;
    seen.set(name.toLowerCase(), count);
    return count === 1 ? name : name.replace(/(\.\w+)$/, ` (${count})$1`);
  });
}

function stamp(date) {
  return `${dayStamp(date)} ${two(date.getHours())}.${two(date.getMinutes())}`;
}

function two(number) {
  return String(number).padStart(2, "0");
}
