// Dead messages: why nobody could handle them, their bytes, and the way back.

import { age, byId, h, put, say } from "./dom.js";
import { call } from "./door.js";

let visible = false;
let known = -1;
let loading = false;

export function prepare() {
  byId("dead").replaceChildren(
    h("h1", { id: "dead-title" }, "Dead messages"),
    h("p", { className: "small", id: "dead-said" }),
    h("p", { className: "error", id: "dead-error", role: "alert" }),
    h("ol", { id: "graves" }));
}

export async function look(on) {
  visible = on;
  if (on) await load();
}

/** How many there are, by the team's last word. */
export function count(dead) {
  put(byId("dead-count"), dead || "");
  if (visible && dead !== known) load();
}

async function load() {
  if (loading) return;
  loading = true;
  try {
    const { count: all, dead } = await call("GET", "v1/dead");
    known = all;
    put(byId("dead-error"), "");
    put(byId("dead-said"), all ? said(all, dead.length) : "None. What no actor can handle comes here with its reason.");
    const open = new Set([...document.querySelectorAll("#graves > li > details[open]")].map((grave) => grave.dataset.number));
    byId("graves").replaceChildren(...dead.reverse().map((grave) => stone(grave, open.has(String(grave.number)))));
  } catch (problem) {
    put(byId("dead-error"), problem.message);
  } finally {
    loading = false;
  }
}

function said(all, listed) {
  const some = listed < all ? `, the newest ${listed} of them here` : "";
  return `${all.toLocaleString("en")} ${all === 1 ? "message" : "messages"}${some}. Sent again, one goes to where it came from.`;
}

function stone(grave, open) {
  const again = h("button", { type: "button", className: "primary", onclick: () => retry(grave.number, again) }, "Send again");
  const headers = Object.entries(grave.headers).map(([name, value]) => `${name}: ${value}`).join("\n");
  return h("li", {}, h("details", { open, "data-number": grave.number },
    h("summary", {},
      h("span", { className: "figure" }, grave.number), h("span", { className: "name" }, grave.actor),
      h("span", { className: "gist" }, grave.reason), h("span", { className: "figure" }, grave.at ? `${age(grave.at)} ago` : "")),
    h("div", { className: "body" },
      h("p", { className: "small" }, "To ", h("code", {}, grave.subject), `, after ${grave.attempts} ${grave.attempts === 1 ? "attempt" : "attempts"}`),
      h("pre", { tabIndex: 0, role: "group", "aria-label": "Message" }, [headers, grave.payload].filter(Boolean).join("\n\n")),
      again)));
}

async function retry(number, button) {
  button.disabled = true;
  try {
    const { subject } = await call("POST", `v1/dead/${number}/retry`, {});
    say(`Message ${number} was sent again to ${subject}.`);
    await load();
    byId("dead-title").focus();
  } catch (problem) {
    put(byId("dead-error"), problem.message);
    button.disabled = false;
  }
}
