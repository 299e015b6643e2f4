// The API as /openapi.json describes it: each route with what it takes and what it answers.

const place = document.getElementById("routes");
const state = document.getElementById("state");
const METHODS = ["get", "post", "put", "patch", "delete"];

function element(name, ...inside) {
  const made = document.createElement(name);
  made.append(...inside);
  return made;
}

function resolved(schema, all) {
  return schema?.$ref ? all[schema.$ref.split("/").pop()] ?? {} : schema ?? {};
}

function kind(schema, all) {
  if (!schema) return "any";
  if (schema.$ref) return schema.$ref.split("/").pop();
  if (schema.enum) return schema.enum.map((each) => JSON.stringify(each)).join(" | ");
  if ("const" in schema) return JSON.stringify(schema.const);
  const several = schema.anyOf ?? schema.oneOf;
  if (several) return several.map((each) => kind(each, all)).join(" | ");
  if (schema.type === "array") return `list of ${kind(schema.items, all)}`;
  return schema.type ?? "any";
}

function table(rows) {
  const made = element("table");
  for (const [name, type, about] of rows) {
    made.append(element("tr", element("th", element("code", name)), element("td", type), element("td", about)));
  }
  return made;
}

function fields(schema, all) {
  const whole = resolved(schema, all);
  const needed = new Set(whole.required ?? []);
  return Object.entries(whole.properties ?? {}).map(([name, each]) => [
    name, kind(each, all) + (needed.has(name) ? ", needed" : ""), each.description ?? "",
  ]);
}

function route(method, path, told, all) {
  const made = element("details", element(
    "summary", element("code", `${method.toUpperCase()} ${path}`), ` ${told.summary ?? ""}`));
  const given = (told.parameters ?? []).map((each) => [
    each.name, `${kind(each.schema, all)}, in the ${each.in}${each.required ? ", needed" : ""}`,
    each.description ?? each.schema?.description ?? "",
  ]);
  if (given.length) made.append(element("h3", "Parameters"), table(given));
  for (const [type, body] of Object.entries(told.requestBody?.content ?? {})) {
    made.append(element("h3", `Body (${type})`), table(fields(body.schema, all)));
  }
  const answers = Object.entries(told.responses ?? {}).map(([status, each]) => {
    const types = Object.values(each.content ?? {}).map((content) => kind(content.schema, all));
    return [status, types.join(" | "), each.description ?? ""];
  });
  made.append(element("h3", "Answers"), table(answers));
  return made;
}

async function show() {
  const answer = await fetch("/openapi.json");
  if (!answer.ok) throw new Error(`the server answered ${answer.status}`);
  const described = await answer.json();
  const all = described.components?.schemas ?? {};
  for (const [path, methods] of Object.entries(described.paths)) {
    for (const method of METHODS) {
      if (methods[method]) place.append(route(method, path, methods[method], all));
    }
  }
  place.append(element("h2", "Shapes"));
  for (const [name, schema] of Object.entries(all)) {
    place.append(element("details", element("summary", element("code", name)),
      element("p", schema.description ?? ""), table(fields(schema, all))));
  }
  state.textContent = `secondpass ${described.info.version}. Errors have one shape, ErrorBody; those of /rerank alone are a TeiErrorBody.`;
}

show().catch((error) => { state.textContent = `The description cannot be read: ${error.message}`; });
