// Filters, sorting, keys, theme, deep links, printing.

const MOST_OPEN_IN_PRINT = 50;
const root = document.documentElement;

// A choice of values, where one of them would leave a check out.
function select(key, label, valuesOf, text = (value) => value) {
  const values = [...new Set(checks.flatMap(valuesOf))].filter(Boolean).sort(collator.compare);
  if (!values.some((value) => checks.some((check) => !valuesOf(check).includes(value)))) return null;
  return h("select", { "aria-label": label, change: (event) => { state[key] = event.target.value; refresh(); } },
    h("option", { value: "" }, label), values.map((value) => h("option", { value }, text(value))));
}

function filters() {
  const title = (code) => [code, page.codes[code]].filter(Boolean).join(" ");
  const found = [
    select("file", "All files", (check) => [check.file]),
    select("tag", "All tags", (check) => check.tags ?? []),
    select("kind", "All types", (check) => [check.kind]),
    select("code", "All codes", (check) => check.codes, title),
  ];
  find(".selects").append(...found.filter(Boolean));
  find("#search").addEventListener("input", (event) => {
    state.words = event.target.value.toLowerCase().split(/\s+/).filter(Boolean);
    refresh();
  });
  find(".tools").addEventListener("submit", (event) => event.preventDefault());
  find("#clear").addEventListener("click", () => { clear(); find("#search").focus(); });
  for (const chip of findAll(".chip")) {
    chip.addEventListener("click", () => {
      const on = chip.getAttribute("aria-pressed") !== "true";
      chip.setAttribute("aria-pressed", String(on));
      if (on) state.statuses.add(chip.dataset.status);
      else state.statuses.delete(chip.dataset.status);
      refresh();
    });
  }
  for (const header of findAll("th[data-key]")) {
    find("button", header).addEventListener("click", () => {
      const { key } = header.dataset;
      // Of numbers, the largest are looked for first.
      state.down = state.sort === key ? !state.down : key === "worst" || key === "time";
      state.sort = key;
      refresh();
    });
  }
  body.addEventListener("click", (event) => {
    const row = event.target.closest("tr.row");
    if (!row || (getSelection().toString() && !event.target.closest("button"))) return;
    open(row.check, !isOpen(row.check));
  });
}

function step(by) {
  if (!visible.length) return;
  const here = document.activeElement.closest("tr.row, tr.panel");
  const row = here?.classList.contains("panel") ? here.previousElementSibling : here;
  const at = row ? visible.indexOf(row.check) : by > 0 ? -1 : visible.length;
  focusOn(visible[Math.min(Math.max(at + by, 0), visible.length - 1)]);
}

function keys(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
  const field = event.target.closest("input, select, textarea");
  if (event.key === "Escape" && (field?.id === "search" || !field)) {
    if (isFiltered()) clear();
    else field?.blur();
    return;
  }
  if (field || event.target.closest("canvas")) return;
  const onRow = event.target.closest("tr.row");
  const moves = { j: 1, k: -1, ...(onRow ? { ArrowDown: 1, ArrowUp: -1 } : {}) };
  if (event.key === "/") find("#search").focus();
  else if (event.key in moves) step(moves[event.key]);
  else return;
  event.preventDefault();
}

function themes() {
  const button = find("#theme");
  const tell = () => button.setAttribute("aria-pressed", String(isDark()));
  button.addEventListener("click", () => {
    root.dataset.theme = isDark() ? "light" : "dark";
    try {
      localStorage.setItem("gradcheck-theme", root.dataset.theme);
    } catch {
      // Then it is for this visit only.
    }
    tell();
    repaintAll();
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { tell(); repaintAll(); });
  tell();
}

function follow() {
  let id = location.hash.slice(1);
  try {
    id = decodeURIComponent(id);
  } catch {
    // A percent sign that begins no escape: the id is meant as it stands.
  }
  const check = id && checks.find((one) => one.id === id);
  if (!check) return;
  show(check);
  open(check);
  find("button", check.row).focus({ preventScroll: true });
  check.row.scrollIntoView({ block: "start" });
}

// On paper: all rows, what needs attention opened, in light colours.
let before = null;
function paper() {
  before = { theme: root.dataset.theme, opened: [] };
  extend(generation, visible.length);
  for (const check of visible.filter((one) => ORDER.indexOf(one.status) < 3 && !isOpen(one)).slice(0, MOST_OPEN_IN_PRINT)) {
    open(check);
    before.opened.push(check);
  }
  root.dataset.theme = "light";
  repaintAll();
}

function screen() {
  if (!before) return;
  if (before.theme) root.dataset.theme = before.theme;
  else delete root.dataset.theme;
  before.opened.forEach((check) => open(check, false));
  before = null;
  repaintAll();
}

// What does nothing without scripts is not there without them.
for (const part of findAll("[data-script]")) part.hidden = false;
for (const chip of findAll(".chip")) chip.disabled = false;
for (const part of findAll(".bar span")) part.style.flexGrow = part.dataset.count;
for (const button of findAll("[data-copy]")) {
  button.addEventListener("click", () => copy(button, document.getElementById(button.dataset.copy).textContent));
}
const unusual = new Set(checks.map((check) => check.kind));
find("table.checks").classList.toggle("plain", unusual.size < 2 && (unusual.size === 0 || unusual.has("float64 cpu")));
filters();
themes();
refresh();
find(".tools").hidden = find("table.checks").hidden = checks.length === 0;
const problems = checks.filter((check) => ORDER.indexOf(check.status) < 3);
if (checks.length === 1) open(checks[0]);
else if (problems.length === 1) open(problems[0]);
follow();
addEventListener("hashchange", follow);
addEventListener("keydown", keys);
addEventListener("beforeprint", paper);
addEventListener("afterprint", screen);
performance.mark("gradcheck-ready");
