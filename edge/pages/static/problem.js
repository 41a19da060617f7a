// An error as sentences: what happened, what the device does now, what to do, and the code for whoever is called.

import { el } from "/pages/dom.js";
import { current, named, t } from "/pages/i18n.js";

/** A box with a problem, said in the page's language first; `buttons` stand below. */
export function problemBox(problem, ...buttons) {
  const silent = problem.silent;
  const said = silent ? t("problem.silent") : named("problem", problem.code ?? "", null);
  // the device's own sentences are English
  const sentences = [
    ["problem.what", problem.problem],
    ["problem.state", problem.state],
    ["problem.remedy", problem.remedy],
  ].filter(([, sentence]) => sentence);
  return el(
    "div",
    { class: "problem", role: "alert" },
    el("h2", { tabindex: "-1" }, t(silent ? "problem.silent.title" : "problem.title")),
    said && el("p", { class: "lead" }, said),
    sentences.length > 0 &&
      el(
        "dl",
        {},
        sentences.map(([key, sentence]) => [
          el("dt", {}, t(key)),
          el("dd", { lang: current() === "en" ? null : "en" }, sentence),
        ]),
      ),
    problem.code && el("p", { class: "small" }, t("problem.code"), " ", el("code", {}, problem.code)),
    buttons.length > 0 && el("p", { class: "buttons" }, buttons),
  );
}
