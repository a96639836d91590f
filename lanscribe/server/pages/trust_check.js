/** How long one name of the box may take to answer. */
const LONGEST_MS = 5000;
/** How many names are tried: a box in several networks has many addresses. */
const MOST_HOSTS = 8;

/**
 * Whether this device trusts the box: "trusted", "refused" or "unknown".
 *
 * An exception after a warning counts for one host only, so the other hosts of the certificate are
 * asked. What the host of the page itself says depends on how the page came. Over http, a refusal
 * counts: the box is there, and yet gives no https. Over https, Chromium tells by a service worker.
 *
 * asks(url): the fingerprint that the box at an address has, or a rejected promise.
 * tells(): "trusted", "refused" or "unknown", for a page over https.
 */
export async function verdictOf({ protocol, host, hosts, port, fingerprint }, asks, tells) {
  const isTrusted = (name) =>
    asks(`https://${name}:${port}/trust/check`).then((found) => found === fingerprint);
  const others = hosts.filter((name) => name !== host).slice(0, MOST_HOSTS);
  if (await anyOf(others.map(isTrusted))) return "trusted";
  if (protocol === "https:") return tells();
  if (hosts.includes(host) && !(await anyOf([isTrusted(host)]))) return "refused";
  return "unknown";
}

/** Whether one of the promises brings true, as soon as one does. */
async function anyOf(promises) {
  const demanded = promises.map((one) => one.then((is) => is || Promise.reject(new Error("no"))));
  return Promise.any(demanded).catch(() => false);
}

/** The fingerprint that the box at `url` says it has; rejects if this browser does not trust it. */
export async function ask(url) {
  const timeout = AbortSignal.timeout(LONGEST_MS);
  const answer = await fetch(url, { cache: "no-store", credentials: "omit", signal: timeout });
  return (await answer.json()).fingerprint;
}

/**
 * What Chromium thinks of the certificate of this page: it refuses service workers where the user went
 * past a warning. Other browsers take them then too, so nothing follows.
 */
export async function askWorker() {
  if (!/Chrome\//.test(navigator.userAgent) || !navigator.serviceWorker) return "unknown";
  try {
    const registration = await navigator.serviceWorker.register("/pages/empty_worker.js");
    await registration.unregister();
    return "trusted";
  } catch (error) {
    return /certificate/.test(error.message) ? "refused" : "unknown";
  }
}
