/** What the box says of itself, so that a person learns why it does not transcribe. */

const PATIENCE_MS = 5000;
const STATES = new Map([[401, "locked"], [403, "refused"], [503, "loading"]]);

/**
 * {state, engine, model, languages}. state: "ready"; "loading" (the engine); "busy" (all its sessions
 * are taken); "locked" (it wants the key); "refused" (it serves only its home network); "away".
 *
 * get(path): the Response, as `fetch` from the box.
 */
export async function lookAtBox(get = fromBox) {
  const found = { state: "away", engine: "", model: "", languages: [] };
  try {
    const health = await get("/health");
    if (health.status === 401 || health.status === 403) return { ...found, state: stateOf(health.status) };
    const { status, engine, model, sessions, capacity } = await health.json();
    if (status === "loading") return { ...found, state: "loading" };
    if (!health.ok) return found;
    Object.assign(found, { state: sessions < capacity ? "ready" : "busy", engine, model });
    const models = await get("/v1/models");
    if (!models.ok) return { ...found, state: stateOf(models.status) };
    return { ...found, languages: (await models.json()).data?.[0]?.languages ?? [] };
  } catch {
    return { ...found, state: "away" };
  }
}

function stateOf(status) {
  return STATES.get(status) ?? "away";
}

function fromBox(path) {
  return fetch(path, { cache: "no-store", signal: AbortSignal.timeout(PATIENCE_MS) });
}
