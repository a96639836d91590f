/** The page /trust: opens the section of this device, and checks whether it trusts the box. */
import { sectionsFor } from "./device.js";
import { ask, askWorker, verdictOf } from "./trust_check.js";

const WORDS = {
  trusted: {
    state: "good",
    verdict: "Yes: this device trusts the box.",
    advice: "There is nothing more to do here.",
  },
  refused: {
    state: "caution",
    verdict: "Not yet: this device does not trust the box.",
    advice: "Do the steps for your device below, then come back: this page checks again.",
  },
  unknown: {
    state: "caution",
    verdict: "This page cannot tell.",
    advice:
      "The browser did not accept any other name of the box. If it warned you before it showed " +
      "this page, the device does not trust the box yet: do the steps below. If it did not warn you, " +
      "it does.",
  },
};
const ONLY_OVER_HTTPS =
  "Over http no browser warns. Open the https address: if the browser warns you there, the device does " +
  "not trust the box yet: do the steps below. If it does not warn you, and you have not gone past its " +
  "warning before, it does.";
const SAME =
  "The code that you scanned has the fingerprint that this page shows. A changed page could lie about " +
  "this too: compare what your device shows of the certificate.";
const ANOTHER =
  "Stop: the code that you scanned has another fingerprint than this page. Something between this " +
  "device and the box may have changed the page, or the box has made a new authority since.";

const element = (id) => document.getElementById(id);

/** Say what the fragment of the address, which a scanned code has, means for the fingerprint. */
function compareScanned(fingerprint) {
  const scanned = location.hash.slice(1);
  if (!/^[\w-]{43}$/.test(scanned)) return;
  const bytes = fingerprint.split(":").map((pair) => parseInt(pair, 16));
  const own = btoa(String.fromCharCode(...bytes))
    .replaceAll("+", "-")
    .replaceAll("/", "_")
    .replace("=", "");
  const isSame = own === scanned;
  element("scanned").textContent = isSame ? SAME : ANOTHER;
  element("scanned").className = isSame ? "quiet" : "state bad";
  element("scanned").hidden = false;
  element("compare").dataset.state = isSame ? "" : "bad";
}

/** Open what concerns this device, and close the rest. */
function openOwnSection() {
  const ids = sectionsFor(navigator.userAgent, navigator.maxTouchPoints);
  if (ids.length === 0) return;
  const sections = [...document.querySelectorAll("details")];
  for (const section of sections) section.open = ids.includes(section.id);
  for (const id of ids.reverse()) element("detected").after(element(id));
  element("detected").textContent = "The steps for this device are open.";
}

/** Open the section that a link on the page leads to. */
function openTarget() {
  const target = element(location.hash.slice(1));
  if (target instanceof HTMLDetailsElement) target.open = true;
}

class Check {
  #isRunning = false;

  constructor(card) {
    const { hosts, port, fingerprint } = card.dataset;
    this.card = card;
    this.box = {
      protocol: location.protocol,
      host: location.hostname,
      hosts: JSON.parse(hosts),
      port,
      fingerprint,
    };
  }

  /** Check, and tell the result. The live region changes only if the words do, or if asked for. */
  async run(isAskedFor) {
    if (this.#isRunning) return;
    this.#isRunning = true;
    element("again").setAttribute("aria-disabled", "true");
    try {
      this.#show(await verdictOf(this.box, ask, askWorker), isAskedFor);
    } finally {
      element("again").removeAttribute("aria-disabled");
      this.#isRunning = false;
    }
  }

  #show(verdict, isAskedFor) {
    const words = WORDS[verdict];
    const isUntold = verdict === "unknown" && this.box.protocol === "http:";
    this.card.dataset.state = words.state;
    element("go").hidden = verdict !== "trusted" && !isUntold;
    element("advice").textContent = isUntold ? ONLY_OVER_HTTPS : words.advice;
    const said = isAskedFor ? `Checked at ${new Date().toLocaleTimeString()}: ${words.verdict}` : words.verdict;
    if (!element("verdict").textContent.endsWith(words.verdict) || isAskedFor) {
      element("verdict").textContent = said;
    }
  }
}

const check = new Check(element("check"));
element("check").hidden = false;
openOwnSection();
openTarget();
compareScanned(check.box.fingerprint);
addEventListener("hashchange", openTarget);
element("again").addEventListener("click", () => check.run(true));
document.addEventListener("visibilitychange", () => document.hidden || check.run(false));
check.run(false);
