// The service worker: opens the page when the box is away. The server writes before this text
// VERSION, which another page has another of, and FILES, each path with the tag that it has now.
//
// The box is always asked first, so that nothing is old after an upgrade. Only if it does not answer
// are the kept files used, which are all of one version. Everything else passes by: other pages, /v1/
// and every refusal.

/** How long the box may take to answer, before the kept files are used. */
const LONGEST_MS = 3000;
const KEPT = `lanscribe-${VERSION}`;

/** What the pages run on, by client: "kept", or "other" for a version that is not the kept one. */
const runsOn = new Map();

addEventListener("install", (event) => {
  event.waitUntil(keepAll().then(() => skipWaiting()));
});

addEventListener("activate", (event) => {
  event.waitUntil(forgetOthers().then(() => clients.claim()));
});

addEventListener("fetch", (event) => {
  const { request } = event;
  const { origin, pathname } = new URL(request.url);
  const isOurs = origin === location.origin && request.method === "GET" && Object.hasOwn(FILES, pathname);
  if (!isOurs || (pathname === "/") !== (request.mode === "navigate")) return;
  event.respondWith(pathname === "/" ? open(event) : load(event, pathname));
});

/** Keep every file as this version has it. Rejects if one is refused, or is of another version. */
async function keepAll() {
  const kept = await caches.open(KEPT);
  await Promise.all(Object.keys(FILES).map((path) => keep(kept, path)));
}

async function keep(kept, path) {
  const headers = path === "/" ? { Accept: "text/html" } : {};
  const answer = await fetch(path, { headers, cache: "no-cache", redirect: "error" });
  if (!isOfThisVersion(answer, path)) throw new Error(`${path} is not what the box has told`);
  await kept.put(path, answer);
}

/** Delete what other versions have kept. */
async function forgetOthers() {
  const names = await caches.keys();
  const others = names.filter((name) => name.startsWith("lanscribe-") && name !== KEPT);
  await Promise.all(others.map((name) => caches.delete(name)));
}

/** The document, which decides on what its page runs. */
async function open(event) {
  const client = event.resultingClientId;
  const answer = await inTime(event.request).catch(() => null);
  if (answer) {
    if (!isOfThisVersion(answer, "/")) runsOn.set(client, "other");
    return answer;
  }
  runsOn.set(client, "kept");
  return keptOr(event.request, "/");
}

/** A file of a page. */
async function load(event, path) {
  const source = runsOn.get(event.clientId);
  if (source === "other") return fetch(event.request);
  if (source === "kept") return keptOr(event.request, path);
  return inTime(event.request).catch(() => keptOr(event.request, path));
}

function isOfThisVersion(answer, path) {
  const tag = answer.headers.get("ETag")?.replace(/^W\//, "");
  return answer.ok && tag === FILES[path];
}

/** What the box answers, if it does so in time. */
async function inTime(request) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error("the box does not answer in time")), LONGEST_MS);
  });
  try {
    return await Promise.race([fetch(request), late]);
  } finally {
    clearTimeout(timer);
  }
}

/** What is kept; the browser's own failure if it has erased that. */
async function keptOr(request, path) {
  return (await caches.match(path, { cacheName: KEPT, ignoreVary: true })) ?? fetch(request);
}
