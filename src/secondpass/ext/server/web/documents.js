// Documents: dropped or picked files are indexed, with progress; the list, and taking one out.

import { call } from "./api.js";
import { clean, make } from "./dom.js";

const at = (id) => document.getElementById(id);
const pause = (time) => new Promise((resolve) => { setTimeout(resolve, time); });

function tell(job) {
  const bar = at("progress");
  bar.hidden = job.state === "done" || job.state === "failed";
  if (job.total) { bar.max = job.total; bar.value = job.done ?? 0; } else bar.removeAttribute("value");
  if (!bar.hidden) { at("job").textContent = job.total ? `Indexing ${job.done} of ${job.total}` : "Indexing…"; return; }
  const said = [`${job.added ?? 0} added`];
  if (job.unchanged) said.push(`${job.unchanged} unchanged`);
  for (const each of job.failed ?? []) said.push(`${each.source}: ${each.reason}`);
  at("job").textContent = clean(said.join(" · "));
}

async function index(files, problem, done) {
  if (!files.length) return;
  const form = new FormData();
  for (const file of files) form.append("files", file, file.name);
  if (!at("documents").open) at("documents").showModal();
  try {
    at("job").textContent = `Sending ${files.length} file${files.length === 1 ? "" : "s"}…`;
    let job = await call("POST", "/v1/documents", form);
    const id = job.job ?? job.id;
    while (id && job.state !== "done" && job.state !== "failed") {
      job = await call("GET", `/v1/jobs/${encodeURIComponent(id)}`);
      tell(job);
      if (job.state !== "done" && job.state !== "failed") await pause(150);
    }
    await list();
    done();
  } catch (error) {
    at("progress").hidden = true;
    at("job").textContent = clean(error.message);
    problem(error);
  }
}

async function list() {
  const place = at("document-list");
  const told = await call("GET", "/v1/documents");
  const all = told.documents ?? [];
  place.replaceChildren(...all.map(entry));
  if (!all.length) place.append(make("li", {}, make("span", {}, "No documents yet. Drop files on the page, or pick some.")));
}

function entry(document_) {
  const id = document_.id ?? document_.document_id;
  const remove = make("button", { type: "button", "aria-label": `Delete ${clean(id)}` }, "Delete");
  const line = make("li", {}, make("span", { class: "source" }, document_.source ?? id),
    make("span", { class: "soft" }, document_.passages == null ? "" : `${document_.passages} passages`), remove);
  remove.addEventListener("click", async () => {
    if (remove.dataset.sure === undefined) {
      remove.dataset.sure = "";
      remove.textContent = "Delete it?";
      remove.addEventListener("blur", () => { delete remove.dataset.sure; remove.textContent = "Delete"; }, { once: true });
      return;
    }
    try {
      await call("DELETE", `/v1/documents/${id.split("/").map(encodeURIComponent).join("/")}`);
      at("job").textContent = "Deleted";
      await list();
    } catch (error) { at("job").textContent = clean(error.message); }
  });
  return line;
}

export function listenForFiles(problem, done) {
  const drop = at("drop");
  let depth = 0;
  const leave = () => { depth = 0; drop.hidden = true; };
  addEventListener("dragenter", (event) => { event.preventDefault(); depth += 1; drop.hidden = false; });
  addEventListener("dragleave", () => { depth -= 1; if (depth <= 0) leave(); });
  addEventListener("dragover", (event) => event.preventDefault());
  addEventListener("drop", (event) => { event.preventDefault(); leave(); index([...event.dataTransfer.files], problem, done); });
  at("files").addEventListener("change", (event) => { index([...event.target.files], problem, done); });
  at("open-documents").addEventListener("click", () => {
    at("job").textContent = "";
    at("documents").showModal();
    list().catch((error) => { at("job").textContent = clean(error.message); });
  });
}
