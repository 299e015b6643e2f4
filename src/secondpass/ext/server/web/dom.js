// Making elements: text from documents only ever becomes text nodes.

const TURNS = /[\u0000-\u0008\u000b\u000e-\u001f\u007f-\u009f\u202a-\u202e\u2066-\u2069]/g;

export const clean = (text) => String(text ?? "").replace(TURNS, "\ufffd");

export function make(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value === true) element.setAttribute(key, "");
    else if (value !== false && value != null) element.setAttribute(key, value);
  }
  element.append(...children.filter((each) => each != null).map((each) => each instanceof Node ? each : clean(each)));
  return element;
}

const SVG = "http://www.w3.org/2000/svg";
export function draw(name, attributes = {}, ...children) {
  const element = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children);
  return element;
}

export const fileOf = (passage) => String(passage.source ?? passage.document_id ?? "").split(/[\\/]/).pop();
export const linesOf = (passage) => passage.page != null ? `p. ${passage.page}`
  : passage.line_start === passage.line_end ? `:${passage.line_start}` : `:${passage.line_start}-${passage.line_end}`;
