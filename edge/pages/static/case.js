// One case on the reviewer's desk: why it is here, its papers, its account, and the verdict.

import { call, json } from "/pages/api.js";
import { labelBars, meaning, reasonBars, scoreBar, transactionPlot } from "/pages/charts.js";
import { byId, el, fill } from "/pages/dom.js";
import { current, moment, named, percent, t, yuan } from "/pages/i18n.js";
import { anchor, paperTitle, paperView } from "/pages/papers.js";
import { problemBox } from "/pages/problem.js";

let reviewer = ""; // what the person at this page calls themselves

/** How far a case is: whom it waits for, or what came out. */
export function standing({ state, votes, opened_by: opened, verdict }) {
  if (state === "closed") return verdict ? named("verdict", verdict) : t("state.passed");
  if (votes.length > 0) return t("state.second");
  return opened.length > 0 ? t(`opened.${opened.at(-1)}`) : t("state.waiting");
}

/** Draws itself into `place`; `desk` has `decided(sentence)` and `failed(problem)`. */
export class Case {
  #document;
  #place;
  #desk;
  #papers = [];

  constructor(id, document, place, desk) {
    this.id = id;
    this.#document = document;
    this.#place = place;
    this.#desk = desk;
    this.render();
  }

  release() {
    for (const paper of this.#papers) paper.release();
    this.#papers = [];
  }

  render() {
    this.release();
    const { receipt, application, records_erased: erased, code, time } = this.#document;
    fill(
      this.#place,
      el(
        "div",
        { class: "case-head" },
        el(
          "h2",
          { id: "case-heading", tabindex: "-1" },
          t("case.heading", { id: receipt?.application_id ?? this.id.slice(0, 8) }),
        ),
        el(
          "p",
          { class: "small" },
          [
            standing(this.#document),
            moment(time),
            receipt && t("case.grant", { grant: named("grant", receipt.offline.authority) }),
            code,
          ]
            .filter(Boolean)
            .join(" · "),
        ),
        el("p", { class: "buttons" }, el("a", { href: "#verdict", class: "button" }, t("case.to-verdict"))),
      ),
      erased && el("p", { class: "problem" }, t("case.erased")),
      receipt && this.#reasons(receipt, application),
      receipt && application && this.#purpose(receipt, application),
      receipt && this.#papersOf(receipt),
      receipt && application && this.#account(receipt, application),
      this.#history(),
      this.#verdict(),
    );
  }

  #reasons(receipt, application) {
    return section(
      "reasons",
      scoreBar(receipt),
      application &&
        el(
          "p",
          {},
          t("case.loan", {
            amount: yuan(application.loan.amount),
            term: application.loan.term_months,
            income: yuan(application.applicant.declared_monthly_income),
          }),
        ),
      reasonBars(receipt.reasons, place),
    );
  }

  #purpose(receipt, application) {
    const labels = receipt.text_risk.labels;
    return section(
      "purpose",
      el("blockquote", { lang: "zh-CN" }, marked(application.loan.purpose, phrases(receipt))),
      Object.keys(labels).length ? labelBars(labels) : el("p", {}, t("purpose.unread")),
    );
  }

  #papersOf(receipt) {
    this.#papers = receipt.documents.map((paper, index) => {
      const evidence = receipt.reasons.flatMap((reason) => reason.evidence).filter((item) => item.file === paper.file);
      const load = async () => {
        try {
          return await (await call(`/v1/decisions/${this.id}/files/${index}`)).blob();
        } catch (error) {
          if (error.status === 410) return null; // erased, or pictures that made room
          throw error;
        }
      };
      return paperView(paper, paperTitle(receipt.documents, index), evidence, load);
    });
    if (this.#papers.length === 0) return section("papers", el("p", {}, t("papers.none")));
    return section("papers", el("p", { class: "small legend" }, t("papers.legend")), this.#papers);
  }

  #account(receipt, application) {
    const { probability, top_transactions: top } = receipt.behaviour;
    const said =
      probability === null ? t("account.unknown") : t("account.probability", { probability: percent(probability) });
    return section("account", el("p", {}, said), transactionPlot(application.transactions, top));
  }

  #history() {
    const { reviews, requests, reopenings, disagreements } = this.#document;
    const words = (each) => `${who(each)}: ${each.reason ?? t("case.erased-text")}`;
    const entries = [
      ...reviews.map((each) => ({ ...each, text: `${named("verdict", each.verdict)} · ${words(each)}` })),
      ...reopenings.map((each) => ({ ...each, text: `${t("reopen.done")} · ${words(each)}` })),
      ...requests.map((each) => ({ ...each, text: `${t("request.asked")}${t(`request.${each.kind}`)}` })),
      ...disagreements.map((each) => ({ ...each, text: t("disagreement", each) })),
    ].sort((one, other) => Date.parse(one.time) - Date.parse(other.time));
    if (entries.length === 0) return null;
    return section(
      "history",
      el(
        "ol",
        { class: "history" },
        entries.map((each) => el("li", {}, el("span", { class: "small" }, moment(each.time)), " ", each.text)),
      ),
    );
  }

  #verdict() {
    const asked = el(
      "div",
      { class: "asked" },
      el("h3", {}, t("request.heading")),
      el(
        "p",
        { class: "buttons" },
        ["explanation", "human_decision"].map((kind) =>
          el("button", { type: "button", onclick: () => this.#request(kind) }, t(`request.${kind}`)),
        ),
      ),
      el("div", { id: "request-answer", "aria-live": "polite" }),
    );
    if (this.#document.state === "closed")
      return section("verdict", el("p", { class: "fine" }, t("verdict.closed")), this.#reopening(), asked);
    const second = this.#document.votes.length > 0;
    const submit = (event) => {
      event.preventDefault();
      this.#review();
    };
    const choice = (verdict) =>
      el(
        "label",
        { class: `choice ${verdict}` },
        el("input", { type: "radio", name: "verdict", value: verdict, required: true }),
        el("span", {}, named("verdict", verdict)),
      );
    return section(
      "verdict",
      this.#document.needs_two && el("p", { class: "warn" }, t(second ? "verdict.second" : "verdict.two")),
      el(
        "form",
        { id: "verdict-form", novalidate: true, onsubmit: submit },
        el("fieldset", {}, el("legend", {}, t("verdict.choose")), choice("approve"), choice("decline")),
        el(
          "p",
          { class: "input" },
          el("label", { for: "reason" }, t("verdict.reason")),
          el("textarea", {
            id: "reason",
            rows: 3,
            maxlength: 2000,
            required: true,
            "aria-describedby": "verdict-error",
          }),
        ),
        el(
          "p",
          { class: "input" },
          el("label", { for: "reviewer" }, t("verdict.reviewer")),
          el("input", { id: "reviewer", maxlength: 100, autocomplete: "off", value: reviewer }),
        ),
        el("div", { id: "verdict-error" }),
        el("p", { class: "buttons" }, el("button", { type: "submit", class: "primary" }, t("verdict.send"))),
      ),
      asked,
    );
  }

  /** What opens a closed case again; kept folded, since it is not what one comes for. */
  #reopening() {
    const submit = (event) => {
      event.preventDefault();
      this.#reopen();
    };
    return el(
      "details",
      { class: "asked" },
      el("summary", {}, t("reopen.heading")),
      el("p", { class: "small" }, t("reopen.say")),
      el(
        "form",
        { id: "reopen-form", novalidate: true, onsubmit: submit },
        el(
          "p",
          { class: "input" },
          el("label", { for: "reopen-reason" }, t("reopen.reason")),
          el("textarea", {
            id: "reopen-reason",
            rows: 3,
            maxlength: 2000,
            required: true,
            "aria-describedby": "reopen-error",
          }),
        ),
        el("div", { id: "reopen-error" }),
        el("p", { class: "buttons" }, el("button", { type: "submit" }, t("reopen.send"))),
      ),
    );
  }

  async #reopen() {
    const reason = byId("reopen-reason").value.trim();
    const place = byId("reopen-error");
    if (!reason) {
      fill(place, el("p", { class: "problem", role: "alert" }, t("reopen.missing")));
      byId("reopen-reason").focus();
      return;
    }
    await this.#send("reopen", { reason, reviewer: reviewer || null }, place, () => t("reopen.taken"));
  }

  async #review() {
    const verdict = document.querySelector("input[name=verdict]:checked")?.value;
    const reason = byId("reason").value.trim();
    reviewer = byId("reviewer").value.trim();
    const place = byId("verdict-error");
    if (!verdict || !reason) {
      fill(place, el("p", { class: "problem", role: "alert" }, t("verdict.missing")));
      (verdict ? byId("reason") : document.querySelector("input[name=verdict]")).focus();
      return;
    }
    await this.#send("review", { verdict, reason, reviewer: reviewer || null }, place, () =>
      t("verdict.taken", { verdict: named("verdict", verdict) }),
    );
  }

  async #request(kind) {
    const answer = await this.#send("requests", { kind, language: current() }, byId("request-answer"), () =>
      t("request.taken"),
    );
    // where it stands now, in the case drawn anew
    if (answer?.text) fill(byId("request-answer"), el("p", { class: "explanation" }, answer.text));
  }

  /** Post, then draw the case anew as it stands; a refusal is said in `place`, and what was typed stays. */
  async #send(what, body, place, sentence) {
    try {
      const answer = await json(`/v1/decisions/${this.id}/${what}`, { method: "POST", body });
      this.#document = await json(`/v1/decisions/${this.id}`);
      this.render();
      byId("case-heading").focus();
      await this.#desk.decided(sentence());
      return answer;
    } catch (error) {
      if (error.status === 401) this.#desk.failed(error);
      else fill(place, problemBox(error));
      return null;
    }
  }
}

function section(name, ...children) {
  return el(
    "section",
    { id: name, class: "tile", "aria-labelledby": `${name}-heading` },
    el("h3", { id: `${name}-heading` }, t(`section.${name}`)),
    children,
  );
}

/** Whoever gave a verdict: what they call themselves, and always the name of the token, which nobody can choose. */
function who({ reviewer: called, login }) {
  return called && called !== login ? `${called} (${login})` : login;
}

/** Where on this page an item of evidence can be seen. */
function place(item) {
  if (item.file) return `#${anchor(item.file)}`;
  if (item.phrase) return "#purpose";
  return item.transaction === undefined ? null : "#account";
}

/** The phrases that carry a label: `{start, end, title}`, in order, none inside another. */
function phrases(receipt) {
  const found = receipt.reasons
    .flatMap((reason) => reason.evidence)
    .filter((item) => item.phrase)
    .map((item) => ({ start: item.phrase.start, end: item.phrase.end, title: meaning(item.code) }))
    .sort((one, other) => one.start - other.start || other.end - one.end);
  let reached = 0;
  return found.filter(({ start, end }) => {
    const apart = start >= reached;
    if (apart) reached = end;
    return apart;
  });
}

/** Text with phrases marked; positions count characters, not UTF-16 units. */
function marked(text, found) {
  const characters = [...text];
  const parts = [];
  let reached = 0;
  for (const { start, end, title } of found) {
    parts.push(characters.slice(reached, start).join(""), el("mark", { title }, characters.slice(start, end).join("")));
    reached = end;
  }
  return [...parts, characters.slice(reached).join("")];
}
