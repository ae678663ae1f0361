// The waterfall: where the time of a task went.

import { h } from "./dom.js";

const SHOWN = 200;

/** The spans in the order of a tree, each with its depth. */
function tree(spans) {
  const known = new Set(spans.map((span) => span.span));
  const children = new Map();
  for (const span of spans) {
    const parent = known.has(span.parent) ? span.parent : "";
    children.set(parent, [...(children.get(parent) ?? []), span]);
  }
  const ordered = [];
  const visit = (parent, depth) => {
    for (const span of children.get(parent) ?? []) {
      ordered.push({ span, depth });
      visit(span.span, depth + 1);
    }
  };
  visit("", 0);
  return ordered;
}

/** A trace as a table: name, process, bar, milliseconds. */
export function waterfall({ trace, spans }) {
  const begin = Math.min(...spans.map((span) => span.start_ns));
  const end = Math.max(...spans.map((span) => span.end_ns));
  const whole = Math.max(1, end - begin);
  const processes = new Set(spans.map((span) => `${span.service}-${span.pid}`)).size;
  const caption = `${(whole / 1e6).toFixed(1)} ms, ${spans.length} spans, ${processes} processes`;
  const rows = tree(spans).slice(0, SHOWN).map(({ span, depth }) => {
    const bar = h("span", { className: span.error ? "bar bad" : `bar ${span.kind}` });
    bar.style.marginInlineStart = `${(100 * (span.start_ns - begin)) / whole}%`;
    bar.style.width = `${(100 * (span.end_ns - span.start_ns)) / whole}%`;
    const name = h("th", { scope: "row", title: span.error || span.name }, span.name);
    name.style.paddingInlineStart = `${0.7 * Math.min(depth, 8)}em`;
    return h("tr", {},
      name,
      h("td", { className: "service" }, span.service),
      h("td", { className: "time" }, bar, span.error ? h("span", { className: "unseen" }, `failed: ${span.error}`) : null),
      h("td", { className: "figure" }, ((span.end_ns - span.start_ns) / 1e6).toFixed(1)));
  });
  const head = h("tr", {},
    h("th", { scope: "col" }, "Span"), h("th", { scope: "col" }, "Process"),
    h("th", { scope: "col" }, "When"), h("th", { scope: "col", className: "figure" }, "ms"));
  return h("table", { className: "waterfall" },
    h("caption", {}, h("span", {}, caption), " ", h("code", {}, trace)),
    h("thead", {}, head),
    h("tbody", {}, ...rows));
}
