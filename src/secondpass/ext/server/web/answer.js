// The answer above the lists: written while one looks on, each number in it a passage to read.

import { listen } from "./api.js";
import { clean, fileOf, linesOf, make } from "./dom.js";

const panel = document.getElementById("answer");
const text = panel.querySelector(".text"), sources = panel.querySelector("ol"), facts = panel.querySelector(".facts");
let writing = null;

export function hideAnswer() {
  writing?.abort();
  panel.hidden = true;
}

const time = (value) => value < 1000 ? `${Math.round(value)} ms` : `${(value / 1000).toFixed(1)} s`;

function told(found) {
  if (found.refused) return found.why === "threshold" ? "no passage is sure enough" : "nothing found that answers";
  const said = [found.llm !== "none" ? `written by ${found.llm}` : "quoted word for word", time(found.timings_ms.total)];
  if (found.cut_off) said.push("cut off at its longest");
  if (found.flags.length) said.push(`${found.flags.length} sentence${found.flags.length === 1 ? "" : "s"} not borne out by the source named`);
  return said.join(" · ");
}

function read(passage, found, open) {
  const quote = found.citations.find((each) => each.number === passage.number)?.quotes[0];
  open({ passage, score: passage.score, probability: passage.probability }, quote?.span);
}

// Numbers in brackets become buttons where such a passage was given.
function write(found, open) {
  const given = new Map(found.passages.map((each) => [String(each.number), each]));
  const button = (passage, ...label) => {
    const made = make("button", { type: "button", class: "source", title: `${fileOf(passage)} ${linesOf(passage)}` }, ...label);
    made.addEventListener("click", () => read(passage, found, open));
    return made;
  };
  text.replaceChildren(...found.answer.split(/(\[\d+\])/).filter(Boolean).map((part) => {
    const passage = /^\[\d+\]$/.test(part) && given.get(part.slice(1, -1));
    return passage ? button(passage, passage.number) : clean(part.replace(/ $/, "\u00a0")); // no number begins a line
  }));
  sources.replaceChildren(...found.passages.filter((each) => each.cited).map((each) =>
    make("li", {}, button(each, `${each.number} `, make("span", { class: "file" }, fileOf(each)), make("span", { class: "lines" }, linesOf(each))))));
}

export async function showAnswer(body, open) {
  writing?.abort();
  const control = writing = new AbortController();
  panel.hidden = false;
  panel.setAttribute("aria-busy", "true");
  text.replaceChildren();
  sources.replaceChildren();
  facts.textContent = "Reading…";
  try {
    for await (const [name, data] of listen("/v1/answer", { ...body, stream: true }, control.signal)) {
      if (name === "error") throw new Error(data.error.message);
      if (name === "text") text.append(clean(data.text));
      if (name === "answer") {
        write(data, open);
        facts.textContent = told(data);
      }
    }
  } catch (error) {
    if (error.name === "AbortError") return;
    panel.hidden = !text.textContent;
    facts.textContent = "It was not finished.";
    throw error;
  } finally {
    if (writing === control) panel.removeAttribute("aria-busy");
  }
}
