// The page: what is asked stands in the address, what is answered in the lists.

import { hideAnswer, showAnswer } from "./answer.js";
import { call } from "./api.js";
import { make } from "./dom.js";
import { listenForFiles } from "./documents.js";
import { isOpen, openPassage } from "./passage.js";
import { highlight, show } from "./lists.js";
import { bestSentences } from "./sentences.js";
import { theme } from "./theme.js";

const at = (id) => document.getElementById(id);
const fields = { q: at("query"), reranker: at("reranker"), stage1: at("stage1"), candidates: at("candidates"), k: at("k"), where: at("where") };
const defaults = { q: "", reranker: "auto", stage1: "dense", candidates: "20", k: "5", where: "" };
const marks = new Map();
let answer = null;
let asking = null;

function read() {
  return Object.fromEntries(Object.entries(fields).map(([name, field]) => [name, field.value.trim()]));
}

function address() {
  const query = new URLSearchParams(Object.entries(read()).filter(([name, value]) => value !== defaults[name]));
  return query.size ? `?${query}` : location.pathname;
}

function remember(replace) {
  const there = address();
  if (there === (location.search || location.pathname)) return;
  history[replace ? "replaceState" : "pushState"](null, "", there);
}

function restore() {
  const given = new URLSearchParams(location.search);
  for (const [name, field] of Object.entries(fields)) {
    const value = given.get(name) ?? defaults[name];
    if (field instanceof HTMLSelectElement && ![...field.options].some((each) => each.value === value)) {
      field.append(make("option", { value }, value));
    }
    field.value = value;
  }
  tell();
}

function tell() {
  fields.k.max = Math.min(20, Number(fields.candidates.value));
  at("k-shown").value = fields.k.value;
  at("candidates-shown").value = fields.candidates.value;
}

function problem(error) {
  const place = at("error");
  place.hidden = !error;
  place.textContent = error ? error.message : "";
}

function filter(text) {
  if (!text) return undefined;
  const pairs = text.split(/[,;]\s*/).filter(Boolean).map((each) => {
    const [name, ...value] = each.split("=");
    if (!name.trim() || !value.length) throw new Error(`The filter “${each}” is not NAME=VALUE, for example name=handbook.txt.`);
    return [name.trim(), value.join("=").trim()];
  });
  return Object.fromEntries(pairs);
}

const asked = (wanted, k) => ({ query: wanted.q, k, candidates: Number(wanted.candidates), stage1: wanted.stage1, where: filter(wanted.where) });
const readBy = ({ reranker }) => reranker === "auto" ? {} : reranker === "none" ? { reranker, min_precision: null } : { reranker };

async function ask() {
  asking?.abort();
  hideAnswer();
  const wanted = read();
  problem(null);
  if (!wanted.q) { answer = null; render(); return; }
  const control = asking = new AbortController();
  at("results").setAttribute("aria-busy", "true");
  at("status").textContent = "Searching…";
  try {
    const body = asked(wanted, Number(wanted.candidates));
    if (wanted.reranker === "none") {
      const found = await call("POST", "/v1/search", { ...body, ...readBy(wanted) }, control.signal);
      answer = { query: wanted.q, first: { hits: found.hits, how: found.stage1, timings: found.timings_ms }, second: null };
    } else {
      const names = wanted.reranker === "auto" ? {} : { rerankers: [wanted.reranker] };
      const found = (await call("POST", "/v1/compare", { ...body, ...names }, control.signal)).comparisons[0];
      answer = { query: wanted.q, first: { hits: found.stage1.hits, how: found.stage1.how, timings: found.stage1.timings_ms }, second: found.rerankers[0] };
    }
    marks.clear();
    render();
    if (answer.second) bestSentences(answer, Number(fields.k.value), control.signal).then(render, () => {});
  } catch (error) {
    if (error.name === "AbortError") return;
    answer = null;
    render();
    at("status").textContent = "";
    problem(error);
  } finally {
    if (asking === control) at("results").removeAttribute("aria-busy");
  }
}

async function write() {
  const wanted = read();
  if (!wanted.q) { fields.q.focus(); return; }
  remember(false);
  if (answer?.query !== wanted.q) await ask();
  if (!answer) return;
  try {
    await showAnswer({ ...asked(wanted, Number(wanted.k)), ...readBy(wanted) }, (hit, span) => openPassage(hit, marks, mark, span).catch(problem));
  } catch (error) {
    problem(error);
  }
}

const ms = (value) => value == null ? "" : value < 10 ? `${value.toFixed(1)} ms` : `${Math.round(value)} ms`;

function summary({ first, second }) {
  const said = [`${first.hits.length} candidate${first.hits.length === 1 ? "" : "s"}`];
  if (second) {
    said.push(`scored ${second.scored} of ${first.hits.length}`);
    if (second.cached) said.push(`${second.cached} known from before`);
    if (second.truncated) said.push(`${second.truncated} not read whole`);
    if (second.unread) said.push(`${second.unread} not read in time`);
  }
  return said.join(" · ");
}

function render() {
  const focused = document.activeElement?.closest?.(".row");
  const back = focused && [focused.closest(".lane").className, focused.dataset.id];
  at("results").hidden = !answer || !answer.first.hits.length;
  at("start").hidden = Boolean(fields.q.value.trim());
  if (!answer) { if (!fields.q.value.trim()) at("status").textContent = ""; return; }
  if (!answer.first.hits.length) {
    at("status").textContent = fields.where.value ? "Nothing found. The filter may leave out too much." : "Nothing found. Index some documents first, or ask in other words.";
    return;
  }
  at("status").textContent = summary(answer);
  const { first, second } = answer;
  const spent = `embed ${ms(first.timings.embed)} · search ${ms(first.timings.search)}`;
  show(at("results"), { title: `Stage 1 · ${first.how}`, aside: spent, hits: first.hits },
    second && { title: `Stage 2 · ${second.reranker}`, aside: `re-rank ${ms(second.timings_ms.rerank)}`, hits: second.hits },
    Number(fields.k.value), marks);
  for (const [id, span] of answer.best ?? []) {
    const place = at("results").querySelector(`.after .row[data-id="${CSS.escape(id)}"] .opening`);
    const hit = second?.hits.find((each) => each.passage.id === id);
    if (!place || !hit) continue;
    place.replaceChildren();
    highlight(place, Array.from(hit.passage.text).slice(...span).join("").replace(/\s+/g, " "), [0, span[1] - span[0]]);
  }
  if (back) document.getElementsByClassName(back[0])[0]?.querySelector(`.row[data-id="${CSS.escape(back[1])}"]`)?.focus();
}

export async function mark(id, relevant) {
  try {
    await call("POST", "/v1/judgments", { query: answer.query, passage_id: id, relevant });
    if (relevant === null) marks.delete(id); else marks.set(id, relevant);
    problem(null);
    render();
    at("status").textContent = relevant === null ? "Mark taken back" : `Marked ${relevant ? "relevant" : "not relevant"}`;
    return true;
  } catch (error) {
    problem(error);
    return false;
  }
}

function hitOf(row) {
  const second = row.closest(".after") && answer.second;
  return (second || answer.first).hits.find((each) => each.passage.id === row.dataset.id);
}

function beside(row) {
  return [...at("results").querySelectorAll(".row")].find((each) => each !== row && each.dataset.id === row.dataset.id);
}

function onKey(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
  const inField = event.target.matches("input, select, textarea");
  if (event.key === "/" && !inField) { event.preventDefault(); fields.q.select(); fields.q.focus(); return; }
  const list = at("results").querySelector(".after") ?? at("results").querySelector(".before");
  if (event.target === fields.q && event.key === "ArrowDown") { event.preventDefault(); list?.querySelector(".row")?.focus(); return; }
  const row = event.target.closest?.(".row");
  if (!row) return;
  const rows = [...row.closest(".lane").querySelectorAll(".row")];
  const steps = { ArrowDown: 1, ArrowUp: -1, j: 1, k: -1 };
  if (event.key in steps) {
    event.preventDefault();
    (rows[rows.indexOf(row) + steps[event.key]] ?? (event.key === "ArrowUp" ? fields.q : row)).focus();
  } else if (event.key === "ArrowLeft" || event.key === "ArrowRight") {
    event.preventDefault();
    if (Boolean(row.closest(".before")) === (event.key === "ArrowRight")) beside(row)?.focus();
  } else if (["y", "n", "u"].includes(event.key)) {
    mark(row.dataset.id, { y: true, n: false, u: null }[event.key]);
  }
}

async function offer() {
  const told = await call("GET", "/v1/models");
  const list = told.rerankers ?? told.data ?? [];
  for (const each of list) {
    const name = typeof each === "string" ? each : each.name ?? each.id;
    if (each.role && each.role !== "reranker") continue;
    if (name && ![...fields.reranker.options].some((option) => option.value === name)) fields.reranker.append(make("option", { value: name }, name));
  }
}

at("ask").addEventListener("submit", (event) => { event.preventDefault(); remember(false); ask(); });
at("ask-answer").addEventListener("click", write);
at("hide-answer").addEventListener("click", hideAnswer);
fields.q.addEventListener("keydown", (event) => { if (event.key === "Enter" && event.shiftKey) { event.preventDefault(); write(); } });
for (const name of ["reranker", "stage1", "candidates", "where"]) fields[name].addEventListener("change", () => { remember(false); if (fields.q.value.trim()) ask(); });
for (const name of ["candidates", "k"]) fields[name].addEventListener("input", tell);
fields.k.addEventListener("input", render);
fields.k.addEventListener("change", () => remember(true));
addEventListener("popstate", () => { restore(); ask(); });
document.addEventListener("keydown", onKey);
at("results").addEventListener("click", (event) => {
  const row = event.target.closest(".row");
  if (row) openPassage(hitOf(row), marks, mark, (answer.best ?? new Map()).get(row.dataset.id)).catch(problem);
});
theme(at("theme"));
listenForFiles(problem, () => { if (fields.q.value.trim() && !isOpen()) ask(); });
restore();
offer().catch(problem).then(() => asking ?? ask()); // unless someone was quicker
