// The two lists and the lines between them: where each passage stood, and where it stands now.

import { clean, draw, fileOf, linesOf, make } from "./dom.js";

const ROW = 56, CUT = 32, WIDTH = 100; // as in style.css: 3.5rem, 2rem

const middle = (row, split) => row * ROW + ROW / 2 + (row >= split ? CUT : 0);
const scoreOf = (score) => score == null ? "unread" : score.toFixed(3);

export function kindOf(before, after, k) {
  if (after > k) return "dropped";
  if (before > k) return "new";
  return after < before ? "up" : after > before ? "down" : "same";
}

function row(hit, rank, side, k, marks) {
  const passage = hit.passage;
  const before = hit.candidate?.rank ?? rank;
  const kind = side === "after" ? kindOf(before, rank, k) : "";
  const mark = marks.get(passage.id);
  const score = side === "after" ? hit.score : hit.candidate?.score ?? hit.score;
  const button = make("button", { type: "button", class: "row", "data-id": passage.id },
    make("span", { class: "rank" }, String(rank)),
    make("span", { class: "where" }, make("span", { class: "file" }, fileOf(passage)), make("span", { class: "lines" }, linesOf(passage))),
    side === "after" ? make("span", { class: `badge ${kind}` }, kind === "same" ? "same" : `${before} → ${rank}`) : null,
    make("span", { class: "score" }, scoreOf(score)),
    make("span", { class: "opening" }, passage.text.slice(0, 160).replace(/\s+/g, " ")),
    mark === undefined ? null : make("span", { class: `judged ${mark ? "yes" : "no"}` }, mark ? "✓ relevant" : "✗ not relevant"));
  return make("li", { "data-id": passage.id, "data-rank": rank, class: mark === undefined ? null : mark ? "relevant" : "irrelevant" }, button);
}

function lane(side, title, aside, hits, k, marks) {
  const list = make("ol", { "aria-label": title });
  for (const [n, [hit, rank]] of hits.entries()) {
    if (n === Math.min(k, hits.length) && n > 0) list.append(make("li", { class: "cut" }, side === "before" ? `behind the first ${k}` : `no longer among the first ${k}`));
    list.append(row(hit, rank, side, k, marks));
  }
  return make("div", { class: `lane ${side}` },
    make("div", { class: "head" }, make("b", {}, title), make("span", {}, aside)), list);
}

function lines(left, right, k) {
  const rows = Math.max(left.length, right.length);
  const height = rows * ROW + (rows > k ? CUT : 0);
  const svg = draw("svg", { class: "moves", viewBox: `0 0 ${WIDTH} ${height}`, height: `${height / 16}rem`, preserveAspectRatio: "none", role: "img" });
  const at = new Map(left.map(([hit], n) => [hit.passage.id, n]));
  const order = ["dropped", "same", "down", "up", "new"];
  const told = [];
  const drawn = right.flatMap(([hit, rank], n) => {
    const from = at.get(hit.passage.id);
    if (from === undefined) return [];
    const kind = kindOf(left[from][1], rank, k);
    told.push(`rank ${left[from][1]} to ${rank}`);
    const y = middle(from, k), end = middle(n, k);
    const move = draw("g", { class: `move ${kind}`, "data-id": hit.passage.id },
      draw("path", { class: "way", d: `M0 ${y} C50 ${y} 50 ${end} ${WIDTH} ${end}` }),
      draw("path", { class: "dots", d: `M0 ${y}h0 M${WIDTH} ${end}h0` }));
    return [[order.indexOf(kind), move]];
  });
  svg.setAttribute("aria-label", told.join("; "));
  svg.append(...drawn.sort((a, b) => a[0] - b[0]).map(([, move]) => move));
  return svg;
}

export function show(into, first, second, k, marks) {
  // first, second: {title, aside, hits} with every candidate; second is null with stage 2 off.
  const ranked = (hits) => hits.map((hit, n) => [hit, hit.rank ?? n + 1]);
  const all = ranked(first.hits);
  let left = all.slice(0, k);
  if (!second) {
    into.replaceChildren(make("div", { class: "duel single" }, lane("before", first.title, first.aside, left, k, marks)));
    return;
  }
  const other = ranked(second.hits);
  const top = new Set(other.slice(0, k).map(([hit]) => hit.passage.id));
  const shown = new Set(left.map(([hit]) => hit.passage.id));
  const right = other.filter(([hit, rank]) => rank <= k || shown.has(hit.passage.id));
  left = all.filter(([hit, rank]) => rank <= k || top.has(hit.passage.id));
  const duel = make("div", { class: "duel" }, lane("before", first.title, first.aside, left, k, marks), lines(left, right, k),
    lane("after", second.title, second.aside, right, k, marks));
  const light = (event) => {
    const id = event.type === "pointerleave" ? null : event.target.closest("[data-id]")?.dataset.id;
    duel.querySelector(".moves").classList.toggle("dim", Boolean(id));
    for (const each of duel.querySelectorAll("[data-id]")) each.classList.toggle("lit", each.dataset.id === id);
  };
  for (const kind of ["pointerover", "focusin", "pointerleave"]) duel.addEventListener(kind, light);
  into.replaceChildren(duel);
}

export function highlight(into, text, span) {
  // span counts code points, as the server does; JavaScript counts UTF-16 units.
  const points = Array.from(text);
  const part = (from, to) => clean(points.slice(from, to).join(""));
  const [start, end] = span ?? [0, 0];
  into.append(part(0, start));
  if (end > start) into.append(make("mark", {}, part(start, end)));
  into.append(part(end));
}
