/** The address that a scanned code has: the fingerprint of the box's authority as its fragment. */

import { ask, askWorker, verdictOf } from "../../trust_check.js";

const FINGERPRINT = /^#[\w-]{43}$/;

/** Lead a device that does not trust the box to the steps for that; another one to the live view. */
export async function leadScanned(app) {
  const { hash, host, hostname, protocol } = location;
  if (!FINGERPRINT.test(hash)) return;
  try {
    const { hosts, port, fingerprint } = await boxOf("/trust");
    const box = { protocol, host: hostname, hosts: JSON.parse(hosts), port, fingerprint };
    if ((await verdictOf(box, ask, askWorker)) !== "trusted") location.replace(`/trust${hash}`);
    else if (protocol === "https:") app.go("live");
    else location.replace(`https://${host.replace(/:\d+$/, "")}:${port}/`);
  } catch {
    location.replace(`/trust${hash}`);
  }
}

/** What the page for that knows of the box. */
async function boxOf(path) {
  const page = await (await fetch(path, { cache: "no-store" })).text();
  return new DOMParser().parseFromString(page, "text/html").getElementById("check").dataset;
}
