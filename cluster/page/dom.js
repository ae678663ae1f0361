// Elements and words.

/** An element. Properties are set as such; `on…` listen; `aria-…`, `role`, `data-…` and `for` are attributes. */
export function h(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === undefined || value === null) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name.includes("-") || ["role", "for", "scope", "colspan"].includes(name)) element.setAttribute(name, value);
    else element[name] = value;
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

/** Sets text only where it changed: a screen of figures costs nothing while they stand. */
export function put(element, text) {
  const value = String(text);
  if (element.textContent !== value) element.textContent = value;
}

/** Says something to screen readers. */
export function say(text) {
  document.getElementById("said").textContent = text;
}

export const byId = (id) => document.getElementById(id);

export function seconds(value) {
  if (value === undefined || value === null) return "";
  if (value < 0.0995) return `${Math.round(value * 1000)} ms`;
  return value < 9.95 ? `${value.toFixed(2)} s` : `${value.toFixed(1)} s`;
}

export function milliseconds(value) {
  if (!value) return "";
  return value < 10 ? value.toFixed(1) : Math.round(value).toLocaleString("en");
}

export function usd(value) {
  return `$${value.toFixed(value && value < 0.1 ? 4 : 2)}`;
}

export function age(date) {
  const passed = Math.max(0, (Date.now() - new Date(date).getTime()) / 1000);
  for (const [unit, size] of [["d", 86400], ["h", 3600], ["min", 60]]) {
    if (passed >= size) return `${Math.round(passed / size)} ${unit}`;
  }
  return `${Math.round(passed)} s`;
}

export function clock(date) {
  return new Date(date).toLocaleTimeString("en-GB");
}
