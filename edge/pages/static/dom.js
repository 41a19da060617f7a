// Elements without markup in strings: whatever a paper or a person wrote stays text.

const SVG = "http://www.w3.org/2000/svg";

/** An element. Attributes that are null, undefined or false are left out; `on...` are listeners. */
export function el(tag, attributes = {}, ...children) {
  return filled(document.createElement(tag), attributes, children);
}

/** The same for SVG. */
export function svg(tag, attributes = {}, ...children) {
  return filled(document.createElementNS(SVG, tag), attributes, children);
}

function filled(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else node.setAttribute(name, value === true ? "" : String(value));
  }
  node.append(...present(children));
  return node;
}

function present(children) {
  return children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false);
}

/** The element with this id. */
export function byId(id) {
  return document.getElementById(id);
}

/** Replace all children. */
export function fill(node, ...children) {
  node.replaceChildren(...present(children));
  return node;
}

/** Show one of several sections, and move the keyboard and the screen reader to its heading. */
export function show(section, all) {
  for (const each of all) each.hidden = each !== section;
  window.scrollTo(0, 0);
  section.querySelector("h1, h2")?.focus();
}
