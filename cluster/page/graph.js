// The plan as a line map: who works, who waits for whom. Laid out by dagre.

import * as dagre from "./vendor/dagre.esm.js";
import { h } from "./dom.js";

const SVG = "http://www.w3.org/2000/svg";
const STATION = { width: 164, height: 50 };
const SMALL = { width: 106, height: 50 };
const TERMINAL = { width: 12, height: 12 };
const [BEGIN, END] = ["\u0000begin", "\u0000end"];
const NARROW = 560;

/** A drawn plan; `update` shows how its nodes stand. */
export class Graph {
  constructor(place, hrefOf) {
    this.place = place;
    this.hrefOf = hrefOf;
    this.stations = new Map();
    this.edges = [];
    this.width = 0;
    new ResizeObserver(([entry]) => this.resized(entry.contentRect.width)).observe(place);
  }

  draw(nodes) {
    this.nodes = nodes;
    const graph = new dagre.Graph();
    const upright = this.place.clientWidth < NARROW;
    graph.setGraph({ rankdir: upright ? "TB" : "LR", nodesep: upright ? 8 : 14, ranksep: 44, marginx: 8, marginy: 8 });
    graph.setDefaultEdgeLabel(() => ({}));
    graph.setNode(BEGIN, { ...TERMINAL });
    graph.setNode(END, { ...TERMINAL });
    const needed = new Set(nodes.flatMap((node) => node.needs));
    for (const node of nodes) graph.setNode(node.id, { ...(upright ? SMALL : STATION) });
    for (const node of nodes) {
      for (const need of node.needs) graph.setEdge(need, node.id);
      if (!node.needs.length) graph.setEdge(BEGIN, node.id);
      if (!needed.has(node.id)) graph.setEdge(node.id, END);
    }
    dagre.layout(graph);
    this.show(graph, upright);
  }

  show(graph, upright) {
    const { width, height } = graph.graph();
    const svg = document.createElementNS(SVG, "svg");
    svg.setAttribute("aria-hidden", "true");
    svg.setAttribute("width", width);
    svg.setAttribute("height", height);
    this.edges = graph.edges().map(({ v, w }) => {
      const path = document.createElementNS(SVG, "path");
      path.setAttribute("d", line(graph.node(v), graph.node(w), upright));
      svg.append(path);
      return { from: v, to: w, path };
    });
    for (const end of [BEGIN, END]) {
      const { x, y } = graph.node(end);
      const dot = document.createElementNS(SVG, "circle");
      for (const [name, value] of Object.entries({ cx: x, cy: y, r: 5 })) dot.setAttribute(name, value);
      svg.append(dot);
      if (end === END) this.end = dot;
    }
    this.stations.clear();
    const list = h("ol", { className: "stations" });
    for (const node of this.nodes) {
      const { x, y, width: wide, height: high } = graph.node(node.id);
      const name = h("span", { className: "name" }, node.id);
      const state = h("span", { className: "state" });
      const station = h("a", { href: this.hrefOf(node.id) }, name, state);
      const item = h("li", {}, station);
      Object.assign(item.style, {
        left: `${x - wide / 2}px`,
        top: `${y - high / 2}px`,
        width: `${wide}px`,
        height: `${high}px`,
      });
      list.append(item);
      this.stations.set(node.id, { station, name, state });
    }
    const map = h("div", { className: "map" }, svg, list);
    Object.assign(map.style, { width: `${width}px`, height: `${height}px` });
    this.place.replaceChildren(map);
  }

  /** `states`: for each node its `state`, a word for it, and who has it now. */
  update(states, answered) {
    for (const [id, { state, word, who }] of states) {
      const drawn = this.stations.get(id);
      if (!drawn) continue;
      drawn.station.dataset.state = state;
      if (drawn.state.textContent !== word) drawn.state.textContent = word;
      if (drawn.name.textContent !== who) drawn.name.textContent = who;
    }
    for (const edge of this.edges) {
      edge.path.classList.toggle("done", edge.from === BEGIN || ended(states.get(edge.from)));
    }
    this.end?.classList.toggle("done", answered);
    this.last = [states, answered];
  }

  resized(width) {
    const turned = this.nodes && this.width < NARROW !== width < NARROW;
    this.width = width;
    if (turned) {
      this.draw(this.nodes);
      if (this.last) this.update(...this.last);
    }
  }
}

function ended(standing) {
  return Boolean(standing) && !["waiting", "working"].includes(standing.state);
}

/** A line between two stations: out straight, one bend, in straight. */
function line(from, to, upright) {
  if (upright) {
    const [y1, y2] = [from.y + from.height / 2, to.y - to.height / 2];
    const middle = (y1 + y2) / 2;
    return `M${from.x} ${y1}C${from.x} ${middle} ${to.x} ${middle} ${to.x} ${y2}`;
  }
  const [x1, x2] = [from.x + from.width / 2, to.x - to.width / 2];
  const middle = (x1 + x2) / 2;
  return `M${x1} ${from.y}C${middle} ${from.y} ${middle} ${to.y} ${x2} ${to.y}`;
}
