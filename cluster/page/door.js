// The HTTP door: requests, and streams that come back by themselves.

import { byId, put } from "./dom.js";

const STORED = "metier-key";

export class Problem extends Error {
  constructor(details) {
    super(details.detail || details.title || "The door does not answer.");
    this.status = details.status;
  }
}

function headers(extra = {}) {
  const key = sessionStorage.getItem(STORED);
  return key ? { ...extra, Authorization: `Bearer ${key}` } : extra;
}

let asking = null;

/** Asks for an API key, once for all requests that wait for one. */
function askForKey() {
  asking ??= new Promise((resolve) => {
    const dialog = byId("key-dialog");
    put(byId("key-error"), sessionStorage.getItem(STORED) ? "This door does not know that key, or it has ended." : "");
    dialog.addEventListener("close", () => {
      sessionStorage.setItem(STORED, byId("key").value.trim());
      byId("key").value = "";
      asking = null;
      resolve();
    }, { once: true });
    dialog.showModal();
  });
  return asking;
}

async function reach(path, options = {}, extra = {}) {
  for (;;) {
    const reply = await fetch(path, { ...options, headers: headers(extra) });
    if (reply.status !== 401) return reply;
    await askForKey();
  }
}

/** A request as JSON. Throws Problem, or TypeError while the door is away. */
export async function call(method, path, body) {
  const sent = body === undefined ? {} : { body: JSON.stringify(body) };
  const reply = await reach(path, { method, ...sent }, body === undefined ? {} : { "Content-Type": "application/json" });
  const found = reply.status === 204 ? null : await reply.json();
  if (!reply.ok) throw new Problem(found);
  return found;
}

/**
 * Follows a stream of server-sent events until `signal` aborts or the stream says that nothing is to come (204).
 * A broken one is taken up where it stopped. `take(name, data)` returns true when it has heard enough.
 */
export async function follow(path, take, signal, standing = () => {}) {
  let last = "";
  let pause = 500;
  while (!signal.aborted) {
    try {
      const reply = await reach(path, { signal, cache: "no-store" }, last ? { "Last-Event-ID": last } : {});
      if (reply.status === 204) return;
      if (!reply.ok) throw new Problem(await reply.json());
      standing(true);
      for await (const event of events(reply.body)) {
        if (event.id) last = event.id;
        pause = 500;
        if (take(event.name, JSON.parse(event.data))) return;
      }
    } catch (error) {
      if (signal.aborted) return;
      if (error instanceof Problem && error.status < 500) throw error;
      standing(false);
    }
    await new Promise((resolve) => setTimeout(resolve, pause));
    pause = Math.min(2 * pause, 5000);
  }
}

/** Events of a body (WHATWG HTML, server-sent events); comments are passed over. */
async function* events(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  try {
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      const blocks = (rest + value).split("\n\n");
      rest = blocks.pop();
      for (const block of blocks) {
        const event = { id: "", name: "message", data: "" };
        for (const line of block.split("\n")) {
          if (line.startsWith("id: ")) event.id = line.slice(4);
          else if (line.startsWith("event: ")) event.name = line.slice(7);
          else if (line.startsWith("data: ")) event.data += line.slice(6);
        }
        if (event.data) yield event;
      }
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}
