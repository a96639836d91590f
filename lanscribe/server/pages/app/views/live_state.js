/** What the live view says of itself: one state in a word or two, and what to do about it. */

const BEHIND_S = 6;
const CAUGHT_UP_S = 3; // until then it stays behind, so that the words do not flicker
const PACE_MS = 120_000; // so often, at most, a change of pace is told
const PACES = ["listening", "behind"];
const AWAY_MS = 2500; // shorter breaks are not worth a word
const CAUSES = new Map([
  ["loading", "loading"],
  ["engine_unavailable", "loading"],
  ["busy", "busy"],
  ["server_busy", "busy"],
  ["locked", "locked"],
  ["unauthorized", "locked"],
  ["too_many_guesses", "locked"],
  ["refused", "refused"],
  ["not_allowed", "refused"],
  ["processing_error", "failing"],
  ["internal", "failing"],
]);
/** States of the microphone that need the person to do something first. */
export const STUCK = ["refused", "none", "taken", "failed"];

/**
 * {state, key, link}: `state` is the kind; `key`: of the strings live.KEY (the state) and
 * live.KEY.do (what to do); link: where it can be done, undefined if nowhere.
 *
 * microphone: its state. isListening: whether the person wants to be heard. talk: as of talk.js, or
 * null. isMuted: the sound is nothing but zeros. hasBegun: whether there is a transcript. wasBehind:
 * whether the state before was "behind".
 */
export function stateOf({ microphone, isListening, isMuted, hasBegun, talk, nowMs, wasBehind = false }) {
  if (STUCK.includes(microphone)) return { state: "stuck", key: `mic.${microphone}` };
  if (microphone === "asking") return { state: "asking", key: "mic.asking" };
  const away = talk && awayOf(talk, nowMs, isListening);
  if (isListening) return away ?? soundOf(microphone, isMuted) ?? pace(talk, wasBehind);
  if (talk && !talk.isSettled) return away ?? { state: "ending", key: "ending" };
  return hasBegun ? { state: "paused", key: "paused" } : { state: "ready", key: "ready" };
}

function awayOf(talk, nowMs, isListening) {
  if (talk.awaySinceMs === null || nowMs - talk.awaySinceMs < AWAY_MS) return null;
  const cause = CAUSES.get(talk.why) ?? "away";
  const link = cause === "locked" ? "/sign-in?next=/" : undefined;
  return { state: "away", key: `away.${cause}`, link, isListening };
}

function soundOf(microphone, isMuted) {
  const isInterrupted = microphone === "interrupted" || microphone === "gone";
  if (isInterrupted) return { state: "interrupted", key: `mic.${microphone}` };
  return isMuted ? { state: "muted", key: "mic.muted" } : null;
}

function pace(talk, wasBehind) {
  const key = talk?.lagS > (wasBehind ? CAUGHT_UP_S : BEHIND_S) ? "behind" : "listening";
  return { state: key, key };
}

/** Which states a screen reader is told: each that begins, but not how a slow box falls behind and catches up. */
export class Telling {
  #key = "";
  #pacedAtMs = -Infinity;

  /** Whether to tell the state with this key, which is shown now. */
  isNews(key, nowMs) {
    const before = this.#key;
    this.#key = key;
    if (!before || before === key) return false;
    if (!PACES.includes(before) || !PACES.includes(key)) return true;
    if (nowMs - this.#pacedAtMs < PACE_MS) return false;
    this.#pacedAtMs = nowMs;
    return true;
  }
}
