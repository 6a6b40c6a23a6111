// What stands under a check's row when it is opened: made then, and kept.

const MOST_TOKENS = 400;
const METHOD_COLUMNS = ["method", "verdict", "error/allowance", "max abs", "max rel", "mismatched", "worst at", "value", "expected", "time"];
const REASON = METHOD_COLUMNS.length;

function detail(check) {
  return [
    about(check),
    (check.errors ?? []).map(error),
    [...check.diagnoses ?? []].sort((a, b) => Boolean(a.warning) - Boolean(b.warning)).map(explain),
    expression(check),
    (check.gradients ?? []).map((one) => gradient(one, (check.diagnoses ?? []).some((other) => other.before && other.input === one.input))),
    check.reproduce && h("section", {}, h("h3", {}, "Run this check alone"), code(check.reproduce, "the command that runs this check")),
  ].flat().filter(Boolean);
}

const sizes = (shape) => (shape?.length ? shape.join("×") : "a number");
const place = (check) => [check.file || "<expression>", check.line].filter((part) => part !== undefined).join(":");

// Where something is wrong, and the line of the file with carets under it.
function whereabouts({ place: where, excerpt }) {
  return [
    where && h("p", { class: "dim" }, bdi(where)),
    excerpt && scroller("the line of the file", { class: "source excerpt" }, h("code", {}, excerpt)),
  ];
}

function about(check) {
  const facts = [
    place(check),
    check.dtype && `${check.dtype} on ${check.device}`,
    check.seed !== undefined && `seed ${check.seed}`,
    check.order && "second order",
    check.time,
    check.tags?.length && check.tags.join(", "),
  ].filter(Boolean);
  return h("div", { class: "about" },
    h("p", { class: "dim" }, facts.map((fact) => h("span", {}, bdi(fact))),
      h("a", { href: `#${encodeURIComponent(check.id ?? "")}`, class: "permalink" }, "Link to this check")),
    check.about && h("p", {}, bdi(check.about)),
    check.expected && h("p", {}, check.status === "passed"
      ? "A known mistake: it passes because its gradient is found wrong, as expected."
      : "A known mistake that was expected to fail."));
}

function heading(entry) {
  const title = page.codes[entry.code];
  return h("h3", {}, h("span", { class: "gc" }, entry.code), title ? ` ${title}` : "");
}

// The sentence, without the title that stands above it already.
function sentence(entry) {
  const [title, message] = [`${page.codes[entry.code]}: `, entry.message ?? ""];
  return bdi(message.startsWith(title) ? message.slice(title.length) : message);
}

function error(problem) {
  return h("section", { class: "card bad" }, heading(problem), h("p", {}, sentence(problem)),
    whereabouts(problem),
    problem.hint && h("p", {}, h("span", { class: "dim" }, "How to fix it: "), bdi(problem.hint)));
}

function explain(diagnosis) {
  const blamed = [diagnosis.method, diagnosis.input].filter(Boolean).join(" of ");
  const tone = diagnosis.warning ? "warn" : "bad";
  return h("section", { class: `card ${tone}` }, heading(diagnosis),
    h("p", {}, sentence(diagnosis), blamed && h("span", { class: "dim" }, " (", bdi(blamed), ")")),
    whereabouts(diagnosis),
    diagnosis.fix && repair(diagnosis),
    diagnosis.difference && labelled("Right minus yours", formula(diagnosis.difference, "the difference")),
    diagnosis.operator && h("p", {}, h("span", { class: "dim" }, "Operator: "), h("code", {}, bdi(diagnosis.operator))),
    diagnosis.also?.length && h("div", { class: "also" }, h("p", { class: "dim" }, "Or:"),
      h("ul", {}, diagnosis.also.map((other) => h("li", {}, h("span", { class: "gc" }, other.code), " ", bdi(other.message ?? ""), other.fix && [" ", h("code", {}, bdi(other.fix))])))));
}

const labelled = (label, ...content) => h("div", { class: "labelled" }, h("h4", {}, label), ...content);

// The formula as it stands and as it passes, with what differs marked in both.
function repair({ before, fix }) {
  const right = h("div", { class: "repaired" }, formula(fix, "the repaired formula"));
  if (!before) return labelled("A formula that passes", right);
  const [out, into] = changes(before[0], fix[0]);
  const line = (sign, label, parts) => h("div", { class: `change ${sign === "−" ? "out" : "in"}` },
    h("span", { class: "sign", "aria-hidden": "true" }, sign), h("span", { class: "hidden" }, `${label}: `),
    scroller(label, { class: "source" }, h("code", {}, h("bdi", {}, parts))));
  return h("div", { class: "repair" },
    h("div", { class: "diff" }, line("−", "yours", out), line("+", "a formula that passes", into), copyButton("the repaired formula", fix[0])),
    h("div", { class: "sides" },
      before.length > 1 && labelled("Yours", scroller("your formula", { class: "math" }, before.slice(1).map(math))),
      fix.length > 1 && labelled("Passes", scroller("the repaired formula", { class: "math" }, fix.slice(1).map(math)))));
}

// The longest common subsequence of the tokens; what is not in it is deleted here and inserted there.
function changes(before, after) {
  const [a, b] = [before, after].map((text) => text.match(/\w+(?:\.\w+)*|\s+|[^\w\s]/gu) ?? []);
  if (a.length * b.length > MOST_TOKENS ** 2) return [[before], [after]];
  const lengths = Array.from({ length: a.length + 1 }, () => new Uint16Array(b.length + 1));
  for (let i = a.length - 1; i >= 0; i -= 1) {
    for (let j = b.length - 1; j >= 0; j -= 1) {
      lengths[i][j] = a[i] === b[j] ? lengths[i + 1][j + 1] + 1 : Math.max(lengths[i + 1][j], lengths[i][j + 1]);
    }
  }
  const [out, into] = [[], []];
  let [i, j] = [0, 0];
  while (i < a.length || j < b.length) {
    if (i < a.length && j < b.length && a[i] === b[j]) {
      put(out, "same", a[i]);
      put(into, "same", b[j]);
      i += 1;
      j += 1;
    } else if (j >= b.length || (i < a.length && lengths[i + 1][j] >= lengths[i][j + 1])) {
      put(out, "del", a[i]);
      i += 1;
    } else {
      put(into, "ins", b[j]);
      j += 1;
    }
  }
  return [out, into].map((runs) => runs.map(([kind, text]) => (kind === "same" ? text : h(kind, {}, text))));
}

function put(runs, kind, text) {
  const last = runs[runs.length - 1];
  if (last && last[0] === kind) last[1] += text;
  else runs.push([kind, text]);
}

function expression(check) {
  if (!check.expression && !check.implementation) return null;
  const [last, ...lines] = check.expression ?? [];
  const definitions = check.let ?? [];
  const text = [...definitions.map(([name, one]) => `${name} = ${one}`), last].filter(Boolean);
  const numbers = [...definitions.flatMap(([, , ...typeset]) => typeset), ...lines];
  const inputs = (check.inputs ?? []).map(([name, shape, dtype, checked]) => h("li", {},
    h("code", {}, bdi(name)), h("span", { class: "dim" }, ` ${sizes(shape)} ${dtype}${checked ? "" : ", no gradient"}`)));
  return h("section", {}, h("h3", {}, last ? "Expression" : "Implementation"),
    text.length > 0 && formula([text.join("\n"), ...numbers], "the expression"),
    check.implementation && h("p", { class: "implementation" }, last && h("span", { class: "dim" }, "Implementation: "), h("code", {}, bdi(check.implementation))),
    inputs.length > 0 && h("ul", { class: "inputs", "aria-label": "Inputs" }, inputs));
}

// With `known`, a diagnosis shows the manual formula already.
function gradient(one, known) {
  const second = one.order ? ", second derivative" : "";
  const methods = one.methods ?? [];
  return h("section", { class: "gradient" },
    h("h3", {}, "Gradient of ", bdi(one.input ?? ""), " ", h("span", { class: "dim" }, `${sizes(one.shape)}${second}`)),
    methods.length > 0 && comparison(one, methods),
    h("ul", { class: "notes" },
      methods.filter((method) => method[REASON]).map((method) => h("li", {}, h("strong", {}, method[0]), ": ", bdi(method[REASON]))),
      (one.notes ?? []).map((note) => h("li", {}, note))),
    h("div", { class: "sides" },
      one.manual && !known && labelled("Manual formula", formula(one.manual, `the manual formula for ${one.input}`)),
      one.derived && labelled("Derived formula",
        one.assuming && h("p", { class: "dim" }, "assuming ", bdi(one.assuming.join(", "))),
        formula(one.derived, `the derived formula for ${one.input}`))),
    heatmaps(one));
}

function comparison(one, methods) {
  return scroller(`methods compared for ${one.input}`, { class: "scroll" }, h("table", { class: "data methods" },
    h("caption", { class: "hidden" }, `Methods compared for ${one.input}`),
    h("thead", {}, h("tr", {}, METHOD_COLUMNS.map((name) => h("th", { scope: "col" }, name)))),
    h("tbody", {}, methods.map((cells) => h("tr", { class: cells[1] },
      h("th", { scope: "row" }, cells[0]),
      h("td", { class: "verdict" }, h("span", { class: "mark", "aria-hidden": "true" }), cells[1]),
      cells.slice(2, REASON).map((cell) => h("td", {}, cell)))))));
}
