// The sentence of each hit that the re-ranker itself scores highest: a hint where to look.

import { call } from "./api.js";

const MOST = 200, LEAST = 12; // sentences in all; characters of one, as in the static report

// A mere line break ends no sentence, a blank line and a new point of a list do; the length stays the same.
const joined = (text) => text.replace(/(?<!\n[ \t]*)\n(?![ \t]*\n|[ \t]*(?:[-*+•|>#]|\d+[.)])\s)/g, " ");

function sentences(text) {
  const found = [];
  let start = 0;
  for (const { segment } of new Intl.Segmenter(undefined, { granularity: "sentence" }).segment(joined(text))) {
    const length = Array.from(segment).length;
    const lead = Array.from(segment).length - Array.from(segment.trimStart()).length;
    const size = Array.from(segment.trim()).length;
    if (size >= LEAST) found.push([start + lead, start + lead + size]);
    start += length;
  }
  return found;
}

export async function bestSentences(answer, k, signal) {
  const spans = [];
  for (const hit of answer.second.hits.slice(0, k)) {
    const found = sentences(hit.passage.text);
    if (found.length > 1) spans.push(...found.map((span) => [hit.passage, span]));
  }
  const asked = spans.slice(0, MOST);
  if (!asked.length) return;
  const documents = asked.map(([passage, span]) => Array.from(passage.text).slice(...span).join(""));
  const told = await call("POST", "/v1/rerank", { model: answer.second.reranker, query: answer.query, documents }, signal);
  const best = new Map();
  for (const { index } of told.results) { // the best comes first
    const [passage, span] = asked[index];
    if (!best.has(passage.id)) best.set(passage.id, span);
  }
  answer.best = best;
}
