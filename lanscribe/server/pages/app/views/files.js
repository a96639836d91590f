/** The view "files": recordings that the box writes down, one after the other. */

import { h } from "../dom.js";
import { FileJob } from "../parts/file_job.js";
import { WakeLock } from "../parts/wake_lock.js";
import { t } from "../strings/strings.js";

export class FilesView {
  #app;
  #jobs = new Set();
  #running = null;
  #wakeLock = new WakeLock();

  /** root: the section of the page that it fills. app: what the views share. */
  constructor(root, app) {
    this.root = root;
    this.#app = app;
    this.input = h("input", { type: "file", multiple: true, hidden: true, onchange: () => this.#choose() });
    this.choose = h("button", { type: "button", class: "first", onclick: () => this.input.click() }, t("files.choose"));
    this.list = h("div", { class: "file-list" });
    const drop = h("p", { class: "quiet by-mouse" }, t("files.drop"));
    const lead = h("p", { class: "quiet" }, t("files.lead"));
    root.append(h("h1", { id: "files-title" }, t("nav.files")),
      h("div", { class: "drop" }, this.choose, this.input, drop, lead), this.list);
    this.#takeDrops();
    addEventListener("beforeunload", (event) => this.#running && event.preventDefault());
  }

  /** The view comes into sight; rest: what follows #files/ in the address. */
  show(_rest) {}

  /** Another view comes into sight; files go on. */
  hide() {}

  #choose() {
    this.#add(this.input.files);
    this.input.value = ""; // so that the same file can be chosen again
  }

  /** Files may be dropped anywhere on the page. */
  #takeDrops() {
    const { dataset } = document.documentElement;
    const hasFiles = (event) => event.dataTransfer?.types.includes("Files");
    addEventListener("dragover", (event) => {
      if (!hasFiles(event)) return;
      event.preventDefault();
      dataset.dropping = "";
    });
    addEventListener("dragleave", (event) => event.relatedTarget || delete dataset.dropping);
    addEventListener("drop", (event) => {
      delete dataset.dropping;
      if (!hasFiles(event)) return;
      event.preventDefault();
      this.#add(event.dataTransfer.files);
      this.#app.go("files");
    });
  }

  #add(files) {
    for (const file of files) {
      const job = new FileJob(this.#app, file, {
        onchange: () => this.#next(),
        onremove: () => this.#remove(job),
      });
      this.#jobs.add(job);
      this.list.append(job.root);
    }
    this.#next();
  }

  #remove(job) {
    this.#jobs.delete(job);
    job.root.remove();
    this.choose.focus();
  }

  /** Begin with the next file, if none is under way. */
  async #next() {
    const job = [...this.#jobs].find((one) => one.state === "waiting");
    this.#wakeLock.set(Boolean(this.#running ?? job));
    if (this.#running || !job) return;
    this.#running = job;
    await job.run().finally(() => (this.#running = null));
    this.#next();
  }
}
