// The reviewer's desk: log in, take the riskiest case, look, decide.

import { json, token } from "/pages/api.js";
import { Case, standing } from "/pages/case.js";
import { byId, el, fill } from "/pages/dom.js";
import { moment, named, t, translate, yuan } from "/pages/i18n.js";
import { watchIdle } from "/pages/idle.js";
import { askToken, retell } from "/pages/login.js";
import { problemBox } from "/pages/problem.js";

const IDLE_MINUTES = 15;
const PAGE = 50;
const desk = byId("desk");
let listed = [];
let total = 0;
let next = null;
let open = null;

async function list(after = null) {
  const query = new URLSearchParams({ state: byId("state").value, limit: PAGE });
  if (byId("level").value) query.set("level", byId("level").value);
  if (after) query.set("after", after);
  try {
    const answer = await json(`/v1/decisions?${query}`);
    if (!token.get()) return undefined; // logged out meanwhile
    listed = after ? [...listed, ...answer.decisions] : answer.decisions;
    ({ total, next } = answer);
  } catch (error) {
    return failed(error);
  }
  byId("token-view").hidden = true;
  desk.hidden = byId("logout").hidden = false;
  renderList();
  return undefined;
}

/** A call failed: to the login where the token does not fit, else say it where the case would stand. */
function failed(error) {
  if (error.status === 401 || error.status === 403) return leave(error.status === 403 ? "login.forbidden" : null);
  open?.release();
  open = null;
  desk.hidden = false;
  return fill(
    byId("case"),
    problemBox(error, el("button", { type: "button", class: "primary", onclick: () => list() }, t("problem.again"))),
  );
}

function renderList() {
  const waiting = byId("state").value === "open";
  const count = waiting ? "queue.count" : "queue.decided";
  byId("count").textContent = total === null ? t("queue.some") : t(count, { count: total });
  byId("more").hidden = !next;
  fill(
    byId("cases"),
    listed.map((each) =>
      el(
        "li",
        {},
        el(
          "button",
          {
            type: "button",
            class: `case ${each.risk_level}`,
            "aria-current": each.decision_id === open?.id ? "true" : null,
            onclick: () => choose(each.decision_id),
          },
          el("span", { class: "case-score" }, String(each.score)),
          el(
            "span",
            { class: "case-text" },
            el("strong", {}, yuan(each.amount), " · ", named("level", each.risk_level)),
            el(
              "span",
              {},
              each.reasons
                .slice(0, 2)
                .map((reason) => named("reason", reason.code))
                .join(" · "),
            ),
            el("span", { class: "small" }, moment(each.time), " · ", standing(each)),
          ),
        ),
      ),
    ),
    listed.length === 0 && el("li", { class: "fine" }, t(next ? "queue.further" : "queue.empty")),
  );
}

async function choose(id) {
  try {
    const document = await json(`/v1/decisions/${id}`);
    if (!token.get()) return undefined;
    open?.release();
    open = new Case(id, document, byId("case"), { decided, failed });
  } catch (error) {
    return failed(error);
  }
  renderList();
  byId("case-heading").focus();
  return undefined;
}

/** A verdict or a request was taken: what waits has changed. */
async function decided(sentence) {
  byId("announce").textContent = sentence;
  await list();
}

function leave(wrong = null) {
  open?.release();
  open = null;
  listed = [];
  fill(byId("case"), el("p", { class: "lead hint" }, t("case.choose")));
  desk.hidden = byId("logout").hidden = true;
  askToken(
    byId("token-view"),
    () => list(),
    () => {
      byId("token-view").hidden = false;
    },
    wrong,
  );
}

function logout() {
  token.forget();
  leave();
}

for (const id of ["state", "level"]) byId(id).addEventListener("change", () => list());
byId("refresh").addEventListener("click", () => list());
byId("more").addEventListener("click", () => list(next));
byId("logout").addEventListener("click", logout);
translate(byId("language"), () => {
  if (desk.hidden) return retell();
  renderList();
  return open ? open.render() : fill(byId("case"), el("p", { class: "lead hint" }, t("case.choose")));
});
// whoever comes after, by a link or by the browser's way back, logs in again
window.addEventListener("pagehide", logout);
watchIdle(IDLE_MINUTES, () => !desk.hidden, logout);
logout();
