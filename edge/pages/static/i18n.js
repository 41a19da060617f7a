// Two languages. The page's own text carries data-t, data-t-label or data-t-placeholder; the rest asks `t`.

import { en } from "/pages/words-en.js";
import { zh } from "/pages/words-zh.js";

const KEY = "edgekit.language";
const WORDS = { zh, en };
const LANGUAGES = { zh: "zh-CN", en: "en" };
let language = localStorage.getItem(KEY) === "en" ? "en" : "zh";

/** The language in use, zh or en. */
export function current() {
  return language;
}

/** A sentence, its {names} filled in; the key itself where there is none. */
export function t(key, values = {}) {
  const sentence = WORDS[language][key] ?? key;
  return sentence.replace(/\{(\w+)\}/g, (_, name) => values[name] ?? "");
}

/** A word of a family such as `field.name`, or `otherwise` where the family has none of that name. */
export function named(family, name, otherwise = name) {
  return WORDS[language][`${family}.${name}`] ?? otherwise;
}

/** Yuan with two decimals, or none where there are none. */
export function yuan(amount) {
  const digits = Number.isInteger(amount) ? 0 : 2;
  const options = { minimumFractionDigits: digits, maximumFractionDigits: digits };
  const plain = new Intl.NumberFormat(LANGUAGES[language], options).format(Math.abs(amount));
  return `${amount < 0 ? "-" : ""}${t("yuan", { amount: plain })}`;
}

/** A time, to the minute, in this device's zone. */
export function moment(iso) {
  const options = { dateStyle: "medium", timeStyle: "short" };
  return new Intl.DateTimeFormat(LANGUAGES[language], options).format(new Date(iso));
}

/** Whole per cent of a share, rounded down: what is not certain is never 100%. */
export function percent(share) {
  return `${Math.floor(100 * share + 1e-9)}%`;
}

/** Put the page into the language in use, and let `button` change it; `changed` redraws what scripts drew. */
export function translate(button, changed) {
  apply();
  button.addEventListener("click", () => {
    language = language === "zh" ? "en" : "zh";
    localStorage.setItem(KEY, language);
    apply();
    changed();
  });
}

function apply() {
  document.documentElement.lang = LANGUAGES[language];
  for (const node of document.querySelectorAll("[data-t]")) node.textContent = t(node.dataset.t);
  for (const node of document.querySelectorAll("[data-t-label]"))
    node.setAttribute("aria-label", t(node.dataset.tLabel));
  for (const node of document.querySelectorAll("[data-t-placeholder]")) {
    node.setAttribute("placeholder", t(node.dataset.tPlaceholder));
  }
}
