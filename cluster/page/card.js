// One specialist's finding on the screen.

import { h, put, seconds } from "./dom.js";
import { lines } from "./sources.js";

/** What one specialist found: one line, and all of it when opened. */
export class Card {
  constructor(node) {
    this.name = h("span", { className: "name" }, node.id);
    this.state = h("span", { className: "state" });
    this.gist = h("span", { className: "gist" });
    this.time = h("span", { className: "figure" });
    this.body = h("div", { className: "body" });
    this.element = h("details", { className: "finding" },
      h("summary", {}, this.name, this.state, this.time, this.gist), this.body);
    this.element.addEventListener("toggle", () => this.fill());
  }

  update(node, word) {
    this.node = node;
    this.element.dataset.state = node.state;
    put(this.state, word);
    put(this.time, seconds(node.seconds));
    put(this.gist, gist(node.text || node.reason) || lastWords(node.draft) || node.call || " ");
    this.fill();
  }

  /** The whole finding, once somebody looks. */
  fill() {
    const { node } = this;
    if (!this.element.open || !node || this.filled === (node.finding ?? node.text)) return;
    this.filled = node.finding ?? node.text;
    const finding = node.finding;
    const tokens = finding?.tokens?.map((used) => `${used.model}: ${used.prompt ?? 0} read, ${used.output ?? 0} written`);
    const sure = finding?.confidence === undefined ? "" : `sure to ${Math.round(100 * finding.confidence)} %`;
    this.body.replaceChildren(
      ...(node.call ? [h("p", { className: "call" }, h("code", {}, node.call))] : []),
      ...(node.reason ? [h("p", { className: "reason" }, node.reason)] : []),
      h("ol", { className: "lines" }, ...lines(node.text).map((line) => h("li", { tabIndex: -1 }, line || " "))),
      ...(finding?.data ? [data(finding.data)] : []),
      h("p", { className: "small" }, [...(tokens ?? []), sure].filter(Boolean).join(" · ")));
  }

  reveal(line) {
    this.element.open = true;
    this.fill();
    const target = line === undefined ? this.element.firstElementChild : this.body.querySelectorAll(".lines > li")[line];
    if (!target) return;
    for (const marked of document.querySelectorAll(".marked")) marked.classList.remove("marked");
    target.classList.add("marked");
    target.scrollIntoView({ block: "center" });
    target.focus({ preventScroll: true });
  }
}

/** The first line, and what it announces. */
function gist(text) {
  const [first = "", second = "", ...more] = lines(text).map((line) => line.trim()).filter(Boolean);
  if (!first.endsWith(":") || !second) return first;
  return `${second.replace(/^- /, "")}${more.length ? `, and ${more.length} more` : ""}`;
}

function data(found) {
  const text = JSON.stringify(found, null, 1);
  return h("details", { className: "data" }, h("summary", {}, "As data"),
    h("pre", { tabIndex: 0, role: "group", "aria-label": "Data" }, text.length > 20000 ? `${text.slice(0, 20000)}…` : text));
}

function lastWords(text) {
  return text.length > 90 ? `…${text.slice(-90)}` : text;
}
