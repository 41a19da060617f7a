// Asking for a token, where the device wants one. It stays in this tab alone.

import { token } from "/pages/api.js";
import { byId, el, fill } from "/pages/dom.js";
import { t } from "/pages/i18n.js";

const REVIEWING = location.pathname === "/review";
let draw = null;

/** Draw the form anew, where it is shown, in the language in use. */
export function retell() {
  draw?.();
}

/**
 * Draw the form into `view` and call `shown`; `enter` is called once a token was entered, and asks again if it does
 * not fit. `wrong` is the key of what is wrong with the one before.
 */
export function askToken(view, enter, shown, wrong = null) {
  const failed = wrong ?? (token.get() ? "login.wrong" : null);
  token.forget();
  draw = () => {
    if (!view.hidden) askToken(view, enter, shown, failed);
  };
  const field = el("input", {
    type: "password",
    id: "token",
    autocomplete: "off",
    required: true,
    "aria-describedby": "token-error",
    "aria-invalid": failed ? "true" : null,
  });
  const submit = (event) => {
    event.preventDefault();
    const given = field.value.trim();
    if (!given) {
      byId("token-error").textContent = t("login.empty");
      return;
    }
    token.set(given);
    fill(view);
    enter();
  };
  fill(
    view,
    el(
      "form",
      { class: "login", novalidate: true, onsubmit: submit },
      el("h1", { tabindex: "-1" }, t("login.heading")),
      el("p", { class: "lead" }, t("login.lead")),
      el("p", { class: "small" }, t(REVIEWING ? "login.who.review" : "login.who")),
      el(
        "p",
        { class: "input" },
        el("label", { for: "token" }, t("login.token")),
        field,
        el("span", { class: "error", id: "token-error", role: "alert" }, failed && t(failed)),
      ),
      el("p", { class: "buttons" }, el("button", { type: "submit", class: "primary" }, t("login.enter"))),
    ),
  );
  shown();
  field.focus();
}
