// Asking for a token, where the device wants one. It stays in this tab alone.

import { token } from "/pages/api.js";
import { byId, el, fill } from "/pages/dom.js";
import { t } from "/pages/i18n.js";

/**
 * Draw the form into `view` and call `shown`; `enter` is called once a token was entered, and asks again if it does
 * not fit. `wrong` is the problem with the one before.
 */
export function askToken(view, enter, shown, wrong = null) {
  const failed = wrong ?? (token.get() ? t("login.wrong") : "");
  token.forget();
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
      el("p", { class: "small" }, t("login.who")),
      el("p", { class: "input" }, el("label", { for: "token" }, t("login.token")), field, el("span", { class: "error", id: "token-error", role: "alert" }, failed)),
      el("p", { class: "buttons" }, el("button", { type: "submit", class: "primary" }, t("login.enter"))),
    ),
  );
  shown();
  field.focus();
}
