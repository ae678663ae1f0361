// The team's page: how each actor stands, live, and the last minutes of it as a chart (uPlot).

import { age, byId, clock, h, milliseconds, put, usd } from "./dom.js";

const KEPT = 300;
const CHANGES = 50;
const COLUMNS = [
  ["actor", "Actor"], ["replicas", "Replicas"], ["waiting", "Waiting"], ["in_flight", "In flight"], ["rate", "Per s"],
  ["p50_ms", "p50 ms"], ["p99_ms", "p99 ms"], ["failed", "Failed"], ["output_tokens", "Tokens"], ["cost", "Cost"],
  ["large", "On the large model"], ["scaled", "Last scaled"],
];
const ALL = "the whole team";
/** What those do that no team file describes. */
const ROLES = {
  router: "Reads each task and plans who works on it.",
  aggregator: "Joins what was found into one answer.",
  tier: "A large model, for what the specialists cannot do.",
};

const history = new Map();
const times = [];
const rows = new Map();
let before = new Map();
let chosen = ALL;
let chart = null;
let visible = false;
let sorted = null;
let latest = null;

// ── The frame ────────────────────────────────────────────────────────────────────────────────────────────────────────

export function prepare() {
  const head = h("tr", {}, ...COLUMNS.map(([key, name]) => h("th", { scope: "col", className: key },
    h("button", { type: "button", onclick: () => sort(key) }, name))));
  byId("team").replaceChildren(
    h("h1", { id: "team-title" }, "Team"),
    h("div", { className: "top" },
      h("figure", {},
        h("figcaption", { id: "chart-title" }),
        h("div", { id: "chart", role: "img", "aria-labelledby": "chart-title" }),
        h("p", { className: "legend", "aria-hidden": "true" },
          h("span", { className: "waiting" }, "waiting"), h("span", { className: "flight" }, "in flight"),
          h("span", { className: "rate" }, "per second, right"))),
      h("section", { "aria-labelledby": "changes-title" },
        h("h2", { id: "changes-title" }, "What changed"),
        h("div", { className: "changes", role: "log", tabIndex: 0, "aria-labelledby": "changes-title" },
          h("ol", { id: "changes" }, h("li", { className: "none" }, "Nothing since this page is open."))))),
    h("div", { className: "scroll", tabIndex: 0, role: "group", "aria-label": "Actors" },
      h("table", { className: "actors" }, h("thead", {}, head), h("tbody", { id: "actors" }))),
    h("p", { className: "small", id: "spent-since" }));
}

export function look(on, actor) {
  visible = on;
  chosen = actor && history.has(actor) ? actor : ALL;
  if (on && latest) draw();
}

// ── One look a second ────────────────────────────────────────────────────────────────────────────────────────────────

export function show(team) {
  latest = team;
  keep(team);
  changes(team);
  if (visible) draw();
}

function keep(team) {
  times.push(Date.parse(team.at) / 1000);
  const sum = { waiting: 0, in_flight: 0, rate: 0 };
  for (const actor of team.actors) {
    for (const key of Object.keys(sum)) sum[key] += actor[key];
    note(actor.actor, actor);
  }
  note(ALL, sum);
  if (times.length > KEPT) times.shift();
}

function note(name, { waiting, in_flight, rate }) {
  if (!history.has(name)) history.set(name, [[], [], []]);
  history.get(name).forEach((series, place) => {
    while (series.length < times.length - 1) series.push(null);
    series.push([waiting, in_flight, rate][place]);
    if (series.length > KEPT) series.shift();
  });
}

/** Actors that went, came back or were scaled. */
function changes(team) {
  const found = [];
  for (const actor of team.actors) {
    const was = before.get(actor.actor);
    if (was === undefined) continue;
    if (was.replicas && !actor.replicas) found.push(["bad", `${actor.actor} has no replica`]);
    else if (!was.replicas && actor.replicas) found.push(["good", `${actor.actor} is back`]);
    else if (was.replicas === actor.replicas && actor.youngest_s < was.youngest_s) {
      found.push(["good", `${actor.actor}: a replica went, another is there`]);
    } else if (was.replicas !== actor.replicas) found.push(["", `${actor.actor}: ${was.replicas} → ${actor.replicas} replicas`]);
    if (actor.scaled && actor.scaled.at !== was.scaled?.at) {
      found.push(["", `${actor.actor} to have ${actor.scaled.replicas}: ${actor.scaled.why}`]);
    }
  }
  before = new Map(team.actors.map((actor) => [actor.actor, actor]));
  if (found.length) document.querySelector("#changes .none")?.remove();
  for (const [state, text] of found) {
    byId("changes").prepend(h("li", { "data-state": state }, h("time", {}, clock(team.at)), ` ${text}`));
    if (byId("changes").children.length > CHANGES) byId("changes").lastElementChild.remove();
  }
}

// ── Drawing ──────────────────────────────────────────────────────────────────────────────────────────────────────────

function draw() {
  const names = latest.actors.map((actor) => actor.actor);
  if (names.some((name) => !rows.has(name))) lay();
  for (const actor of latest.actors) fill(rows.get(actor.actor), actor);
  const since = latest.spent_since ? `Cost is counted from the usages since ${new Date(latest.spent_since).toLocaleString("en-GB")}.` : "";
  put(byId("spent-since"), since);
  drawChart();
}

function lay() {
  for (const actor of latest.actors) {
    if (rows.has(actor.actor)) continue;
    const cells = Object.fromEntries(COLUMNS.slice(1).map(([key]) => [key, h("td", { className: key })]));
    const link = h("a", { href: `#/team/${actor.actor}` }, actor.actor);
    const head = h("th", { scope: "row" }, link, h("span", { className: "about" }, actor.about || ROLES[actor.role] || actor.role));
    rows.set(actor.actor, { row: h("tr", {}, head, ...Object.values(cells)), cells });
  }
  order();
}

function fill({ row, cells }, actor) {
  row.dataset.state = actor.replicas ? (actor.waiting ? "busy" : "") : actor.least === 0 ? "asleep" : "down";
  const spent = actor.spent;
  put(cells.replicas, actor.replicas ? `${actor.replicas}${actor.most > 1 ? ` of ${actor.most}` : ""}` : actor.least === 0 ? "asleep" : "down");
  put(cells.waiting, actor.waiting.toLocaleString("en"));
  put(cells.in_flight, actor.in_flight);
  put(cells.rate, actor.rate.toFixed(1));
  put(cells.p50_ms, milliseconds(actor.p50_ms));
  put(cells.p99_ms, milliseconds(actor.p99_ms));
  put(cells.failed, actor.failed || "");
  put(cells.output_tokens, actor.output_tokens ? actor.output_tokens.toLocaleString("en") : "");
  put(cells.cost, spent ? usd(spent.usd) : "");
  put(cells.large, spent ? usd(spent.large_model_usd) : "");
  const scaled = actor.scaled;
  put(cells.scaled, scaled ? `${age(scaled.at)} ago, ${scaled.before} → ${scaled.replicas}: ${scaled.why}` : "");
}

function sort(key) {
  sorted = sorted?.key === key ? { key, down: !sorted.down } : { key, down: key !== "actor" };
  for (const header of document.querySelectorAll("#team thead th")) header.removeAttribute("aria-sort");
  document.querySelector(`#team thead .${key}`).setAttribute("aria-sort", sorted.down ? "descending" : "ascending");
  order();
}

function value(actor, key) {
  if (key === "cost") return actor.spent?.usd ?? 0;
  if (key === "large") return actor.spent?.large_model_usd ?? 0;
  if (key === "scaled") return actor.scaled?.at ?? "";
  return actor[key];
}

function order() {
  const actors = [...latest.actors];
  if (sorted) {
    const sign = sorted.down ? -1 : 1;
    actors.sort((one, other) => {
      const [a, b] = [value(one, sorted.key), value(other, sorted.key)];
      return sign * (a < b ? -1 : a > b ? 1 : 0);
    });
  }
  byId("actors").replaceChildren(...actors.map((actor) => rows.get(actor.actor).row));
}

async function drawChart() {
  const [waiting, flight, rate] = history.get(chosen);
  put(byId("chart-title"), `${chosen}: ${waiting.at(-1)} waiting, ${flight.at(-1)} in flight, ${rate.at(-1).toFixed(1)} per second`);
  const data = [times, waiting, flight, rate];
  if (chart) {
    chart.setData(data);
    return;
  }
  chart = { setData() {} };
  const { default: uPlot } = await import("./vendor/uPlot.esm.js");
  chart = make(uPlot, data);
  new ResizeObserver(([entry]) => chart.setSize({ width: entry.contentRect.width, height: 168 })).observe(byId("chart"));
  const anew = () => {
    chart.destroy();
    chart = make(uPlot, [times, ...history.get(chosen)]);
  };
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", anew);
  new MutationObserver(anew).observe(document.documentElement, { attributeFilter: ["data-theme"] });
}

function make(uPlot, data) {
  const place = byId("chart");
  const style = getComputedStyle(place);
  const colour = (name) => {
    const probe = h("i", {});
    probe.style.color = `var(--${name})`;
    place.append(probe);
    const found = getComputedStyle(probe).color;
    probe.remove();
    return found;
  };
  const font = `12px ${style.getPropertyValue("--mono")}`;
  const labels = (self, splits) => splits.map((at) => clock(at * 1000));
  const axis = { stroke: colour("soft"), font, grid: { stroke: colour("line"), width: 1 }, ticks: { show: false } };
  const span = (self, low, high) => [0, Math.max(high, 4)];
  return new uPlot({
    width: place.clientWidth,
    height: 168,
    cursor: { show: false },
    legend: { show: false },
    scales: { y: { range: span }, rate: { range: span } },
    axes: [{ ...axis, grid: { show: false }, space: 90, values: labels }, axis, { ...axis, scale: "rate", side: 1, grid: { show: false } }],
    series: [
      {},
      { stroke: colour("wait"), width: 2, points: { show: false } },
      { stroke: colour("work"), width: 2, points: { show: false } },
      { stroke: colour("soft"), width: 1.5, dash: [5, 4], scale: "rate", points: { show: false } },
    ],
  }, data, place);
}
