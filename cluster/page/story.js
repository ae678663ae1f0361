// What became of a task, told by its events. No element is touched here.

const WORDS = {
  ok: "done", input_required: "needs input", failed: "failed", expired: "too late", cancelled: "cancelled",
  escalate: "handed on",
};

export class Node {
  constructor(id, specialist, needs) {
    Object.assign(this, { id, specialist, needs, state: "waiting", call: "", text: "", draft: "", reason: "" });
    this.began = 0;
    this.seconds = null;
    this.finding = null;
  }

  /** One word or two on how it stands. */
  get word() {
    if (this.state === "working") return this.began > 1 ? "taken up again" : "working";
    if (this.state === "waiting") return this.held ?? "waiting";
    const word = WORDS[this.state] ?? this.state;
    return this.began > 1 ? `${word} at attempt ${this.began}` : word;
  }
}

/** One task: its turns, its plan, its answer. */
export class Story {
  /** `asked`: when, on the page's clock; unknown for a task of somebody else. */
  constructor(id, question = "", asked = null) {
    this.id = id;
    this.question = question;
    this.nodes = new Map();
    this.answer = null;
    this.problem = "";
    this.asked = asked;
    this.at = asked ?? performance.now();
    this.took = null;
  }

  plan(graph) {
    for (const { id, specialist, needs } of graph.nodes) {
      if (!this.nodes.has(id)) this.nodes.set(id, new Node(id, specialist, needs));
    }
  }

  /** Takes one event; returns a sentence for those who cannot see it, or nothing. */
  take(name, event) {
    if (name === "answer") return this.end(event);
    if (name === "planned") {
      this.plan(event.plan);
      return `Planned: ${[...this.nodes.keys()].join(", ")}.`;
    }
    const node = this.nodes.get(event.node) ?? this.late(event);
    switch (name) {
      case "started":
        Object.assign(node, { lost: false, state: "working", draft: "", seconds: null, began: node.began + 1 });
        return node.began > 1 ? `${node.id} is taken up again.` : "";
      case "called":
        node.call = event.text;
        return "";
      case "tokens":
        node.draft += event.text;
        return "";
      case "escalated":
        Object.assign(node, { lost: false, state: "waiting", specialist: event.specialist, reason: event.text, began: 0 });
        return `${node.id} is handed to ${event.specialist}: ${event.text}.`;
      case "finished":
        Object.assign(node, { state: event.state, text: event.text ?? "", seconds: event.seconds });
        return `${node.id}: ${node.word}.`;
    }
    return "";
  }

  late(event) {
    const node = new Node(event.node, event.specialist, []);
    this.nodes.set(event.node, node);
    return node;
  }

  end(answer) {
    this.answer = answer;
    this.took = this.asked === null ? null : (performance.now() - this.asked) / 1000;
    this.plan(answer.plan);
    for (const [id, node] of this.nodes) {
      const finding = answer.results[id];
      if (finding) {
        Object.assign(node, { state: finding.state, text: finding.text ?? "", reason: finding.reason ?? node.reason, finding });
        node.specialist = finding.specialist;
      } else if (["waiting", "working"].includes(node.state)) {
        node.state = answer.status === "cancelled" ? "cancelled" : "expired";
      }
    }
    return answer.status === "ok" ? "The answer is there." : `The task ended: ${WORDS[answer.status] ?? answer.status}.`;
  }

  /** What is being written for the answer now: the nodes that nobody waits for. */
  get draft() {
    const needed = new Set([...this.nodes.values()].flatMap((node) => node.needs));
    return [...this.nodes.values()].filter((node) => !needed.has(node.id)).map((node) => node.draft).join("\n\n");
  }

  get running() {
    return !this.answer && !this.problem;
  }
}
