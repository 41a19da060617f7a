// The kiosk: enter, wait, see the result.

import { call, Problem } from "/pages/api.js";
import { reasonBars, scoreBar } from "/pages/charts.js";
import { byId, el, fill, show } from "/pages/dom.js";
import { Form } from "/pages/form.js";
import { moment, named, t, translate } from "/pages/i18n.js";
import { watchIdle } from "/pages/idle.js";
import { askToken, retell } from "/pages/login.js";
import { anchor, paperTitle, paperView } from "/pages/papers.js";
import { problemBox } from "/pages/problem.js";

const IDLE_MINUTES = 3;
const views = ["form-view", "work-view", "result-view", "token-view"].map(byId);
const [formView, workView, resultView, tokenView] = views;
const say = (sentence) => {
  byId("announce").textContent = sentence;
};
const form = new Form(say);
let stop = null;
let outcome = null; // {receipt, files} or {problem}
let sent = {}; // {what, key}: the same papers and words sent again, without an answer, are the same request
let papers = [];

async function send() {
  if (!form.check()) return;
  const files = form.files;
  const body = new FormData();
  const application = JSON.stringify(form.application());
  body.append("application", new Blob([application], { type: "application/json" }), "application.json");
  const what = JSON.stringify([application, files.map(({ name, file }) => [name, file.size, file.lastModified])]);
  if (sent.what !== what) sent = { what, key: newKey() };
  for (const { name, file } of files) body.append(name, file, name);
  stop = new AbortController();
  byId("work-say").textContent = files.length ? t("work.say", { count: files.length }) : t("work.say.none");
  const begin = Date.now();
  const tell = () => {
    byId("work-time").textContent = t("work.seconds", { seconds: Math.floor((Date.now() - begin) / 1000) });
  };
  tell();
  const clock = setInterval(tell, 1000);
  show(workView, views);
  try {
    const answer = await call("/v1/score", {
      method: "POST",
      body,
      signal: stop.signal,
      extra: { "Idempotency-Key": sent.key },
    });
    outcome = { receipt: await answer.json(), files: new Map(files.map(({ name, file }) => [name, file])) };
    sent = {};
  } catch (error) {
    if (error.name === "AbortError") return show(formView, views);
    if (error.status === 401) return askToken(tokenView, send, () => show(tokenView, views));
    outcome = { problem: error instanceof Problem ? error : new Problem({}) };
  } finally {
    clearInterval(clock);
    stop = null;
  }
  render();
  show(resultView, views);
  return undefined;
}

function newKey() {
  return Array.from(crypto.getRandomValues(new Uint32Array(4)), (word) => word.toString(16).padStart(8, "0")).join("");
}

function render() {
  for (const paper of papers) paper.release();
  papers = [];
  if (!outcome) return;
  if (outcome.problem) {
    const back = el(
      "button",
      { type: "button", class: "quiet", onclick: () => show(formView, views) },
      t("problem.back"),
    );
    const again = el("button", { type: "button", class: "primary", onclick: send }, t("problem.again"));
    fill(resultView, problemBox(outcome.problem, again, back));
    return;
  }
  const { receipt, files } = outcome;
  papers = receipt.documents.map((paper, index) => {
    const evidence = receipt.reasons.flatMap((reason) => reason.evidence).filter((item) => item.file === paper.file);
    return paperView(paper, paperTitle(receipt.documents, index), evidence, async () => files.get(paper.file) ?? null);
  });
  fill(
    resultView,
    el(
      "div",
      { class: `verdict ${receipt.decision}` },
      el("h1", { tabindex: "-1" }, named("decision", receipt.decision)),
      el("p", { class: "lead" }, t(`decision.${receipt.decision}.say`)),
    ),
    el(
      "div",
      { class: "columns" },
      el(
        "section",
        { "aria-label": t("reasons") },
        el("h2", {}, t("reasons")),
        scoreBar(receipt),
        reasonBars(receipt.reasons, (item) => item.file && `#${anchor(item.file)}`, { folded: true }),
      ),
      el("section", { "aria-label": t("receipt") }, el("h2", {}, t("receipt")), facts(receipt)),
    ),
    papers.length > 0 &&
      el(
        "section",
        { "aria-label": t("papers") },
        el("h2", {}, t("papers")),
        el("p", { class: "small legend" }, t("papers.legend")),
        papers,
      ),
    el(
      "p",
      { class: "buttons main-buttons" },
      el("button", { type: "button", class: "primary", onclick: leave }, t("result.next")),
      el("button", { type: "button", onclick: () => window.print() }, t("result.print")),
    ),
  );
}

function facts(receipt) {
  const { code, authority, since } = { code: receipt.offline.journal, ...receipt.offline };
  const entries = [
    ["fact.application", receipt.application_id],
    ["fact.code", code],
    ["fact.decision", receipt.decision_id],
    ["fact.time", moment(receipt.time)],
    ["fact.authority", named("grant", authority)],
    ["fact.since", since && moment(since)],
    ["fact.bundle", `${receipt.bundle.name} ${receipt.bundle.version}`],
    ["fact.device", receipt.device_id],
  ].filter(([, value]) => value);
  return el(
    "dl",
    { class: "facts" },
    entries.map(([key, value]) => [
      el("dt", {}, t(key)),
      el("dd", { class: key === "fact.code" ? "code" : null }, value),
    ]),
  );
}

/** Forget this applicant. */
function leave() {
  stop?.abort();
  outcome = null;
  render();
  fill(resultView);
  form.clear();
  sent = {};
  show(formView, views);
}

byId("form").addEventListener("submit", (event) => {
  event.preventDefault();
  send();
});
byId("clear").addEventListener("click", leave);
byId("work-stop").addEventListener("click", () => stop?.abort());
translate(byId("language"), () => {
  form.render();
  render();
  retell();
});
form.render();
window.addEventListener("pagehide", leave);
watchIdle(IDLE_MINUTES, () => !stop && (outcome !== null || !form.empty), leave);
