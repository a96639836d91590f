/** The view "past". */

import { h } from "../dom.js";
import { t } from "../strings/strings.js";

export class PastView {
  /** root: the section of the page that it fills. app: what the views share. */
  constructor(root, app) {
    this.root = root;
    this.app = app;
    root.append(h("h1", { id: "past-title" }, t("nav.past")));
  }

  /** The view comes into sight; rest: what follows #past/ in the address. */
  show(_rest) {}

  /** Another view comes into sight. */
  hide() {}
}
