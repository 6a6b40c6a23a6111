// The list of checks: which are shown, in what order, and their rows.

const CHUNK = 150;
const ORDER = ["failed", "error", "inconclusive", "passed", "skipped"];
const page = JSON.parse(find("#data").textContent);
const checks = page.checks;
const body = find("table.checks tbody");
const collator = new Intl.Collator(undefined, { numeric: true });
const state = { statuses: new Set(), words: [], file: "", tag: "", kind: "", code: "", sort: "status", down: false };
let visible = [];
let generation = 0;

checks.forEach((check, position) => {
  check.position = position;
  check.kind = [check.dtype, check.device].filter(Boolean).join(" ");
  check.codes = [...new Set([...(check.diagnoses ?? []), ...(check.errors ?? [])].map((one) => one.code))];
});

const textOf = (check) => {
  check.text ??= [
    check.id, check.name, check.about, check.kind, check.status, ...(check.tags ?? []), ...check.codes,
    check.implementation, check.expression?.[0], ...(check.let ?? []).map(([name, text]) => `${name} = ${text}`),
    ...(check.gradients ?? []).flatMap((one) => [one.input, one.manual?.[0], one.derived?.[0]]),
    ...(check.diagnoses ?? []).flatMap((one) => [one.message, one.fix?.[0]]),
    ...(check.errors ?? []).map((one) => one.message),
  ].filter(Boolean).join("\n").toLowerCase();
  return check.text;
};

function fits(check) {
  return (state.statuses.size === 0 || state.statuses.has(check.status))
    && (!state.file || check.file === state.file)
    && (!state.tag || check.tags?.includes(state.tag))
    && (!state.kind || check.kind === state.kind)
    && (!state.code || check.codes.includes(state.code))
    && state.words.every((word) => textOf(check).includes(word));
}

const amount = (text) => {
  if (text === undefined) return -1;
  return text === "nan" || text === "inf" ? Infinity : Number(text);
};
const KEYS = {
  status: (a, b) => ORDER.indexOf(a.status) - ORDER.indexOf(b.status),
  name: (a, b) => collator.compare(a.name ?? "", b.name ?? ""),
  kind: (a, b) => collator.compare(a.kind, b.kind),
  worst: (a, b) => {
    const [one, other] = [amount(a.worst), amount(b.worst)];
    return one === other ? 0 : one - other;
  },
  time: (a, b) => (a.seconds ?? 0) - (b.seconds ?? 0),
};

function refresh() {
  const compare = KEYS[state.sort];
  const sign = state.down ? -1 : 1;
  visible = checks.filter(fits).sort((a, b) => sign * compare(a, b) || a.position - b.position);
  generation += 1;
  body.replaceChildren();
  extend(generation);
  const all = checks.length.toLocaleString("en");
  const noun = checks.length === 1 ? "check" : "checks";
  find("#shown").textContent = visible.length === checks.length ? `${all} ${noun}` : `${visible.length.toLocaleString("en")} of ${all} ${noun}`;
  find(".nothing").hidden = visible.length > 0 || checks.length === 0;
  find("#clear").hidden = !isFiltered();
  for (const header of findAll("th[data-key]")) {
    if (header.dataset.key === state.sort) header.setAttribute("aria-sort", state.down ? "descending" : "ascending");
    else header.removeAttribute("aria-sort");
  }
}

const isFiltered = () => state.statuses.size > 0 || state.words.length > 0 || ["file", "tag", "kind", "code"].some((key) => state[key]);

// What is in view comes at once; the rest follows while the browser is idle, so that its own search finds all.
const idle = window.requestIdleCallback ?? ((work) => setTimeout(work, 16));
let drawn = 0;
function extend(own, upTo = 0) {
  if (own !== generation) return;
  if (!body.firstChild) drawn = 0;
  const end = Math.min(visible.length, Math.max(drawn + CHUNK, upTo));
  body.append(...visible.slice(drawn, end).flatMap(rowsOf));
  drawn = end;
  if (drawn < visible.length) idle(() => extend(own));
}

function rowsOf(check) {
  check.row ??= rowOf(check);
  return check.panel ? [check.row, check.panel] : [check.row];
}

function rowOf(check) {
  const extra = [check.expected && "fails as expected", ...check.codes].filter(Boolean);
  const button = h("button", { type: "button", "aria-expanded": "false" }, bdi(check.name ?? "(no name)"));
  const row = h("tr", { class: `row ${check.status}`, role: "row" },
    h("td", { class: "status", role: "cell" }, h("span", { class: "mark", "aria-hidden": "true" }), h("span", { class: "word" }, check.status)),
    h("th", { class: "name", scope: "row", role: "rowheader" }, h("div", {},
      h("span", { class: "title" }, button, extra.map((one) => h("span", { class: "gc", title: page.codes[one] }, one))),
      check.file && h("span", { class: "file" }, bdi(place(check))))),
    h("td", { class: "kind", role: "cell" }, check.kind),
    h("td", { class: "worst", role: "cell" }, check.worst ?? ""),
    h("td", { class: "time", role: "cell" }, check.time ?? ""));
  row.check = check;
  return row;
}

const isOpen = (check) => Boolean(check.panel && !check.panel.hidden);

function open(check, wanted = true) {
  if (wanted && !check.panel) {
    check.panel = h("tr", { class: "panel", role: "row", id: `check-${check.position}` },
      h("td", { colspan: "5", role: "cell" }, h("div", { class: "inside" }, detail(check))));
    find("button", check.row).setAttribute("aria-controls", check.panel.id);
    check.row.after(check.panel);
  }
  if (check.panel) check.panel.hidden = !wanted;
  check.row.classList.toggle("open", wanted);
  find("button", check.row).setAttribute("aria-expanded", String(wanted));
}

function show(check) {
  if (!fits(check)) clear();
  const at = visible.indexOf(check);
  if (at >= drawn) extend(generation, at + 1);
  return check.row;
}

function focusOn(check) {
  const row = show(check);
  find("button", row).focus({ preventScroll: true });
  row.scrollIntoView({ block: "nearest" });
}

function clear() {
  state.statuses.clear();
  Object.assign(state, { words: [], file: "", tag: "", kind: "", code: "" });
  find("#search").value = "";
  findAll(".selects select").forEach((select) => { select.value = ""; });
  findAll(".chip").forEach((chip) => chip.setAttribute("aria-pressed", "false"));
  refresh();
}
