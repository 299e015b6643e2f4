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

async function send(method, path, body, signal) {
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
    if (await askKey()) return send(method, path, body, signal);
    throw new Refused("This server needs its API key.", "key_missing", 401);
  }
  if (answer.ok) return answer;
  const told = await answer.json().catch(() => ({}));
  const wait = answer.headers.get("Retry-After");
  const said = told.error?.message ?? `the server answered ${answer.status}`;
  throw new Refused(wait ? `${said} (try again in ${wait} s)` : said, told.error?.code, answer.status);
}

export async function call(method, path, body, signal) {
  const answer = await send(method, path, body, signal);
  return answer.status === 204 ? {} : answer.json().catch(() => ({}));
}

// Yields the events of a stream as [name, data].
export async function* listen(path, body, signal) {
  const answer = await send("POST", path, body, signal);
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let kept = "";
  for (;;) {
    const { value, done } = await reader.read().catch((error) => {
      if (error.name === "AbortError") throw error;
      throw new Refused("The server broke off. Is secondpass serve still running?", "unreachable", 0);
    });
    if (done) return;
    const events = (kept + value).split("\n\n");
    kept = events.pop();
    for (const event of events) {
      const [name, data] = event.split("\n").map((line) => line.slice(line.indexOf(":") + 2));
      yield [name, JSON.parse(data)];
    }
  }
}
