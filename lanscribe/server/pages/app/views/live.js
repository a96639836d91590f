/** The view "live". */

import { h } from "../dom.js";
import { t } from "../strings/strings.js";

export class LiveView {
  /** root: the section of the page that it fills. app: what the views share. */
  constructor(root, app) {
    this.root = root;
    this.app = app;
    root.append(h("h1", { id: "live-title" }, t("nav.live")));
  }

  /** The view comes into sight; rest: what follows #live/ in the address. */
  show(_rest) {}

  /** Another view comes into sight. */
  hide() {}
}
