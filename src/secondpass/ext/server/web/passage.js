// One passage in its document: what stands around it, where it is, and the marks.

import { call } from "./api.js";
import { fileOf, linesOf, make } from "./dom.js";
import { highlight } from "./lists.js";

const dialog = document.getElementById("passage");
const buttons = { true: dialog.querySelector('[data-mark="yes"]'), false: dialog.querySelector('[data-mark="no"]') };
let shown = null;

export const isOpen = () => dialog.open;
const words = (value) => value == null ? "" : typeof value === "string" ? value
  : Array.isArray(value) ? value.map(words).join("\n") : words(value.text);

function press() {
  for (const [value, button] of Object.entries(buttons)) {
    button.setAttribute("aria-pressed", String(shown.marks.get(shown.hit.passage.id) === (value === "true")));
  }
}

export async function openPassage(hit, marks, mark, best) {
  shown = { hit, marks, mark };
  const passage = hit.passage;
  dialog.querySelector("h2").textContent = `${fileOf(passage)} ${linesOf(passage)}`;
  const facts = [passage.source, passage.page != null ? `page ${passage.page}` : null, `lines ${passage.line_start}-${passage.line_end}`,
    hit.candidate ? `stage 1 rank ${hit.candidate.rank}, score ${hit.candidate.score?.toFixed(3)}` : null,
    hit.tokens_seen != null ? `score ${hit.score?.toFixed(3)}` : null,
    hit.probability != null ? `probability ${hit.probability.toFixed(3)}` : null,
    hit.tokens_seen != null && hit.tokens_seen < hit.tokens_total ? `read ${hit.tokens_seen} of ${hit.tokens_total} tokens` : null];
  dialog.querySelector(".facts").replaceChildren(facts.filter(Boolean).join(" · "));
  press();
  const place = dialog.querySelector(".surrounding");
  const body = make("p", { class: "self" });
  const whole = Array.from(passage.text).length;
  const read = hit.best_span && hit.best_span[1] - hit.best_span[0] < whole ? hit.best_span : null;
  highlight(body, passage.text, best ?? read);
  place.replaceChildren(body);
  dialog.showModal();
  const told = await call("GET", `/v1/passages/${encodeURIComponent(passage.id)}`);
  if (shown.hit !== hit) return;
  place.replaceChildren(make("p", { class: "around" }, words(told.before)), body, make("p", { class: "around" }, words(told.after)));
  body.scrollIntoView({ block: "nearest" });
}

async function set(value) {
  const now = shown.marks.get(shown.hit.passage.id);
  await shown.mark(shown.hit.passage.id, now === value ? null : value);
  press();
}

buttons.true.addEventListener("click", () => set(true));
buttons.false.addEventListener("click", () => set(false));
dialog.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === "y") set(true);
  if (event.key === "n") set(false);
});
for (const each of document.querySelectorAll("dialog [data-close]")) each.addEventListener("click", () => each.closest("dialog").close());
