// Asking the server: every error becomes one sentence, and a missing key is asked for once.

export class Refused extends Error {
  constructor(message, code, status) {
    super(message);
    this.code = code;
    this.status = status;
  }
}

const dialog = document.getElementById("key-dialog");

function askKey() {
  return new Promise((resolve) => {
    const field = document.getElementById("key");
    field.value = "";
    if (!dialog.open) dialog.showModal();
    dialog.addEventListener("close", () => {
      const given = field.value.trim();
      if (given) sessionStorage.setItem("key", given);
      resolve(Boolean(given));
    }, { once: true });
  });
}

export async function call(method, path, body, signal) {
  const headers = {};
  const key = sessionStorage.getItem("key");
  if (key) headers.Authorization = `Bearer ${key}`;
  const form = body instanceof FormData;
  if (body !== undefined && !form) headers["Content-Type"] = "application/json";
  let answer;
  try {
    answer = await fetch(path, {
      method, headers, signal, body: body === undefined || form ? body : JSON.stringify(body),
    });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refused("The server does not answer. Is secondpass serve still running?", "unreachable", 0);
  }
  if (answer.status === 401) {
    if (await askKey()) return call(method, path, body, signal);
    throw new Refused("This server needs its API key.", "key_missing", 401);
  }
  if (answer.status === 204) return {};
  const told = await answer.json().catch(() => ({}));
  if (answer.ok) return told;
  const wait = answer.headers.get("Retry-After");
  const said = told.error?.message ?? `the server answered ${answer.status}`;
  throw new Refused(wait ? `${said} (try again in ${wait} s)` : said, told.error?.code, answer.status);
}
