// The device at a glance, asked anew every few seconds: may it decide, what waits, what serves, how much memory.

import { json } from "/pages/api.js";
import { megabytes, memoryChart } from "/pages/charts.js";
import { byId, el, fill } from "/pages/dom.js";
import { moment, named, t, translate } from "/pages/i18n.js";
import { askToken, retell } from "/pages/login.js";
import { problemBox } from "/pages/problem.js";

const EVERY_MS = 5000;
const SAMPLES = 720; // an hour
const samples = [];
let status = null;
let problem = null;

async function look() {
  try {
    status = await json("/v1/status");
    problem = null;
    const bytes = status.worker?.memory?.rss_bytes;
    if (bytes !== undefined) samples.push({ time: Date.now(), bytes });
    samples.splice(0, samples.length - SAMPLES);
  } catch (error) {
    if (error.status === 401) return askToken(byId("token-view"), look, () => only("token-view"));
    problem = error;
  }
  only("status");
  render();
  setTimeout(look, EVERY_MS);
  return undefined;
}

function only(id) {
  for (const each of ["token-view", "status"]) byId(each).hidden = each !== id;
}

function render() {
  if (problem) return fill(byId("status"), problemBox(problem));
  if (!status) return undefined;
  const { offline, journal, bundle, worker, sync } = status;
  const memory = worker?.memory;
  return fill(
    byId("status"),
    el(
      "div",
      { class: `verdict authority-${offline.authority}` },
      el("h1", { tabindex: "-1" }, named("authority", offline.authority)),
      !journal.error && el("p", { class: "lead" }, t(`authority.${offline.authority}.say`)),
    ),
    journal.error && problemBox(journal.error), // then nothing is decided, whatever the line
    el(
      "div",
      { class: "tiles" },
      tile("status.line", offline.since ? t("status.since", { time: moment(offline.since) }) : t("status.online")),
      tile("status.backlog", String(journal.backlog ?? "?"), waiting(journal, sync)),
      tile("status.bundle", `${bundle.name} ${bundle.version}`, `sha256 ${bundle.sha256.slice(0, 12)}…`),
      tile("status.device", status.device_id, status.profile),
    ),
    memory &&
      el(
        "section",
        { class: "tile", "aria-labelledby": "memory-heading" },
        el("h2", { id: "memory-heading" }, t("status.memory")),
        el(
          "p",
          {},
          t("memory.now", { now: megabytes(memory.rss_bytes) }),
          memory.rss_limit_bytes ? t("memory.limit", { limit: megabytes(memory.rss_limit_bytes) }) : "",
          memory.gpu_bytes ? ` · GPU ${megabytes(memory.gpu_bytes)}` : "",
        ),
        memoryChart(samples, memory.rss_limit_bytes),
        el("p", { class: "small" }, t("memory.say")),
      ),
    el(
      "section",
      { class: "tile", "aria-labelledby": "models-heading" },
      el("h2", { id: "models-heading" }, t("status.models")),
      models(status),
    ),
    el(
      "p",
      { class: "small" },
      t("status.started", { time: status.started ? moment(status.started) : "?" }),
      worker ? ` · ${t("status.restarts", { count: worker.restarts })}` : "",
    ),
  );
}

/** What to know of the records that wait: whether sending fails, and the code of the latest. */
function waiting(journal, sync) {
  const said = sync?.problem ? t("status.sync", { problem: sync.problem }) : t("status.backlog.say");
  return journal.head ? `${said} · ${t("status.head", { code: journal.head })}` : said;
}

function tile(key, value, more = null) {
  return el(
    "section",
    { class: "tile" },
    el("h2", {}, t(key)),
    el("p", { class: "big" }, value),
    more && el("p", { class: "small" }, more),
  );
}

function models({ models: served, passed_over: passed = {} }) {
  const columns = ["model.name", "model.backend", "model.precision", "model.sha256"];
  const reasons = Object.entries(passed).flatMap(([name, given]) => given.map((reason) => `${name}: ${reason}`));
  return el(
    "div",
    { class: "scroll", tabindex: "0", role: "region", "aria-label": t("status.models") },
    el(
      "table",
      { class: "rows" },
      el(
        "thead",
        {},
        el(
          "tr",
          {},
          columns.map((key) => el("th", { scope: "col" }, t(key))),
        ),
      ),
      el(
        "tbody",
        {},
        served.map((model) =>
          el(
            "tr",
            {},
            el("td", {}, model.name),
            el("td", {}, model.backend),
            el("td", {}, model.precision),
            el("td", {}, el("code", {}, `${model.sha256.slice(0, 12)}…`)),
          ),
        ),
      ),
    ),
    reasons.length > 0 &&
      el(
        "ul",
        { class: "evidence", lang: "en" },
        reasons.map((reason) => el("li", {}, reason)),
      ),
  );
}

translate(byId("language"), () => {
  render();
  retell();
});
look();
