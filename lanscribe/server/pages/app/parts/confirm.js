/** Asks before something that cannot be undone. */

import { h } from "../dom.js";
import { t } from "../strings/strings.js";

/** Whether the reader says yes. The focus goes back where it was. */
export function confirmed({ title, text, yes }) {
  const dialog = h("dialog", { "aria-labelledby": "confirm-title", "aria-describedby": "confirm-text" },
    h("h2", { id: "confirm-title" }, title),
    h("p", { id: "confirm-text" }, text),
    h("form", { method: "dialog", class: "actions" },
      h("button", { value: "no", autofocus: true }, t("cancel")),
      h("button", { value: "yes", class: "danger" }, yes)),
  );
  document.body.append(dialog);
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => {
      dialog.remove();
      resolve(dialog.returnValue === "yes");
    });
  });
}
