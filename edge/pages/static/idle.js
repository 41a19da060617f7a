// A kiosk forgets whoever walked away: after a while without a touch it asks, and then clears what was entered.

import { byId } from "/pages/dom.js";
import { t } from "/pages/i18n.js";

const ASK_S = 30;

/** Call `leave` after `minutes` without input and an unanswered question, while `busy()` says there is something. */
export function watchIdle(minutes, busy, leave) {
  const dialog = byId("idle");
  const count = byId("idle-count");
  let last = Date.now();
  let asked = 0;
  const stay = () => {
    last = Date.now();
  };
  for (const kind of ["pointerdown", "keydown", "input"]) document.addEventListener(kind, stay, { passive: true });
  dialog.addEventListener("close", stay);
  byId("idle-stay").addEventListener("click", () => dialog.close());
  setInterval(() => {
    if (!busy()) return stay();
    if (!dialog.open && Date.now() - last >= minutes * 60_000) {
      asked = Date.now();
      dialog.showModal();
    }
    if (!dialog.open) return;
    const left = ASK_S - Math.floor((Date.now() - asked) / 1000);
    count.textContent = t("idle.count", { seconds: Math.max(0, left) });
    if (left <= 0) {
      dialog.close();
      leave();
    }
  }, 500);
}
