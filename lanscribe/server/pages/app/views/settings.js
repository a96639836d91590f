/** The view "settings". */

import { h } from "../dom.js";
import { t } from "../strings/strings.js";

export class SettingsView {
  /** root: the section of the page that it fills. app: what the views share. */
  constructor(root, app) {
    this.root = root;
    this.app = app;
    root.append(h("h1", { id: "settings-title" }, t("nav.settings")));
  }

  /** The view comes into sight; rest: what follows #settings/ in the address. */
  show(_rest) {}

  /** Another view comes into sight. */
  hide() {}
}
