// Connects to the gateway and shows what arrives. Everything that arrives is text, never markup.

const KEPT = 200;
const LONGEST_PAUSE_MS = 10_000;
// Closes that another attempt would only repeat: bad token, too many connections.
const FINAL_CODES = new Set([1008, 4000]);

const element = (id) => document.getElementById(id);
const sentAt = new Map(); // event id -> when its button was pressed
const waiting = new Map(); // event id -> shown before the answer to the click told us the id
let lastEventId = null;
let attempt = 0;
let received = 0;

function showState(state, detail = "") {
  element("state").dataset.state = state;
  element("state").textContent = detail ? `${state}: ${detail}` : state;
}

async function connect() {
  showState("connecting");
  let session;
  try {
    session = await (await fetch("/session")).json();
  } catch {
    return reconnect("the demo does not answer");
  }
  showButtons(session.events);
  const url = new URL(session.url);
  if (lastEventId) url.searchParams.set("last_event_id", lastEventId);
  const socket = new WebSocket(url, ["huleedu.v1", `huleedu.token.${session.token}`]);
  let pause = null;
  socket.onmessage = ({ data }) => {
    const frame = JSON.parse(data);
    if (frame.event !== "connection_state") return showNotification(frame);
    if (frame.data.state === "authenticated") attempt = 0;
    pause = frame.data.reconnect_after_ms ?? null;
    showState(frame.data.state, frame.data.state === "authenticated" ? session.user : frame.data.reason);
  };
  socket.onclose = ({ code, reason }) => {
    if (FINAL_CODES.has(code)) return showState("error", `${code} ${reason}`);
    reconnect(`closed with ${code}`, pause);
  };
}

function reconnect(why, asked = null) {
  showState("disconnected", `${why}, trying again`);
  const longest = Math.min(250 * 2 ** attempt++, LONGEST_PAUSE_MS);
  setTimeout(connect, asked ?? longest * (0.5 + Math.random() / 2));
}

function showButtons(events) {
  if (element("events").childElementCount) return;
  element("events").append(...events.map((name, number) => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = name.replaceAll("_", " ");
    button.onclick = () => send(number);
    return button;
  }));
  element("all").onclick = () => Promise.all(events.map((_, number) => send(number)));
}

async function send(number) {
  const pressed = performance.now();
  const answer = await fetch(`/events/${number}`, { method: "POST" });
  const id = await answer.text();
  if (!answer.ok) return showState("error", id);
  const shown = waiting.get(id);
  if (shown) {
    waiting.delete(id);
    showLatency(shown.item, shown.at - pressed);
  } else {
    sentAt.set(id, pressed);
  }
}

function showNotification(frame) {
  const at = performance.now();
  if (frame.id) lastEventId = frame.id;
  const item = element("notification").content.cloneNode(true).firstElementChild;
  const text = (selector, value) => { item.querySelector(selector).textContent = value ?? ""; };
  item.dataset.priority = frame.priority ?? "";
  text(".event", frame.event);
  text(".priority", frame.priority);
  text(".category", frame.category?.replaceAll("_", " "));
  text(".message", frame.data?.message);
  text("time", new Date().toLocaleTimeString());
  text("pre", JSON.stringify(frame, null, 2));
  const pressed = sentAt.get(frame.event_id);
  if (pressed === undefined) {
    waiting.set(frame.event_id, { item, at });
  } else {
    sentAt.delete(frame.event_id);
    showLatency(item, at - pressed);
  }
  const list = element("notifications");
  list.prepend(item);
  while (list.childElementCount > KEPT) list.lastElementChild.remove();
  element("count").textContent = ++received;
  element("empty").hidden = true;
}

function showLatency(item, milliseconds) {
  item.querySelector(".latency").textContent = `${Math.round(milliseconds)} ms`;
}

element("clear").onclick = () => {
  element("notifications").replaceChildren();
  element("count").textContent = received = 0;
  element("empty").hidden = false;
};

connect();
