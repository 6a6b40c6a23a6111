// Pictures of a gradient and of its errors: canvases that share one cursor, moved by pointer or by arrow keys.

const PALETTES = {
  light: {
    values: ["#1f5fa8", "#7fb0dd", "#f3f3f1", "#eba45c", "#a84a00"],
    errors: ["#e9dcf5", "#b884d6", "#7b3ea8", "#3a0f5c"],
    within: "#eef1ee", line: "#ffffff", ink: "#5c626d", cursor: "#000000", nan: "#5c626d",
  },
  dark: {
    values: ["#7cbcff", "#3a6ea5", "#272b32", "#a8641f", "#ffb469"],
    errors: ["#3d2a52", "#7b48a5", "#bb84e0", "#f3e3ff"],
    within: "#22282a", line: "#15171b", ink: "#9aa1ad", cursor: "#ffffff", nan: "#9aa1ad",
  },
};
const DECADES = 6;
const WIDEST = 448;
const WORST = 5;
const pictures = new Set();

const isDark = () => {
  const chosen = document.documentElement.dataset.theme;
  return chosen ? chosen === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
};
const palette = () => PALETTES[isDark() ? "dark" : "light"];
const numeric = (cell) => (typeof cell === "number" ? cell : { nan: NaN, inf: Infinity, "-inf": -Infinity }[cell]);

function written(value, digits = 4) {
  if (Number.isNaN(value)) return "nan";
  if (!Number.isFinite(value)) return value > 0 ? "inf" : "-inf";
  const size = Math.abs(value);
  if (value === 0 || (size >= 1e-4 && size < 1e6)) return String(Number(value.toPrecision(digits)));
  return value.toExponential(digits - 1).replace(/\.?0*e/, "e").replace("e+", "e");
}

// Never rounded across 1, the border between agreeing and not.
function writtenRatio(value) {
  const text = written(value, value >= 1 && value < 1000 ? 3 : 2);
  return (Number(text) > 1) === (value > 1) ? text : written(value, 6);
}

function blend(stops, share) {
  const place = Math.min(Math.max(share, 0), 1) * (stops.length - 1);
  const at = Math.min(Math.floor(place), stops.length - 2);
  const part = (hex, channel) => parseInt(hex.slice(1 + 2 * channel, 3 + 2 * channel), 16);
  const mixed = [0, 1, 2].map((channel) => {
    const from = part(stops[at], channel);
    return Math.round(from + (part(stops[at + 1], channel) - from) * (place - at));
  });
  return `rgb(${mixed.join(" ")})`;
}

// Which elements a cell stands for, as an index: of blocks, the first and the last.
function labels(grid, shape) {
  const [rowStep, columnStep] = grid.steps ?? [1, 1];
  const leading = shape.slice(0, -1);
  const rows = leading.reduce((product, size) => product * size, 1);
  const columns = shape.length ? shape[shape.length - 1] : 1;
  const unravel = (row) => {
    const index = [];
    for (const size of [...leading].reverse()) {
      index.unshift(row % size);
      row = Math.floor(row / size);
    }
    return index;
  };
  const range = (first, last) => (first === last ? first : `${first}–${last}`);
  const rowLabel = (row) => {
    const first = unravel(row * rowStep);
    const last = unravel(Math.min((row + 1) * rowStep, rows) - 1);
    if (leading.length === 1) return range(first[0], last[0]);
    return range(first.join(", "), last.join(", "));
  };
  const columnLabel = (column) => range(column * columnStep, Math.min((column + 1) * columnStep, columns) - 1);
  const cell = (at) => {
    if (shape.length === 0) return "";
    const column = columnLabel(at % grid.columns);
    return shape.length === 1 ? `[${column}]` : `[${rowLabel(Math.floor(at / grid.columns))}, ${column}]`;
  };
  return { rowLabel, columnLabel, cell };
}

function scaleOf(map) {
  const sizes = map.values.map(Math.abs).filter((size) => Number.isFinite(size) && size > 0);
  const most = sizes.length ? Math.max(...sizes) : 1;
  if (map.kind === "values") return { most, colour: (value) => blend(palette().values, (value / most + 1) / 2) };
  const wrong = map.values.map(Math.abs).filter((size, at) => Number.isFinite(size) && size > 0 && isWrong(map, at));
  const high = wrong.length ? Math.max(...wrong) : most;
  const low = Math.max(Math.min(high / 10, ...wrong), high / 10 ** DECADES);
  // Of the smallest number that there is, a tenth is zero.
  const share = (value) => (low > 0 ? Math.log(Math.abs(value) / low) / Math.log(high / low) : 1);
  const colour = (value) => blend(palette().errors, share(value));
  return { low, high, any: wrong.length > 0, colour };
}

const isWrong = (map, at) => (map.ratios ? !(map.ratios[at] <= 1) : map.values[at] !== 0);

function fill(map, at, scale) {
  const value = map.values[at];
  if (map.kind === "errors" && !isWrong(map, at)) return palette().within;
  if (Number.isNaN(value)) return palette().within;
  return scale.colour(Number.isFinite(value) ? value : Math.sign(value) * Number.MAX_VALUE);
}

function draw(canvas, map, group) {
  const { grid, names } = group;
  const scale = map.scale;
  const colours = palette();
  const leftMost = Math.max(...[0, grid.rows - 1].map((row) => String(names.rowLabel(row)).length));
  const left = grid.rows > 1 ? Math.min(8 + 6 * leftMost, 72) : 0;
  const top = grid.columns > 1 ? 16 : 0;
  const room = Math.min(group.width, WIDEST) - left;
  const width = Math.min(Math.max(Math.floor(room / grid.columns), 4), 36);
  const height = Math.min(Math.max(width, 8), 26);
  Object.assign(map, { left, top, width, height });
  const density = Math.min(window.devicePixelRatio || 1, 3);
  const [wide, high] = [left + width * grid.columns, top + height * grid.rows];
  canvas.width = Math.ceil(wide * density);
  canvas.height = Math.ceil(high * density);
  canvas.style.width = `${wide}px`;
  canvas.style.height = `${high}px`;
  const pen = canvas.getContext("2d");
  pen.scale(density, density);
  const gap = width > 7 ? 1 : 0;
  for (let at = 0; at < map.values.length; at += 1) {
    const x = left + (at % grid.columns) * width;
    const y = top + Math.floor(at / grid.columns) * height;
    pen.fillStyle = fill(map, at, scale);
    pen.fillRect(x, y, width - gap, height - gap);
    if (!Number.isFinite(map.values[at])) mark(pen, colours, Number.isNaN(map.values[at]), x, y, width - gap, height - gap);
  }
  ticks(pen, map, group);
  if (group.cursor !== null) {
    const x = left + (group.cursor % grid.columns) * width;
    const y = top + Math.floor(group.cursor / grid.columns) * height;
    pen.lineWidth = 2;
    pen.strokeStyle = colours.cursor;
    pen.strokeRect(x + 0.5 - gap / 2, y + 0.5 - gap / 2, width - 1 + gap / 2, height - 1 + gap / 2);
  }
}

// Not a number: a cross. Infinite: a dot on the strongest colour.
function mark(pen, colours, isNaN, x, y, width, height) {
  pen.strokeStyle = pen.fillStyle = isNaN ? colours.nan : colours.line;
  pen.lineWidth = 1.2;
  pen.beginPath();
  const inset = Math.min(width, height) * 0.25;
  if (isNaN) {
    pen.moveTo(x + inset, y + inset);
    pen.lineTo(x + width - inset, y + height - inset);
    pen.moveTo(x + width - inset, y + inset);
    pen.lineTo(x + inset, y + height - inset);
    pen.stroke();
  } else {
    pen.arc(x + width / 2, y + height / 2, Math.max(1.2, inset / 2), 0, 2 * Math.PI);
    pen.fill();
  }
}

function ticks(pen, map, { grid, names }) {
  pen.fillStyle = palette().ink;
  pen.font = "10px system-ui, sans-serif";
  pen.textBaseline = "middle";
  const step = (size, room, count) => [1, 2, 5, 10, 20].find((each) => each * size >= room) ?? count;
  const first = (label) => String(label).split("–")[0];
  if (map.left) {
    pen.textAlign = "right";
    const each = step(map.height, 13, grid.rows);
    for (let row = 0; row < grid.rows; row += each) {
      pen.fillText(first(names.rowLabel(row)), map.left - 5, map.top + (row + 0.5) * map.height, map.left - 6);
    }
  }
  if (map.top) {
    pen.textAlign = "center";
    const each = step(map.width, 8 + 6 * String(first(names.columnLabel(grid.columns - 1))).length, grid.columns);
    for (let column = 0; column < grid.columns; column += each) {
      pen.fillText(first(names.columnLabel(column)), map.left + (column + 0.5) * map.width, map.top / 2 - 1);
    }
  }
}

function legend(map) {
  const stops = palette()[map.kind];
  const bar = h("span", { class: "ramp", "aria-hidden": "true" });
  bar.style.backgroundImage = `linear-gradient(to right, ${stops.join(", ")})`;
  const special = [
    map.values.some(Number.isNaN) && "× nan",
    map.values.some((value) => Math.abs(value) === Infinity) && "• infinite",
  ].filter(Boolean);
  const more = special.map((text) => h("span", {}, text));
  if (map.kind === "values") {
    const most = written(map.scale.most, 3);
    return h("p", { class: "legend" }, h("span", {}, `-${most}`), bar, h("span", {}, most), more);
  }
  const within = h("span", { class: "swatch", "aria-hidden": "true" });
  within.style.backgroundColor = palette().within;
  const calm = h("span", { class: "within" }, within, map.ratios ? "within allowance" : "0");
  if (!map.scale.any) return h("p", { class: "legend" }, calm, more);
  const [low, high] = [map.scale.low, map.scale.high].map((value) => written(value, 2));
  return h("p", { class: "legend" }, calm, h("span", {}, low), bar, h("span", {}, high), h("span", {}, "log scale"), more);
}

function describe(group, at) {
  const expected = group.maps[0].values[at];
  const blocks = Boolean(group.grid.steps);
  const lines = [[blocks ? "largest" : "gradient", written(expected)]];
  for (const map of group.maps.slice(1)) {
    const error = map.values[at];
    if (!blocks) lines.push([map.method, written(expected + error)]);
    const ratio = map.ratios ? `, ${writtenRatio(map.ratios[at])} × allowance` : "";
    lines.push([`${blocks ? `${map.method}: ` : ""}error`, `${written(error)}${ratio}`]);
  }
  return { place: group.names.cell(at), lines };
}

function point(group, at, map, canvas) {
  group.cursor = at;
  for (const one of group.maps) draw(one.canvas, one, group);
  for (const one of group.maps) one.tip.hidden = true;
  if (at === null) return;
  const { place, lines } = describe(group, at);
  const { tip } = map;
  tip.replaceChildren(
    place ? h("strong", {}, place) : "",
    ...lines.map(([name, value]) => h("span", {}, h("span", { class: "dim" }, `${name} `), value)),
  );
  tip.hidden = false;
  const x = canvas.offsetLeft + map.left + (at % group.grid.columns) * map.width;
  const y = canvas.offsetTop + map.top + (Math.floor(at / group.grid.columns) + 1) * map.height + 6;
  const most = Math.max(0, group.host.clientWidth - tip.parentElement.offsetLeft - tip.offsetWidth - 2);
  tip.style.left = `${Math.min(x, most)}px`;
  tip.style.top = `${y}px`;
  group.spoken.textContent = [place, ...lines.map(([name, value]) => `${name} ${value}`)].filter(Boolean).join(", ");
}

function moved(group, key) {
  const { rows, columns } = group.grid;
  const at = group.cursor ?? 0;
  const [row, column] = [Math.floor(at / columns), at % columns];
  const target = {
    ArrowLeft: [row, column - 1], ArrowRight: [row, column + 1],
    ArrowUp: [row - 1, column], ArrowDown: [row + 1, column],
    Home: [row, 0], End: [row, columns - 1],
  }[key];
  if (!target) return null;
  const clamp = (value, most) => Math.min(Math.max(value, 0), most);
  return clamp(target[0], rows - 1) * columns + clamp(target[1], columns - 1);
}

function figure(group, map) {
  const shape = group.shape.length ? group.shape.join(" by ") : "one number";
  const canvas = h("canvas", {
    tabindex: "0", role: "application", "aria-roledescription": "heatmap",
    "aria-label": `${map.title}, ${shape}; arrow keys go from element to element`,
    pointermove: (event) => {
      const column = Math.floor((event.offsetX - map.left) / map.width);
      const row = Math.floor((event.offsetY - map.top) / map.height);
      const inside = row >= 0 && column >= 0 && row < group.grid.rows && column < group.grid.columns;
      point(group, inside ? row * group.grid.columns + column : null, map, canvas);
    },
    pointerleave: () => point(group, null, map, canvas),
    focus: () => canvas.matches(":focus-visible") && point(group, group.cursor ?? group.worst, map, canvas),
    blur: () => point(group, null, map, canvas),
    keydown: (event) => {
      const next = event.ctrlKey || event.metaKey || event.altKey ? null : moved(group, event.key);
      if (next === null) return;
      event.preventDefault();
      point(group, next, map, canvas);
    },
  });
  Object.assign(map, { canvas, tip: h("div", { class: "tip", "aria-hidden": "true", hidden: true }) });
  map.key = legend(map);
  return h("figure", {}, h("figcaption", {}, map.title), canvas, map.tip, map.key);
}

// The elements that a reader looks for, as a table: what the picture says to those who don't see it.
function table(group, map) {
  const weight = (at) => {
    const value = map.ratios ? map.ratios[at] : Math.abs(map.values[at]);
    return Number.isNaN(value) ? Infinity : value;
  };
  const order = map.values.map((_, at) => at)
    .filter((at) => map.kind === "values" || isWrong(map, at))
    .sort((a, b) => weight(b) - weight(a) || Math.abs(map.values[b]) - Math.abs(map.values[a])).slice(0, WORST);
  if (!order.length) return null;
  const blocks = Boolean(group.grid.steps);
  const expected = group.maps[0].values;
  const columns = map.kind === "values"
    ? [["value", (at) => written(map.values[at])]]
    : [
      ...(blocks ? [] : [["value", (at) => written(expected[at] + map.values[at])], ["expected", (at) => written(expected[at])]]),
      ["error", (at) => written(map.values[at])],
      ...(map.ratios ? [["error/allowance", (at) => writtenRatio(map.ratios[at])]] : []),
    ];
  const caption = map.kind === "values" ? "Largest elements" : `Worst elements of ${map.method}`;
  return scroller(caption, { class: "scroll" }, h("table", { class: "data worst" }, h("caption", {}, caption),
    h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "element"), columns.map(([name]) => h("th", { scope: "col" }, name)))),
    h("tbody", {}, order.map((at) => h("tr", {}, h("th", { scope: "row" }, group.names.cell(at) || "the number"), columns.map(([, text]) => h("td", {}, text(at))))))));
}

function heatmaps(gradient) {
  const { grid } = gradient;
  if (!grid) return null;
  if (grid.omitted) return h("p", { class: "dim" }, "No picture: those of other gradients fill the page already.");
  const shape = gradient.shape ?? [];
  const maps = [{ kind: "values", title: `${gradient.order ? "second derivative" : "gradient"} of ${gradient.input}`, values: grid.reference.map(numeric) }];
  for (const [method, values, ratios] of grid.errors ?? []) {
    maps.push({ kind: "errors", method, title: `error of ${method}`, values: values.map(numeric), ratios: ratios?.map(numeric) ?? null });
  }
  const group = { grid, shape, maps, cursor: null, names: labels(grid, shape), width: 0, worst: 0 };
  for (const map of maps) map.scale = scaleOf(map);
  const judged = maps.find((map) => map.ratios) ?? maps[maps.length - 1];
  const weights = (judged.ratios ?? judged.values.map(Math.abs)).map((value) => (Number.isNaN(value) ? Infinity : value));
  group.worst = weights.reduce((best, value, at) => (value > weights[best] ? at : best), 0);
  group.spoken = h("p", { class: "hidden", "aria-live": "polite" });
  const note = grid.steps && `Each cell is a block of ${grid.steps.join(" × ")} elements and shows the largest of them.`;
  const tables = maps.map((map) => table(group, map));
  const figures = maps.map((map) => figure(group, map));
  const calm = figures.filter((_, at) => at > 0 && !maps[at].ratios);
  const rest = figures.filter((one) => !calm.includes(one));
  group.host = h("div", { class: "pictured" }, h("div", { class: "maps" }, rest),
    calm.length > 0 && h("details", {}, h("summary", {}, `Errors of methods that agree: ${maps.filter((map) => map.method && !map.ratios).map((map) => map.method).join(", ")}`),
      h("div", { class: "maps" }, calm)));
  // Drawn when there is a width, and anew when it changes.
  new ResizeObserver(() => {
    const width = group.host.clientWidth;
    if (!width || width === group.width) return;
    group.width = width;
    repaint(group);
  }).observe(group.host);
  pictures.add(group);
  const [largest, ...worst] = tables;
  return h("div", { class: "pictures" }, group.host, group.spoken, note && h("p", { class: "dim" }, note),
    h("div", { class: "tables" }, worst.filter((one, at) => maps[at + 1].ratios)),
    h("details", {}, h("summary", {}, "Largest elements as a table"), largest));
}

function repaint(group) {
  if (!group.width) return;
  for (const map of group.maps) {
    draw(map.canvas, map, group);
    const key = legend(map);
    map.key.replaceWith(key);
    map.key = key;
  }
}

const repaintAll = () => pictures.forEach(repaint);
