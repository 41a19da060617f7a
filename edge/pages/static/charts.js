// Charts as plain elements and SVG: reasons, labels, transactions, memory. Each says in text what it shows.

import { el, svg } from "/pages/dom.js";
import { current, moment, named, percent, t, yuan } from "/pages/i18n.js";

/** Where a score stands between 0 and 100. */
export function scoreBar(receipt) {
  const bar = el("div", { class: `score ${receipt.risk_level}`, "aria-hidden": "true" }, el("span"));
  bar.firstChild.style.setProperty("--share", `${receipt.score}%`);
  return el(
    "div",
    {},
    el(
      "p",
      { class: "score-text" },
      t("score"),
      " ",
      el("strong", {}, String(receipt.score)),
      ` / 100 · ${named("level", receipt.risk_level)}`,
    ),
    bar,
  );
}

/**
 * The reasons with their points as bars; the points add up to the score. `place` tells where an item can be seen.
 * `folded` keeps what they rest on for whoever opens it: not every customer should read it on the screen.
 */
export function reasonBars(reasons, place, { folded = false } = {}) {
  if (reasons.length === 0) return el("p", {}, t("reasons.none"));
  const most = Math.max(1, ...reasons.map((reason) => reason.contribution));
  return el(
    "ol",
    { class: "reasons" },
    reasons.map((reason) => {
      const bar = el("div", { class: "bar", "aria-hidden": "true" }, el("span"));
      bar.firstChild.style.setProperty("--share", `${(100 * reason.contribution) / most}%`);
      return el(
        "li",
        {},
        el(
          "div",
          { class: "reason-head" },
          el("strong", {}, named("reason", reason.code)),
          el("span", { class: "points" }, t("reasons.points", { points: reason.contribution })),
        ),
        bar,
        el(folded ? "details" : "div", {}, folded && el("summary", {}, t("reasons.why")), grounds(reason, place)),
      );
    }),
  );
}

function grounds(reason, place) {
  return [
    el("p", { lang: "zh-CN" }, reason.text), // the device writes in the bank's language
    reason.evidence.length > 0 &&
      el(
        "ul",
        { class: "evidence" },
        reason.evidence.map((item) => el("li", {}, evidence(item, place(item)))),
      ),
  ];
}

/** An item of evidence, which the device words in the bank's language; `href` leads to where it can be seen. */
function evidence(item, href) {
  const text = el(href ? "a" : "span", { lang: "zh-CN", href }, item.text);
  const translated = current() === "en" && item.code ? meaning(item.code) : null;
  return translated ? [translated, " (", text, ")"] : text;
}

/** What a code of evidence means: a label of the text model, a problem of a paper, or a missing part. */
export function meaning(code) {
  return named("label", code, null) ?? named("paper", code, null) ?? named("kind", code, code);
}

/** Probability of each label, the most probable first. */
export function labelBars(labels) {
  const entries = Object.entries(labels).sort(([, one], [, other]) => other - one);
  return el(
    "ul",
    { class: "labels" },
    entries.map(([label, probability]) => {
      const bar = el("span", { class: "bar", "aria-hidden": "true" }, el("span"));
      bar.firstChild.style.setProperty("--share", percent(probability));
      return el(
        "li",
        {},
        el("span", {}, named("label", label)),
        bar,
        el("span", { class: "number" }, percent(probability)),
      );
    }),
  );
}

const PLOT = { width: 900, height: 300, left: 96, right: 24, top: 20, bottom: 36 };

/** The balance over time, with the transactions that the model attended to, larger where it attended more. */
export function transactionPlot(transactions, top) {
  if (transactions.length === 0) return el("p", {}, t("plot.none"));
  const times = transactions.map((each) => Date.parse(each.time));
  const balances = transactions.map((each) => each.balance);
  const x = scale(Math.min(...times), Math.max(...times), PLOT.left, PLOT.width - PLOT.right);
  const y = scale(Math.min(0, ...balances), Math.max(...balances), PLOT.height - PLOT.bottom, PLOT.top);
  const order = transactions.map((_, index) => index).sort((one, other) => times[one] - times[other]);
  const path = order.map((index, place) =>
    place ? `H${x(times[index])}V${y(balances[index])}` : `M${x(times[index])},${y(balances[index])}`,
  );
  const told = top.filter(({ index }) => index < transactions.length);
  const most = Math.max(...told.map(({ weight }) => weight), 1e-9);
  const dots = told.map(({ index, weight }, place) => [
    svg("circle", {
      cx: x(times[index]),
      cy: y(balances[index]),
      r: 9 + 9 * Math.sqrt(Math.max(0, weight) / most),
      class: "dot",
    }),
    svg("text", { x: x(times[index]), y: y(balances[index]) + 5, class: "dot-text" }, String(place + 1)),
  ]);
  return el(
    "div",
    {},
    svg(
      "svg",
      {
        viewBox: `0 0 ${PLOT.width} ${PLOT.height}`,
        class: "plot",
        role: "img",
        "aria-label": t("plot.alt", { count: transactions.length, top: told.length }),
      },
      ticks(y.from, y.to).map((amount) => [
        svg("line", { x1: PLOT.left, x2: PLOT.width - PLOT.right, y1: y(amount), y2: y(amount), class: "grid" }),
        svg("text", { x: PLOT.left - 10, y: y(amount) + 5, class: "tick end" }, yuan(Math.round(amount))),
      ]),
      [x.from, (x.from + x.to) / 2, x.to].map((time, place) =>
        svg("text", { x: x(time), y: PLOT.height - 10, class: `tick ${["start", "middle", "end"][place]}` }, day(time)),
      ),
      svg("path", { d: path.join(""), class: "line" }),
      dots.reverse(), // the weightiest on top
    ),
    told.length > 0 && topTable(transactions, told),
  );
}

function topTable(transactions, told) {
  const columns = ["rank", "time", "counterparty", "amount", "weight"];
  const numbers = new Set(["rank", "amount", "weight"]);
  return el(
    "div",
    { class: "scroll", tabindex: "0", role: "region", "aria-label": t("plot.table") },
    el(
      "table",
      { class: "rows" },
      el("caption", {}, t("plot.table")),
      el(
        "thead",
        {},
        el(
          "tr",
          {},
          columns.map((name) => el("th", { scope: "col", class: numbers.has(name) && "number" }, t(`plot.${name}`))),
        ),
      ),
      el(
        "tbody",
        {},
        told.map(({ index, weight }, place) => {
          const each = transactions[index];
          return el(
            "tr",
            {},
            el("td", { class: "number" }, String(place + 1)),
            el("td", {}, moment(each.time)),
            el("td", {}, `${each.counterparty} (${each.channel})`),
            el("td", { class: "number" }, yuan(each.amount)),
            el("td", { class: "number" }, weight.toFixed(3)),
          );
        }),
      ),
    ),
  );
}

const MEMORY = { width: 1200, height: 140, left: 8, right: 8, top: 8, bottom: 8 };

/** Memory over the time that the page has been open; `samples` are `{time, bytes}`, `limit` bytes or null. */
export function memoryChart(samples, limit) {
  const most = Math.max(limit ?? 0, ...samples.map((sample) => sample.bytes)) * 1.05 || 1;
  const first = samples[0]?.time ?? 0;
  const x = scale(first, Math.max(samples.at(-1)?.time ?? 0, first + 60_000), MEMORY.left, MEMORY.width - MEMORY.right);
  const y = scale(0, most, MEMORY.height - MEMORY.bottom, MEMORY.top);
  const points = samples.map((sample) => `${x(sample.time)},${y(sample.bytes)}`);
  const now = samples.at(-1);
  return svg(
    "svg",
    {
      viewBox: `0 0 ${MEMORY.width} ${MEMORY.height}`,
      preserveAspectRatio: "none", // as wide as the page, of the same height on every screen
      class: "plot memory",
      role: "img",
      "aria-label": t("memory.alt", { now: megabytes(now?.bytes ?? 0), limit: limit ? megabytes(limit) : "-" }),
    },
    limit && svg("line", { x1: 0, x2: MEMORY.width, y1: y(limit), y2: y(limit), class: "limit" }),
    svg("polyline", { points: points.join(" "), class: "line" }),
    now && svg("line", { x1: x(now.time), x2: x(now.time), y1: y(now.bytes), y2: y(now.bytes), class: "here" }),
  );
}

/** Bytes as whole megabytes. */
export function megabytes(bytes) {
  return `${Math.round(bytes / 1e6)} MB`;
}

function scale(from, to, low, high) {
  const span = to - from || 1;
  const place = (value) => Math.round(10 * (low + ((value - from) / span) * (high - low))) / 10;
  return Object.assign(place, { from, to });
}

/** Three to six round numbers between two. */
function ticks(from, to) {
  const rough = (to - from || 1) / 4;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((each) => each * power).find((each) => each >= rough);
  const made = [];
  for (let tick = Math.ceil(from / step) * step; tick <= to; tick += step) made.push(tick);
  return made;
}

function day(time) {
  return new Intl.DateTimeFormat(current() === "zh" ? "zh-CN" : "en", {
    month: "short",
    day: "numeric",
    year: "numeric",
  }).format(new Date(time));
}
