// Elements from data. Text only ever becomes text nodes and attribute values: no string is parsed as markup.

const MATHML = "http://www.w3.org/1998/Math/MathML";
const TOKENS = { i: "mi", o: "mo", n: "mn", t: "mtext" };
const ELEMENTS = {
  r: "mrow", f: "mfrac", p: "msup", b: "msub", q: "msqrt", v: "mover",
  m: "mtable", w: "mtr", d: "mtd", s: "mspace",
};
const find = (selector, root = document) => root.querySelector(selector);
const findAll = (selector, root = document) => [...root.querySelectorAll(selector)];

function h(tag, attributes, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (typeof value === "function") node.addEventListener(name, value);
    else node.setAttribute(name, value === true ? "" : value);
  }
  // What a condition leaves out is nothing.
  node.append(...children.flat(2).filter((child) => child || child === 0));
  return node;
}

// Text from a spec, kept apart from what stands around it whatever the direction of its script.
const bdi = (text, attributes) => h("bdi", attributes, text);

// What makes brackets around it grow; around the rest they stay as they are, whatever the font would do.
const isTall = (tree) => typeof tree !== "string" && ("fmq".includes(tree[0]) || tree.slice(1).some(isTall));

function mathNode(tree, tall = false) {
  if (typeof tree === "string") {
    const node = document.createElementNS(MATHML, TOKENS[tree[0]]);
    node.textContent = tree.slice(1);
    if (tree[0] === "o" && !tall) node.setAttribute("stretchy", "false");
    return node;
  }
  const node = document.createElementNS(MATHML, ELEMENTS[tree[0]]);
  if (tree[0] === "s") node.setAttribute("width", "0.17em");
  if (tree[0] === "v") node.setAttribute("accent", "true");
  const grows = tree[0] === "r" && isTall(tree);
  node.append(...tree.slice(1).map((child) => mathNode(child, grows)));
  return node;
}

function math(number) {
  const node = document.createElementNS(MATHML, "math");
  node.setAttribute("display", "block");
  node.append(mathNode(page.math[number]));
  return node;
}

// A box that scrolls by itself when what is in it is too wide; then the keyboard has to reach it.
function scroller(name, attributes, ...children) {
  const box = h("div", attributes, ...children);
  widths.observe(box);
  box.dataset.label = name;
  return box;
}

const widths = new ResizeObserver((entries) => {
  for (const { target } of entries) {
    const wide = target.scrollWidth > target.clientWidth + 1;
    for (const [name, value] of [["tabindex", "0"], ["role", "region"], ["aria-label", target.dataset.label]]) {
      if (wide) target.setAttribute(name, value);
      else target.removeAttribute(name);
    }
  }
});

function copyButton(what, text) {
  return h("button", { type: "button", class: "copy", "aria-label": `Copy ${what}`, click: (event) => copy(event.currentTarget, text) }, "Copy");
}

async function copy(button, text) {
  let done = true;
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    // Without permission, or outside a secure context: through a selection.
    const area = h("textarea", { class: "hidden", "aria-hidden": "true", tabindex: "-1" });
    area.value = text;
    document.body.append(area);
    area.select();
    done = document.execCommand("copy");
    area.remove();
    button.focus();
  }
  button.textContent = done ? "Copied" : "Not copied";
  setTimeout(() => { button.textContent = "Copy"; }, 1500);
}

function code(text, what) {
  return h("div", { class: "code" }, scroller(what, { class: "source" }, h("code", {}, bdi(text))), copyButton(what, text));
}

// A formula: typeset, where it could be, and as code.
function formula([text, ...numbers], what) {
  const typeset = numbers.length > 0 && scroller(what, { class: "math" }, numbers.map(math));
  return h("div", { class: "formula" }, typeset || null, code(text, what));
}
