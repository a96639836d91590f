/** The microphone of the device, and everything that keeps it from recording. */

const RECORDER = new URL("./recorder.js", import.meta.url);
const SILENT_MS = 2000; // without a block
const STUCK_MS = 8000;
const AGAIN_MS = 3000;
const ALIASES = ["default", "communications"]; // Chromium lists a device under them once more
const REASONS = new Map([
  ["NotAllowedError", "refused"],
  ["SecurityError", "refused"],
  ["NotFoundError", "none"],
  ["OverconstrainedError", "none"],
  ["NotReadableError", "taken"],
  ["AbortError", "taken"],
]);

/** Whether this page may have a microphone at all; browsers give it over https only. */
export function hasMicrophone() {
  return Boolean(isSecureContext && navigator.mediaDevices?.getUserMedia && window.AudioWorkletNode);
}

/** The microphones, [{id, label}]; labels are empty until the person has allowed one. */
export async function microphones() {
  const devices = await navigator.mediaDevices.enumerateDevices();
  return devices
    .filter(({ kind, deviceId }) => kind === "audioinput" && !ALIASES.includes(deviceId))
    .map(({ deviceId, label }) => ({ id: deviceId, label }));
}

/**
 * Records, and goes on by itself as soon as the system allows.
 *
 * state: "off"; "asking" (the person has to allow it); "on"; "interrupted" (muted, a call, a locked
 * screen); "gone" (unplugged); "refused", "none", "taken", "failed" (it could not be had).
 * onblock(samples): Int16Array of 16 kHz. onchange(): the state, the label, or the list has changed.
 */
export class Microphone {
  state = "off";
  /** The name of the device that records. */
  label = "";
  /** Whether the wanted device is absent, so that another one records. */
  isOther = false;

  #onblock;
  #onchange;
  #wanted = "";
  #context = null;
  #loaded = null; // its recorder, a promise
  #stream = null;
  #source = null;
  #node = null;
  #blockAtMs = 0;
  #triedAtMs = 0;
  #try = 0; // the number of the newest attempt to start

  constructor({ onblock, onchange }) {
    this.#onblock = onblock;
    this.#onchange = onchange;
    navigator.mediaDevices?.addEventListener?.("devicechange", () => this.#devicesChanged());
    for (const name of ["visibilitychange", "resume"]) document.addEventListener(name, () => this.wake());
    addEventListener("pageshow", () => this.wake());
  }

  /** Whether the person wants it to record. */
  get isWanted() {
    return this.state !== "off";
  }

  /** Start to record, after a click or a tap. id: of `microphones`; "": the one of the system. */
  start(id = "") {
    this.#wanted = id;
    return this.#open({ isAgain: false });
  }

  /** Start again after a loss, as long as it takes. */
  #reopen() {
    this.#triedAtMs = performance.now();
    return this.#open({ isAgain: true });
  }

  async #open({ isAgain }) {
    this.#release();
    this.#try += 1;
    const mine = this.#try;
    if (!isAgain) this.#change("asking");
    try {
      const [stream] = await Promise.all([this.#ask(this.#wanted), this.#prepare()]);
      if (mine === this.#try) this.#connect(stream);
      else stopTracks(stream);
    } catch (error) {
      const reason = REASONS.get(error.name) ?? "failed";
      if (mine === this.#try) this.#change(isAgain && reason !== "refused" ? "gone" : reason);
    }
  }

  /** One context for all starts: a new one would load the recorder anew, and the box may be away. */
  async #prepare() {
    this.#context ??= new AudioContext(); // within the click: Safari wants that
    const context = this.#context;
    context.onstatechange = () => context.state !== "running" && this.#stall();
    context.resume().catch(() => {});
    this.#loaded ??= context.audioWorklet.addModule(RECORDER);
    try {
      await this.#loaded;
    } catch (error) {
      this.#loaded = null;
      throw error;
    }
  }

  /** A context that gives nothing although its device is there is given up. */
  #renew() {
    this.#context.onstatechange = null;
    this.#context.close();
    this.#context = this.#loaded = null;
    this.#reopen();
  }

  /** End recording, and let the device go. */
  stop() {
    this.#try += 1;
    this.#release();
    this.#context?.suspend();
    this.#change("off");
  }

  /** The system may allow it again: try. */
  wake() {
    if (!this.#stream || document.hidden) return;
    if (this.#stream.getAudioTracks()[0].readyState === "ended") this.#reopen();
    else if (this.#context.state !== "running") this.#context.resume().catch(() => {});
  }

  /** Look whether it still gives sound; to be called from time to time. */
  check(nowMs = performance.now()) {
    if (this.state === "gone" && !document.hidden && nowMs - this.#triedAtMs > AGAIN_MS) this.#reopen();
    if (!this.#stream) return;
    const silentMs = nowMs - this.#blockAtMs;
    if (this.state === "on" && silentMs > SILENT_MS) this.#change("interrupted");
    if (this.state !== "interrupted" || document.hidden) return;
    if (silentMs > STUCK_MS && !this.#stream.getAudioTracks()[0].muted) this.#renew();
    else this.wake();
  }

  async #ask(id) {
    const audio = { echoCancellation: false, noiseSuppression: false, autoGainControl: true, channelCount: 1 };
    this.isOther = false;
    if (id) {
      try {
        return await navigator.mediaDevices.getUserMedia({ audio: { ...audio, deviceId: { exact: id } } });
      } catch (error) {
        if (REASONS.get(error.name) !== "none") throw error;
        this.isOther = true;
      }
    }
    return navigator.mediaDevices.getUserMedia({ audio });
  }

  #connect(stream) {
    const [track] = stream.getAudioTracks();
    const context = this.#context;
    [this.#stream, this.label] = [stream, track.label];
    this.#source = context.createMediaStreamSource(stream);
    this.#node = new AudioWorkletNode(context, "recorder", { numberOfInputs: 1, numberOfOutputs: 1 });
    this.#source.connect(this.#node);
    this.#node.connect(context.destination); // silence; some browsers run nothing that leads nowhere
    this.#node.port.onmessage = ({ data }) => this.#take(data, track);
    this.#blockAtMs = performance.now();
    track.onmute = () => this.#change("interrupted");
    track.onunmute = () => this.wake();
    track.onended = () => this.#lose();
    this.#change("on");
  }

  #take(samples, track) {
    if (track.muted && samples.every((sample) => sample === 0)) return; // the system records nothing
    this.#blockAtMs = performance.now();
    if (this.state !== "on") this.#change("on");
    this.#onblock(samples);
  }

  #stall() {
    if (this.#stream && this.state === "on") this.#change("interrupted");
    this.wake();
  }

  /** The device is gone, or the system has taken it away. */
  #lose() {
    this.#release();
    this.#change("gone");
    if (!document.hidden) this.#reopen();
  }

  #devicesChanged() {
    if (this.state === "gone") this.#reopen();
    else this.#onchange();
  }

  #release() {
    if (this.#node) {
      this.#node.port.onmessage = null;
      this.#node.port.postMessage("end");
      this.#node.disconnect();
      this.#source.disconnect();
    }
    if (this.#stream) stopTracks(this.#stream);
    this.#node = this.#source = this.#stream = null;
  }

  #change(state) {
    this.state = state;
    this.#onchange();
  }
}

function stopTracks(stream) {
  for (const track of stream.getTracks()) {
    track.onended = track.onmute = track.onunmute = null;
    track.stop();
  }
}
