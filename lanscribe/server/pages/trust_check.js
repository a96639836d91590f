/** How long one name of the box may take to answer. */
const LONGEST_MS = 5000;
/** How many names are tried: a box in several networks has many addresses. */
const MOST_HOSTS = 8;

/**
 * Whether this device trusts the box: "trusted", "refused" or "unknown".
 *
 * An exception after a warning counts for one host only, so the other hosts of the certificate are
 * asked. The page itself came over plain http or by such an exception, or from a trusted box: from the
 * host of a page over https nothing follows. From that of a page over http a refusal follows, because the box is
 * there and yet gives no https.
 *
 * asks(url): the fingerprint that the box at an address has, or a rejected promise.
 */
export async function verdictOf({ protocol, host, hosts, port, fingerprint }, asks) {
  const isTrusted = (name) =>
    asks(`https://${name}:${port}/trust/check`).then((found) => found === fingerprint);
  const others = hosts.filter((name) => name !== host).slice(0, MOST_HOSTS);
  if (await anyOf(others.map(isTrusted))) return "trusted";
  if (protocol === "http:" && hosts.includes(host) && !(await anyOf([isTrusted(host)]))) {
    return "refused";
  }
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
