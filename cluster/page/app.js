// The page: which view is shown, and the two streams that feed all of them.

import * as activity from "./activity.js";
import * as dead from "./dead.js";
import { byId, h, put } from "./dom.js";
import { call, follow } from "./door.js";
import * as task from "./task.js";
import * as team from "./team.js";

const TITLES = { task: "Task", team: "Team", dead: "Dead messages" };
const THEMES = ["system", "light", "dark"];
const page = new AbortController();

// ── Views ────────────────────────────────────────────────────────────────────────────────────────────────────────────

/** `#/`, `#/task/ID`, `#/task/ID/NODE/LINE`, `#/team`, `#/team/ACTOR`, `#/dead`. */
function route() {
  const [, name = "", ...rest] = location.hash.split("/").map(decodeURIComponent);
  const view = ["team", "dead"].includes(name) ? name : "ask";
  if (byId(view).hidden) scrollTo(0, 0);
  for (const section of document.querySelectorAll(".view")) section.hidden = section.id !== view;
  for (const link of document.querySelectorAll("nav a")) {
    if (link.dataset.view === view) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  document.title = [TITLES[name], "Métier"].filter(Boolean).join(" · ");
  team.look(view === "team", rest[0]);
  dead.look(view === "dead");
  if (name === "task") task.open(rest[0], rest[1], rest[2] === undefined ? undefined : Number(rest[2]));
  else if (view === "ask") task.close();
}

// ── Asking ───────────────────────────────────────────────────────────────────────────────────────────────────────────

let asking = false;

async function ask(event) {
  event.preventDefault();
  const text = byId("question").value.trim();
  if (!text) return;
  const home = byId("home").value.trim();
  const time_zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
  const context = { ...(time_zone ? { time_zone } : {}), ...(home ? { home } : {}) };
  put(byId("ask-error"), "");
  if (asking) return; // pressed twice
  asking = true;
  try {
    const { task_id: id } = await call("POST", "v1/tasks", { text, context, deadline_s: Number(byId("deadline").value) || 30 });
    task.asked(id, text);
    location.hash = `#/task/${id}`;
  } catch (problem) {
    put(byId("ask-error"), problem.message);
  } finally {
    asking = false;
  }
}

/** The address names what is shown, so the skip link must leave it alone. */
function skip(event) {
  event.preventDefault();
  byId("view").focus();
}

function keys(event) {
  const writing = /^(INPUT|TEXTAREA)$/.test(event.target.tagName);
  if (event.key === "/" && !writing) {
    event.preventDefault();
    location.hash = "#/";
    byId("question").focus();
  } else if (event.key === "Enter" && event.target.id === "question" && !event.shiftKey && !event.isComposing) {
    event.preventDefault();
    byId("ask-form").requestSubmit();
  }
}

// ── Theme ────────────────────────────────────────────────────────────────────────────────────────────────────────────

function themed() {
  const chosen = document.documentElement.dataset.theme ?? "system";
  put(byId("theme"), `Theme: ${chosen}`);
  return chosen;
}

function turnTheme() {
  const next = THEMES[(THEMES.indexOf(themed()) + 1) % THEMES.length];
  if (next === "system") {
    delete document.documentElement.dataset.theme;
    localStorage.removeItem("theme");
  } else {
    document.documentElement.dataset.theme = next;
    localStorage.setItem("theme", next);
  }
  themed();
}

// ── Streams ──────────────────────────────────────────────────────────────────────────────────────────────────────────

function standing(here) {
  put(byId("away"), here ? "" : "The door does not answer. Trying again.");
}

/** The team as a list of trades, below the box while nothing is asked. */
function introduce(actors) {
  const trades = actors.filter((actor) => actor.role === "specialist" || actor.role === "actor");
  const known = trades.map((actor) => actor.actor).join();
  if (byId("trades").dataset.known === known) return;
  byId("trades").dataset.known = known;
  byId("trades").replaceChildren(...trades.flatMap((actor) => [h("dt", {}, actor.actor), h("dd", {}, actor.about)]));
}

function watch() {
  follow("v1/team/events", (name, found) => {
    if (name === "problem") return put(byId("away"), found.detail);
    standing(true);
    put(byId("team-name"), found.team);
    team.show(found);
    dead.count(found.dead);
    introduce(found.actors);
    task.staffed(new Map(found.actors.map((actor) => [actor.actor, actor.replicas])));
    return false;
  }, page.signal, standing).catch((problem) => put(byId("away"), problem.message));
  follow("v1/activity/events", (name, found) => {
    if (name === "activity") activity.show(found);
    return false;
  }, page.signal).catch((problem) => put(byId("away"), problem.message));
}

activity.prepare();
team.prepare();
dead.prepare();
themed();
byId("theme").addEventListener("click", turnTheme);
byId("ask-form").addEventListener("submit", ask);
document.querySelector(".skip").addEventListener("click", skip);
addEventListener("keydown", keys);
addEventListener("hashchange", route);
addEventListener("pagehide", () => page.abort());
route();
watch();
