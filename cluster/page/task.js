// One task on the screen: its plan, what each specialist found, the answer, where the time went.

import { Card } from "./card.js";
import { byId, h, put, say, seconds, usd } from "./dom.js";
import { call, follow } from "./door.js";
import { Graph } from "./graph.js";
import { sourced } from "./sources.js";
import { Story } from "./story.js";
import { waterfall } from "./trace.js";

const KEPT = "metier-questions";
const TRACE_TRIES = 6;

const STATUS = {
  ok: "Answered", input_required: "Needs to know more", failed: "Failed", expired: "Out of time", cancelled: "Cancelled",
};

const askedAt = new Map();
let shown = null;

/** That a task was asked here, just now. */
export function asked(id, text) {
  askedAt.set(id, performance.now());
  remember(id, text);
}

/** Remembers the words of a task. */
export function remember(id, text) {
  const kept = { ...JSON.parse(sessionStorage.getItem(KEPT) ?? "{}"), [id]: text };
  sessionStorage.setItem(KEPT, JSON.stringify(Object.fromEntries(Object.entries(kept).slice(-50))));
}

/** The words of a task, as far as this tab knows them. */
export function question(id) {
  return JSON.parse(sessionStorage.getItem(KEPT) ?? "{}")[id] ?? "";
}

/** Shows a task, unless it is there already, then what the address points at. */
export function open(id, node, line) {
  if (shown?.story.id !== id) {
    close();
    shown = new TaskView(new Story(id, question(id), askedAt.get(id)));
    byId("task").replaceChildren(shown.element);
    byId("trades").hidden = true;
    shown.watch();
  }
  if (node) shown.reveal(node, line);
}

export function close() {
  shown?.leave();
  shown = null;
  byId("task").replaceChildren();
  byId("trades").hidden = false;
}

/** How many replicas each actor has, so that a task that waits for nobody says so. */
export function staffed(replicas) {
  shown?.staffed(replicas);
}

class TaskView {
  constructor(story) {
    this.story = story;
    this.leaving = new AbortController();
    this.cards = new Map();
    this.title = h("h2", { className: "question", tabIndex: -1 }, story.question || `Task ${story.id}`);
    this.status = h("p", { className: "status" });
    this.cancel = h("button", { type: "button", className: "quiet", onclick: () => this.stop() }, "Cancel");
    this.map = h("div", { className: "plan", role: "group", "aria-label": "Plan", tabIndex: 0 });
    this.found = h("div", { className: "findings" });
    this.answer = h("div", { className: "answer" });
    this.trace = h("div", { className: "trace" });
    this.graph = new Graph(this.map, (node) => this.href(node));
    this.element = h("article", { className: "task" },
      h("header", {}, this.title, h("div", { className: "row" }, this.status, this.cancel)),
      this.map,
      h("div", { className: "columns" },
        h("section", { "aria-label": "Findings" }, h("h3", {}, "Who found what"), this.found),
        h("section", { "aria-label": "Answer" }, h("h3", {}, "Answer"), this.answer)),
      this.trace);
    this.frame = 0;
    this.ticking = setInterval(() => this.tick(), 100);
    this.tick();
  }

  href(node, line) {
    return `#/task/${this.story.id}/${encodeURIComponent(node)}${line === undefined ? "" : `/${line}`}`;
  }

  leave() {
    this.leaving.abort();
    clearInterval(this.ticking);
    cancelAnimationFrame(this.frame);
  }

  // ── Hearing ────────────────────────────────────────────────────────────────────────────────────────────────────────

  async watch() {
    const { story } = this;
    const take = (name, data) => {
      if (name === "problem") story.problem = data.detail;
      else {
        const told = story.take(name, data);
        if (told) say(told);
      }
      this.draw();
      return name === "answer" || name === "problem";
    };
    try {
      await follow(`v1/tasks/${story.id}/events`, take, this.leaving.signal);
    } catch (problem) {
      story.problem = problem.message;
    }
    this.draw();
    if (story.answer) await this.showTrace();
  }

  async stop() {
    this.cancel.disabled = true;
    try {
      await call("DELETE", `v1/tasks/${this.story.id}`);
    } catch (problem) {
      this.story.problem = problem.message;
      this.draw();
    }
  }

  async goOn(text) {
    await call("POST", `v1/tasks/${this.story.id}/input`, { text });
    asked(this.story.id, `${this.story.question}\n${text}`.trim());
    close();
    open(this.story.id);
  }

  /** Spans are written a moment after they end: asked again until the last of them is there. */
  async showTrace() {
    for (let tries = 0; tries < TRACE_TRIES && !this.leaving.signal.aborted; tries += 1) {
      await new Promise((resolve) => setTimeout(resolve, 400 * (tries + 1)));
      let found;
      try {
        found = await call("GET", `v1/tasks/${this.story.id}/trace`);
      } catch {
        return; // spans are not kept here
      }
      if (found.traces.length) {
        const parts = found.traces.map(waterfall);
        const scrolls = h("div", { className: "scroll", tabIndex: 0, role: "group", "aria-label": "Trace" }, ...parts);
        this.trace.replaceChildren(h("h3", {}, "Where the time went"), scrolls);
      }
    }
  }

  staffed(replicas) {
    for (const node of this.story.nodes.values()) {
      node.held = replicas.get(node.specialist) === 0 ? "no replica" : undefined;
      node.lost = node.state === "working" && replicas.get(node.specialist) === 0;
    }
    if (this.story.running) this.draw();
  }

  // ── Drawing ────────────────────────────────────────────────────────────────────────────────────────────────────────

  draw() {
    this.frame ||= requestAnimationFrame(() => {
      this.frame = 0;
      this.drawNow();
    });
  }

  drawNow() {
    const { story } = this;
    if (story.nodes.size !== this.cards.size) this.lay();
    const states = new Map();
    for (const node of story.nodes.values()) {
      const word = node.lost && node.state === "working" ? "lost its replica" : node.word;
      states.set(node.id, {
        state: node.state,
        word: node.seconds === null || node.began > 1 ? word : `${word}, ${seconds(node.seconds)}`, // a station is narrow
        who: node.specialist === node.id ? node.id : `${node.id} → ${node.specialist}`,
      });
      this.cards.get(node.id).update(node, word);
    }
    this.graph.update(states, Boolean(story.answer));
    this.tick();
    if (story.answer && !this.answered) this.drawAnswer();
    else if (!story.answer) this.drawDraft();
  }

  lay() {
    const nodes = [...this.story.nodes.values()];
    this.graph.draw(nodes);
    this.cards = new Map(nodes.map((node) => [node.id, this.cards.get(node.id) ?? new Card(node)]));
    this.found.replaceChildren(...[...this.cards.values()].map((card) => card.element));
  }

  drawDraft() {
    const draft = this.story.problem || this.story.draft;
    this.answer.className = this.story.problem ? "answer error" : "answer draft";
    put(this.answer, draft || "Not there yet.");
  }

  drawAnswer() {
    this.answered = true;
    askedAt.delete(this.story.id); // seen again later, it is not timed
    this.cancel.hidden = true;
    const { answer } = this.story;
    let [from, nowhere] = [0, 0];
    const shownLines = sourced(answer).map((parts) => h("div", { className: "line" }, ...parts.map((part) => {
      if (part.source === undefined) return part.text;
      if (part.source === null) {
        nowhere += 1;
        return h("span", { className: "unsourced", title: "In no tool's result" }, part.text);
      }
      from += 1;
      const title = `From ${part.source.node}: ${answer.results[part.source.node].call.tool}`;
      return h("a", { className: "sourced", href: this.href(part.source.node, part.source.line ?? undefined), title }, part.text);
    })));
    this.answer.className = "answer";
    this.answer.replaceChildren(...shownLines, this.foot(answer, from, nowhere));
    if (answer.status === "input_required") this.answer.append(this.form(answer));
  }

  foot(answer, from, nowhere) {
    const said = [];
    if (from + nowhere) {
      const all = from + nowhere;
      const none = nowhere ? `, ${nowhere} from none: underlined with dots` : "";
      said.push(`${all} figures: ${from} from a tool's result${none}.`);
    }
    if (answer.missing.length && answer.status !== "input_required") said.push(`Missing: ${answer.missing.join(", ")}.`);
    said.push(...answer.notes ?? []);
    const { usd: here, large_model_usd: large, prompt_tokens: read, output_tokens: written } = answer.cost;
    const compared = large ? `; the same tokens on the large model: ${usd(large)}` : "";
    said.push(`${usd(here)}${compared}. ${read} tokens read, ${written} written.`);
    return h("footer", {}, ...said.map((text) => h("p", {}, text)));
  }

  form(answer) {
    const input = h("input", { id: "more", required: true, maxLength: 8000 });
    const error = h("p", { className: "error", role: "alert" });
    const send = async (event) => {
      event.preventDefault();
      try {
        await this.goOn(input.value);
      } catch (problem) {
        put(error, problem.message);
      }
    };
    const missing = answer.missing.map((name) => name.split(".").pop()).join(", ");
    return h("form", { className: "more", onsubmit: send },
      h("label", { for: "more" }, `Say: ${missing}`),
      h("div", { className: "row" }, input, h("button", { className: "primary" }, "Go on")), error);
  }

  tick() {
    const { story } = this;
    if (story.answer) {
      const after = story.took === null ? "" : ` after ${seconds(story.took)}`;
      put(this.status, (STATUS[story.answer.status] ?? story.answer.status) + after);
      this.status.dataset.state = story.answer.status;
    } else if (story.problem) {
      put(this.status, "No answer");
      this.cancel.hidden = true;
    } else {
      const passed = ((performance.now() - story.at) / 1000).toFixed(1);
      const at = [...story.nodes.values()].filter((node) => node.state === "working").map((node) => node.id);
      put(this.status, `${passed} s · ${story.nodes.size ? at.join(", ") || "on its way" : "being read"}`);
    }
  }

  reveal(node, line) {
    const card = this.cards.get(node);
    if (!card) {
      requestAnimationFrame(() => this.cards.has(node) && this.reveal(node, line));
      return;
    }
    card.reveal(line);
  }
}
