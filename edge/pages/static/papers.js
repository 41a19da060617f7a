// A paper with what was read on it: the picture with boxes, beside it the fields; either shows the other.

import { el, fill, svg } from "/pages/dom.js";
import { current, named, percent, t, yuan } from "/pages/i18n.js";
import { Pages } from "/pages/pages.js";

const ROWS_SHOWN = 500;
const NUMBERS = new Set(["amount", "balance"]);

/** "Identity card", with a number where several papers are of one kind. */
export function paperTitle(documents, index) {
  const { kind } = documents[index];
  const same = documents.filter((each) => each.kind === kind);
  const name = named("kind", kind);
  return same.length > 1 ? `${name} ${same.indexOf(documents[index]) + 1}` : name;
}

/** The id of the element of a paper. */
export function anchor(file) {
  return `paper-${file}`;
}

/** The sentence of a problem in the page's language; the device's own words where there is none. */
export function problemText(problem) {
  return current() === "zh" ? problem.text : named("paper", problem.code, problem.text);
}

/**
 * One paper.
 * `paper` is an entry of the receipt's documents; `evidence` are the receipt's items about this file;
 * `load` resolves to its Blob, or to null where the file is no longer kept.
 * The element has `release()`, which frees the pictures.
 */
export function paperView(paper, title, evidence, load) {
  const marks = marksOf(paper, evidence);
  const figure = el("figure", { class: "sheet" });
  const buttons = []; // several may choose the same mark
  let pages = null;
  let released = false;
  let shown = 0;
  let chosen = null;
  let asked = 0;

  async function draw(index) {
    const turn = ++asked;
    fill(figure, el("p", { class: "small" }, t("paper.loading")));
    try {
      if (!pages) {
        const blob = await load();
        if (blob === null) return fill(figure, el("p", { class: "small" }, t("paper.erased")));
        pages = new Pages(blob);
        if (released) return pages.release();
      }
      const page = await pages.page(index);
      if (turn !== asked || released) return undefined;
      if (!page) return fill(figure, el("p", { class: "small" }, t("paper.none")));
      shown = index;
      fill(figure, sheet(page, title, index, marks, chosen), pager(index));
    } catch (error) {
      if (turn === asked) fill(figure, el("p", { class: "small" }, t("paper.failed"), " ", error.code ?? ""));
    }
    return undefined;
  }

  function pager(index) {
    const wide = el("button", { type: "button", class: "quiet", "aria-pressed": "false" }, t("paper.enlarge"));
    wide.addEventListener("click", () => {
      const large = view.classList.toggle("wide");
      wide.setAttribute("aria-pressed", String(large));
    });
    const turn = (to, key) =>
      el(
        "button",
        {
          type: "button",
          class: "quiet",
          disabled: to < 0 || (to > index && !pages.follows(index)),
          onclick: () => draw(to),
        },
        t(key),
      );
    const several = index > 0 || pages.follows(index);
    return el(
      "figcaption",
      { class: "pager" },
      several && [
        turn(index - 1, "paper.before"),
        el("span", {}, t("paper.page", { page: index + 1 })),
        turn(index + 1, "paper.next"),
      ],
      wide,
    );
  }

  function choose(key) {
    chosen = chosen === key ? null : key;
    for (const each of buttons) each.node.setAttribute("aria-pressed", String(each.key === chosen));
    const page = marks.find((mark) => mark.key === chosen)?.page ?? shown;
    if (page !== shown) return draw(page);
    for (const shape of figure.querySelectorAll("[data-key]"))
      shape.classList.toggle("chosen", shape.dataset.key === chosen);
    return undefined;
  }

  function button(key, text) {
    const node = el(
      "button",
      { type: "button", class: "link", "aria-pressed": "false", onclick: () => choose(key) },
      text,
    );
    buttons.push({ key, node });
    return node;
  }

  const view = el(
    "article",
    { class: "paper", "aria-label": title, id: anchor(paper.file) },
    el("h3", {}, title),
    el("div", { class: "paper-parts" }, figure, el("div", {}, problems(paper, marks, button), fields(paper, button))),
  );
  view.release = () => {
    released = true;
    pages?.release();
  };
  draw(marks.find((mark) => mark.problem)?.page ?? 0);
  return view;
}

/** What is drawn: `{key, page, box, problem}` for each field, and for each place that a problem or a reason names. */
function marksOf(paper, evidence) {
  const wrong = new Set(paper.problems.map((problem) => problem.field));
  const marks = Object.entries(paper.fields).map(([name, field]) => ({
    key: `field.${name}`,
    page: field.page ?? 0,
    box: field.box,
    problem: wrong.has(name) && name !== "rows",
  }));
  const placed = paper.problems.map((problem, index) => ({ ...problem, key: `problem.${index}` }));
  for (const each of [...placed, ...evidence]) {
    const known = marks.some((mark) => mark.problem && JSON.stringify(mark.box) === JSON.stringify(each.box));
    if (each.box && !known)
      marks.push({ key: each.key ?? "evidence", page: each.page ?? 0, box: each.box, problem: true });
  }
  return marks;
}

function sheet(page, title, index, marks, chosen) {
  const here = marks.filter((mark) => mark.page === index);
  return el(
    "div",
    { class: "picture" },
    el("img", {
      src: page.url,
      width: page.width,
      height: page.height,
      alt: t("paper.alt", { title, page: index + 1 }),
    }),
    svg(
      "svg",
      { viewBox: `0 0 ${page.width} ${page.height}`, "aria-hidden": "true" },
      here.map((mark) =>
        svg("polygon", {
          points: mark.box.map((corner) => corner.join(",")).join(" "),
          "data-key": mark.key,
          class: `${mark.problem ? "wrong" : "read"}${mark.key === chosen ? " chosen" : ""}`,
        }),
      ),
    ),
  );
}

function problems(paper, marks, button) {
  if (paper.problems.length === 0) return el("p", { class: "fine" }, t("paper.fine"));
  const items = paper.problems.map((problem, index) => {
    const mark =
      marks.find(({ key }) => key === `problem.${index}`) ?? marks.find(({ key }) => key === `field.${problem.field}`);
    return el("li", {}, mark ? button(mark.key, problemText(problem)) : problemText(problem));
  });
  return el("ul", { class: "warn" }, items);
}

function fields(paper, button) {
  const entries = Object.entries(paper.fields);
  if (entries.length === 0) return el("p", { class: "small" }, t("paper.nothing"));
  const wrong = new Set(paper.problems.map((problem) => problem.field));
  return el(
    "table",
    { class: "fields" },
    el("caption", { class: "sr" }, t("paper.fields")),
    el(
      "thead",
      {},
      el(
        "tr",
        {},
        ["field", "value", "sure"].map((name) =>
          el("th", { scope: "col", class: name === "sure" && "number" }, t(`paper.${name}`)),
        ),
      ),
    ),
    el(
      "tbody",
      {},
      entries.map(([name, field]) =>
        el(
          "tr",
          { class: wrong.has(name) ? "wrong" : null },
          el("th", { scope: "row" }, button(`field.${name}`, named("field", name))),
          el("td", {}, value(name, field.value)),
          el("td", { class: "number" }, percent(field.confidence)),
        ),
      ),
    ),
  );
}

function value(name, content) {
  if (content === null) return "?";
  if (typeof content === "number") return yuan(content);
  if (!Array.isArray(content)) return String(content);
  const columns = ["date", "summary", "counterparty", "amount", "balance"];
  const kind = (column) => NUMBERS.has(column) && "number";
  const head = columns.map((column) => el("th", { scope: "col", class: kind(column) }, t(`row.${column}`)));
  const rows = content.slice(0, ROWS_SHOWN).map((row) =>
    el(
      "tr",
      {},
      columns.map((column) => el("td", { class: kind(column) }, cell(row[column]))),
    ),
  );
  const more = content.length - rows.length;
  return el(
    "details",
    {},
    el("summary", {}, t("paper.rows", { count: content.length })),
    el(
      "div",
      { class: "scroll", tabindex: "0", role: "region", "aria-label": named("field", name) },
      el("table", { class: "rows" }, el("thead", {}, el("tr", {}, head)), el("tbody", {}, rows)),
    ),
    more > 0 && el("p", { class: "small" }, t("paper.rows.more", { count: more })),
  );
}

function cell(content) {
  if (content === null || content === undefined) return "?";
  return typeof content === "number" ? content.toFixed(2) : String(content);
}
