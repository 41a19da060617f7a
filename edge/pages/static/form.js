// The kiosk's form: the papers in their slots, the applicant and the loan, and what is still missing.

import { byId, el, fill } from "/pages/dom.js";
import { named, t } from "/pages/i18n.js";
import { takePicture } from "/pages/camera.js";

const KINDS = ["id_card", "income_proof", "bank_statement"];
const ACCEPTED = "image/*,.pdf,.tif,.tiff,application/pdf";
const MAX_BYTES = 47 * 1024 * 1024; // the device takes 48 MB, the form's own text included
const MAX_PAPERS = 20;
// name, type, and what makes its text a value; null where the text is none
const INPUTS = [
  ["name", "text", (text) => text || null],
  ["id_number", "text", (text) => text.toUpperCase() || null],
  ["income", "decimal", (text) => amount(text, 0)],
  ["amount", "decimal", (text) => amount(text, 0.01)],
  [
    "term",
    "numeric",
    (text) => (/^\d{1,3}$/.test(text) && Number(text) >= 1 && Number(text) <= 600 ? Number(text) : null),
  ],
  ["purpose", "area", (text) => text || null],
];

/** What was entered; kept here, and nowhere else, until `clear`. */
export class Form {
  #papers = []; // {kind, file, url}
  #rest = { transactions: [] }; // of the application, whatever the form has no field for
  #say;

  /** `say` announces a sentence to a screen reader. */
  constructor(say) {
    this.#say = say;
    fill(
      byId("inputs"),
      INPUTS.map(([name, type]) => input(name, type)),
    );
    this.render();
    // a paper that misses its slot must not replace the page
    for (const kind of ["dragover", "drop"]) document.addEventListener(kind, (event) => event.preventDefault());
  }

  get empty() {
    return (
      this.#papers.length === 0 &&
      this.#rest.transactions.length === 0 &&
      INPUTS.every(([name]) => byId(name).value === "")
    );
  }

  /** The files by the names that the application gives them. */
  get files() {
    return this.#named().map(({ name, file }) => ({ name, file }));
  }

  clear() {
    for (const { url } of this.#papers) URL.revokeObjectURL(url);
    this.#papers = [];
    this.#rest = { transactions: [] };
    byId("form").reset();
    for (const [name] of INPUTS) mark(name, "");
    this.render();
  }

  /** Say what is missing and go to the first; true where nothing is. */
  check() {
    const wrong = INPUTS.filter(([name, , parse]) => {
      const missing = parse(byId(name).value.trim()) === null;
      mark(name, missing ? t(`input.${name}.error`) : "");
      return missing;
    });
    const size = this.#papers.reduce((sum, { file }) => sum + file.size, 0);
    const large = size > MAX_BYTES ? t("slot.large", { size: Math.ceil(size / 1e6) }) : "";
    fill(byId("form-problem"), large && el("p", { class: "problem", role: "alert" }, large));
    if (wrong.length > 0) byId(wrong[0][0]).focus();
    return wrong.length === 0 && !large;
  }

  /** application.json, as the contract has it; call it when `check` was true. */
  application() {
    const [name, id_number, declared_monthly_income, loan, term_months, purpose] = INPUTS.map(([key, , parse]) =>
      parse(byId(key).value.trim()),
    );
    this.#rest.application_id ??= newId();
    return {
      ...this.#rest,
      applicant: { name, id_number, declared_monthly_income },
      loan: { amount: loan, term_months, purpose },
      documents: this.#named().map(({ kind, name: file }) => ({ kind, file })),
    };
  }

  /** Draw the slots anew, in the language in use. */
  render() {
    for (const [name] of INPUTS) {
      byId(`${name}-label`).textContent = t(`input.${name}`);
      byId(`${name}-hint`).textContent = named("hint", name, "");
    }
    fill(
      byId("slots"),
      KINDS.map((kind) => this.#slot(kind)),
    );
    const count = this.#rest.transactions.length;
    fill(byId("history"), t("form.history", { count })).hidden = count === 0;
  }

  #slot(kind) {
    const title = named("kind", kind);
    const chooser = el("input", {
      type: "file",
      accept: `${ACCEPTED},.json`,
      multiple: true,
      class: "sr",
      id: `file-${kind}`,
      tabindex: "-1",
      "aria-hidden": "true",
    });
    chooser.addEventListener("change", () => this.#take(kind, [...chooser.files]));
    const mine = this.#papers.filter((paper) => paper.kind === kind);
    const slot = el(
      "div",
      { class: `slot${mine.length ? " full" : ""}`, role: "group", "aria-label": title },
      el("div", { class: "slot-head" }, el("h3", {}, title), el("p", { class: "small" }, t(`slot.${kind}`))),
      mine.length > 0 &&
        el(
          "ul",
          { class: "thumbs" },
          mine.map((paper, index) => this.#thumb(paper, `${title} ${index + 1}`)),
        ),
      el(
        "p",
        { class: "buttons" },
        el(
          "button",
          { type: "button", "aria-label": `${t("slot.camera")}: ${title}`, onclick: () => this.#shoot(kind) },
          t("slot.camera"),
        ),
        el(
          "button",
          { type: "button", "aria-label": `${t("slot.file")}: ${title}`, onclick: () => chooser.click() },
          t("slot.file"),
        ),
      ),
      chooser,
    );
    slot.addEventListener("dragover", () => slot.classList.add("over"));
    slot.addEventListener("dragleave", () => slot.classList.remove("over"));
    slot.addEventListener("drop", (event) => this.#take(kind, [...event.dataTransfer.files]));
    return slot;
  }

  #thumb(paper, title) {
    const remove = () => {
      URL.revokeObjectURL(paper.url);
      this.#papers = this.#papers.filter((each) => each !== paper);
      this.render();
      this.#say(t("slot.removed", { title }));
      byId(`file-${paper.kind}`).parentElement.querySelector("button").focus();
    };
    return el(
      "li",
      {},
      paper.file.type.startsWith("image/") && !paper.file.type.includes("tif")
        ? el("img", { src: paper.url, alt: title })
        : el("span", { class: "page-icon" }, extension(paper.file).toUpperCase()),
      el(
        "button",
        { type: "button", class: "remove", "aria-label": t("slot.remove", { title }), onclick: remove },
        "×",
      ),
    );
  }

  async #shoot(kind) {
    const file = await takePicture(`${kind}.jpg`);
    if (file) this.#take(kind, [file]);
  }

  /** Take files into a slot; an application.json among them says itself what it and the others are. */
  async #take(kind, files) {
    const kinds = new Map();
    for (const file of files.filter((each) => extension(each) === "json")) {
      for (const [name, known] of await this.#import(file)) kinds.set(name, known);
    }
    for (const file of files.filter((each) => extension(each) !== "json").slice(0, MAX_PAPERS - this.#papers.length)) {
      this.#papers.push({ kind: kinds.get(file.name) ?? kind, file, url: URL.createObjectURL(file) });
    }
    this.render();
    this.#say(t("slot.added", { title: named("kind", kind), count: files.length }));
  }

  /** Fill the form from an application.json, as a bank's own program may write it; returns the kinds of its files. */
  async #import(file) {
    try {
      const { applicant, loan, documents, ...rest } = JSON.parse(await file.text());
      const kinds = documents.map((document) => [document.file, document.kind]);
      if (!Array.isArray(rest.transactions)) throw new TypeError("an application has a list of transactions");
      const values = {
        name: applicant.name,
        id_number: applicant.id_number,
        income: applicant.declared_monthly_income,
        amount: loan.amount,
        term: loan.term_months,
        purpose: loan.purpose,
      };
      for (const [name, value] of Object.entries(values)) byId(name).value = value;
      this.#rest = rest;
      fill(byId("form-problem"));
      return kinds;
    } catch {
      fill(byId("form-problem"), el("p", { class: "problem", role: "alert" }, t("form.import", { name: file.name })));
      return [];
    }
  }

  /** The papers with names of their own: cameras call every picture alike. */
  #named() {
    return this.#papers.map((paper, index) => ({
      ...paper,
      name: `${paper.kind}-${index + 1}.${extension(paper.file)}`,
    }));
  }
}

function input(name, type) {
  const attributes = {
    id: name,
    name,
    "aria-describedby": `${name}-hint ${name}-error`,
    required: true,
    autocomplete: "off",
  };
  const field =
    type === "area"
      ? el("textarea", { ...attributes, rows: 5, maxlength: 2000 })
      : el("input", { ...attributes, type: "text", inputmode: type, maxlength: 40 });
  return el(
    "p",
    { class: `input ${name}` },
    el("label", { for: name, id: `${name}-label` }),
    el("span", { class: "small", id: `${name}-hint` }),
    field,
    el("span", { class: "error", id: `${name}-error` }),
  );
}

function mark(name, sentence) {
  byId(`${name}-error`).textContent = sentence;
  if (sentence) byId(name).setAttribute("aria-invalid", "true");
  else byId(name).removeAttribute("aria-invalid");
}

function amount(text, least) {
  const plain = text.replace(/[,，\s]/g, "");
  return /^\d{1,12}(\.\d{1,2})?$/.test(plain) && Number(plain) >= least ? Number(plain) : null;
}

function extension(file) {
  return /\.([a-z0-9]{1,5})$/i.exec(file.name)?.[1].toLowerCase() ?? "jpg";
}

function newId() {
  const random = crypto.getRandomValues(new Uint8Array(3));
  const stamp = new Date().toISOString().replace(/[-:]/g, "").slice(0, 15);
  return `K-${stamp}-${[...random]
    .map((byte) => byte.toString(16).padStart(2, "0"))
    .join("")
    .toUpperCase()}`;
}
