/** Names of files that a transcript is saved as. */

const LONGEST = 80;

/** A name that every system takes, as "2026-11-28 14.03 Kitchen.srt". ending: without the dot. */
export function fileName(transcript, ending) {
  const title = transcript.title.replace(/[\p{Cc}\p{Cf}<>:"/\\|?*]+/gu, " ").replace(/\s+/g, " ");
  const stem = `${stamp(new Date(transcript.startedMs))} ${title}`;
  return `${[...stem].slice(0, LONGEST).join("").replace(/[. ]+$/, "")}.${ending}`;
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
  const two = (number) => String(number).padStart(2, "0");
  const day = `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())}`;
  return `${day} ${two(date.getHours())}.${two(date.getMinutes())}`;
}
