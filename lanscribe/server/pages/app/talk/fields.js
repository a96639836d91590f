/** What the box tells, as fields that have their types: one of another type counts as absent. */

const TEXTS = ["type", "code", "error", "delta", "text", "tentative", "notice"];
const TIMES = ["start_s", "end_s", "duration_s"];
const COUNTS = ["seq", "received_samples", "received_commits"];

/** The object that a JSON text is; an empty one if it is no text, no JSON or no object. */
export function fieldsOf(json) {
  try {
    return typeof json === "string" ? objectOf(JSON.parse(json)) : {};
  } catch {
    return {};
  }
}

/** A value as an object with fields; an empty one if it is none. */
export function objectOf(value) {
  return typeof value === "object" && value !== null && !Array.isArray(value) ? value : {};
}

/** A field as a text; "" if it is absent or none. */
export function textOf(event, name) {
  return typeof event[name] === "string" ? event[name] : "";
}

/** A field as a whole number; 0 if it is absent or none. */
export function countOf(event, name) {
  return Number.isSafeInteger(event[name]) && event[name] > 0 ? event[name] : 0;
}

/** A field as a time in seconds; null if it is absent or not a time. */
export function secondsOf(event, name) {
  const value = event[name];
  return typeof value === "number" && value >= 0 && value < 1e6 ? value : null;
}

/** A field as parts of the sound, [startS, endS][]: those that have both times, and are not empty. */
export function partsOf(event, name, start, end) {
  const parts = [event[name] ?? []].flat().map(objectOf); // an error has one part, not a list
  return parts.map((part) => [secondsOf(part, start), secondsOf(part, end)]).filter(isPart);
}

function isPart([startS, endS]) {
  return startS !== null && endS !== null && endS > startS;
}

/** A message of a talk as an event whose fields can be relied on; null if it is none. */
export function eventOf(message) {
  const told = fieldsOf(message);
  if (!textOf(told, "type")) return null;
  const event = {};
  for (const name of TEXTS) event[name] = textOf(told, name);
  for (const name of TIMES) event[name] = secondsOf(told, name);
  for (const name of COUNTS) event[name] = countOf(told, name);
  const { token, keep_s } = objectOf(told.resume);
  if (token && typeof token === "string") event.resume = { token, keep_s };
  event.lost = partsOf(told, "lost", "start_s", "end_s").map(([start_s, end_s]) => ({ start_s, end_s }));
  return event;
}
