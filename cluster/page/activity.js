// All tasks of the tenant, whoever asked them. The rows stay; what they say changes, so that nothing ever jumps.

import { byId, h, put } from "./dom.js";
import { question, remember } from "./task.js";

const ROWS = 30;
let rows = [];
let newest = [];

export function prepare() {
  rows = Array.from({ length: ROWS }, () => {
    const row = { text: h("span", { className: "gist" }), state: h("span", { className: "state" }) };
    row.link = h("a", {}, row.text, row.state);
    row.item = h("li", { hidden: true }, row.link);
    row.link.addEventListener("click", () => row.task?.text && remember(row.task.task_id, row.task.text));
    return row;
  });
  byId("activity").replaceChildren(...rows.map((row) => row.item));
}

export function show({ running, ended, tasks }) {
  put(byId("activity-count"), `${running.toLocaleString("en")} running, ${ended.toLocaleString("en")} ended`);
  newest = tasks;
  rows.forEach((row, place) => {
    const task = tasks[place];
    row.item.hidden = !task;
    if (!task) return;
    row.task = task;
    put(row.text, task.text || question(task.task_id) || task.task_id);
    put(row.state, stands(task));
    row.link.href = `#/task/${task.task_id}`;
    row.link.dataset.state = task.status ?? "running";
  });
}

function stands(task) {
  const status = task.status ?? "running";
  if (status !== "running") {
    const took = task.ended - task.at; // of a task whose beginning nobody heard: nothing
    return status.replace("_", " ") + (took > 0.05 ? `, ${took.toFixed(1)} s` : "");
  }
  if (!task.nodes) return "being read";
  return `${task.done ?? 0} of ${task.nodes}${task.working?.length ? ` · ${task.working.join(", ")}` : ""}`;
}

export const count = () => newest.length;
