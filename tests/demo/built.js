// Built by `npm run page` in ws-gateway/client from page.ts; not by hand.

// ws-gateway/client/src/contract.ts
var CATEGORIES = ["batch_progress", "processing_results", "file_operations", "class_management", "student_workflow", "system_alerts"];
var STATE_EVENT = "connection_state";
var SUBPROTOCOL = "huleedu.v1";
var TOKEN_PREFIX = "huleedu.token.";
var STOP_CODES = [1002, 1003, 1007, 1009, 4e3];
var TOKEN_CODES = [1008];

// ws-gateway/client/src/connection.ts
var FIRST_PAUSE_MS = 500;
var LONGEST_PAUSE_MS = 2e4;
var OPEN_LIMIT_MS = 15e3;
var PULSE_LIMIT_MS = 5e3;
var STEADY_MS = 1e3;
var RENEWAL_SHARE = 0.2;
var EARLIEST_RENEWAL_MS = 6e4;
var RENEWAL_RETRY_MS = 1e3;
var LONGEST_TIMER_MS = 2 ** 31 - 1;
var Connection = class {
  #owner;
  #socket;
  /** Counts attempts and losses, so that whatever belongs to an earlier one is ignored. */
  #turn = 0;
  #failures = 0;
  #newTokenTried = false;
  #openSince;
  #pause;
  #waiting = false;
  #next;
  #pulse;
  #doubt;
  #renewal;
  constructor(owner) {
    this.#owner = owner;
  }
  /** Makes a connection now, whatever there is. */
  async open() {
    this.#drop();
    const turn = this.#turn;
    this.#owner.status({ state: "connecting" });
    this.#next = setTimeout(() => this.#later(), OPEN_LIMIT_MS);
    try {
      const token = await this.#owner.token();
      if (turn !== this.#turn) return;
      const offers = [SUBPROTOCOL, TOKEN_PREFIX + token];
      const socket = new WebSocket(this.#owner.address(token), offers);
      socket.onmessage = ({ data }) => {
        if (turn === this.#turn) this.#hear(data);
      };
      socket.onclose = ({ code, reason }) => {
        if (turn === this.#turn) this.#closed(code, reason);
      };
      this.#socket = socket;
    } catch {
      if (turn === this.#turn) this.#later();
    }
  }
  /** Something happened to the network or the tab: looks at once whether the connection lives. */
  wake() {
    if (this.#waiting) void this.open();
    else this.#ask();
  }
  /** The browser says that it is offline, which need not be so for every address. */
  doubt() {
    if (this.#waiting) this.#later();
    else this.#ask();
  }
  say(message) {
    if (this.#openSince !== void 0) this.#socket?.send(JSON.stringify(message));
  }
  stop(message, code) {
    this.#drop();
    this.#owner.status({ state: "stopped", message, ...code !== void 0 && { code } });
  }
  #drop() {
    this.#turn += 1;
    for (const timer of [this.#next, this.#pulse, this.#doubt, this.#renewal]) clearTimeout(timer);
    this.#doubt = this.#pause = this.#openSince = void 0;
    this.#waiting = false;
    this.#socket?.close();
    this.#socket = void 0;
  }
  /** Tries again after the pause that the gateway named, else after a random one. */
  #later() {
    const pause = this.#pause;
    this.#drop();
    const longest = Math.min(FIRST_PAUSE_MS * 2 ** this.#failures, LONGEST_PAUSE_MS);
    this.#failures += 1;
    const wait = pause ?? Math.random() * longest;
    this.#waiting = true;
    const offline = globalThis.navigator?.onLine === false;
    this.#owner.status({ state: "waiting", retryAt: Date.now() + wait, offline });
    this.#next = setTimeout(() => this.open(), wait);
  }
  #closed(code, reason) {
    if (this.#openSince !== void 0 && Date.now() - this.#openSince >= STEADY_MS) {
      this.#failures = 0;
      this.#newTokenTried = false;
    }
    if (STOP_CODES.includes(code)) return this.stop(readable(reason), code);
    if (!TOKEN_CODES.includes(code)) return this.#later();
    if (this.#newTokenTried) return this.stop(readable(reason), code);
    this.#newTokenTried = true;
    void this.open();
  }
  #hear(text) {
    clearTimeout(this.#doubt);
    this.#doubt = void 0;
    let frame;
    try {
      frame = JSON.parse(text);
    } catch {
      return;
    }
    if (frame.event === STATE_EVENT) this.#state(frame);
    else if (typeof frame.event === "string") this.#owner.notification(frame);
  }
  #state({ data, timestamp }) {
    switch (data.state) {
      case "authenticated":
        this.#authenticated(data);
        return this.#renewBefore(data.token_expires_at, timestamp);
      case "connected":
        return this.#renewBefore(data.token_expires_at, timestamp);
      case "disconnected":
        this.#pause = data.reconnect_after_ms;
    }
  }
  #authenticated(data) {
    clearTimeout(this.#next);
    this.#openSince ??= Date.now();
    clearInterval(this.#pulse);
    this.#pulse = setInterval(() => this.#ask(), data.ping_interval_s * 1e3);
    if (data.resume === "none" || data.last_event_id.startsWith("0-")) {
      this.#owner.startsAt(data.last_event_id);
    }
    this.#owner.status({ state: "open", connectionId: data.connection_id, resume: data.resume });
    if (data.resume === "incomplete") this.#owner.incomplete();
  }
  /** Asks for a sign of life; without one in time the connection is made again. */
  #ask() {
    if (this.#openSince === void 0 || this.#doubt !== void 0) return;
    this.#doubt = setTimeout(() => this.open(), PULSE_LIMIT_MS);
    this.say({ type: "ping" });
  }
  /** Measures in the gateway's time, as clocks of browsers are often wrong. */
  #renewBefore(expiry, now) {
    const left = Date.parse(expiry) - Date.parse(now);
    const early2 = Math.min(left * RENEWAL_SHARE, EARLIEST_RENEWAL_MS);
    this.#renewIn(left - early2, Date.now() + left);
  }
  #renewIn(wait, expiry) {
    clearTimeout(this.#renewal);
    this.#renewal = setTimeout(() => this.#renew(expiry), Math.min(wait, LONGEST_TIMER_MS));
  }
  /** An accepted token brings a frame that plans the next renewal; until then it tries again. */
  async #renew(expiry) {
    const turn = this.#turn;
    this.#renewIn(Math.max((expiry - Date.now()) / 2, RENEWAL_RETRY_MS), expiry);
    try {
      const token = await this.#owner.token();
      if (turn === this.#turn) this.say({ type: "auth", token });
    } catch {
    }
  }
};
function readable(reason) {
  try {
    return String(JSON.parse(reason).message);
  } catch {
    return reason;
  }
}

// ws-gateway/client/src/memory.ts
function tabStorage() {
  try {
    return globalThis.sessionStorage;
  } catch {
    return void 0;
  }
}
var REMEMBERED = 1024;
var Memory = class {
  #store;
  #url;
  #told = /* @__PURE__ */ new Set();
  #key;
  /** The id of the last notification. */
  position;
  /** Of `user`, if that is known; else of the user that the first token is for. */
  constructor(url, store, user) {
    this.#url = url;
    this.#store = store;
    if (user !== void 0) this.#recall(user);
  }
  /** Takes up the position of the user that a token is for. */
  recall(token) {
    if (this.#key === void 0) this.#recall(subject(token));
  }
  #recall(user) {
    this.#key = `live-notifications ${this.#url} ${user}`;
    try {
      this.position ??= this.#store?.getItem(this.#key) ?? void 0;
    } catch {
    }
  }
  moveTo(position) {
    this.position = position;
    try {
      if (this.#key !== void 0) this.#store?.setItem(this.#key, position);
    } catch {
    }
  }
  /** Whether this is told for the first time. */
  isNew(id) {
    if (this.#told.has(id)) return false;
    this.#told.add(id);
    if (this.#told.size > REMEMBERED) {
      for (const oldest of this.#told) {
        this.#told.delete(oldest);
        break;
      }
    }
    return true;
  }
};
function subject(token) {
  try {
    const claims = token.split(".")[1]?.replaceAll("-", "+").replaceAll("_", "/");
    return String(JSON.parse(atob(claims ?? "")).sub);
  } catch {
    return "";
  }
}

// ws-gateway/client/src/tabs.ts
var KEPT = 256;
var Tabs = class {
  #tab;
  #name = String(Math.random());
  #channel;
  #waiting = new AbortController();
  #release;
  /** What was told last in this tab, and the position before it. */
  #recent = [];
  #before;
  /** Until the answer is there, which holds them, notifications are left alone. */
  #asking = true;
  /** Whether this browser, on this page, can share a connection. */
  static canShare = () => "BroadcastChannel" in globalThis && globalThis.navigator?.locks !== void 0;
  constructor(name, tab) {
    this.#tab = tab;
    this.#channel = new BroadcastChannel(name);
    this.#channel.onmessage = ({ data }) => this.#hear(data);
    this.catchUp();
    const lead = () => new Promise((release) => {
      this.#release = release;
      this.#asking = false;
      this.#say({ kind: "lead" });
      tab.lead();
    });
    navigator.locks.request(name, { signal: this.#waiting.signal }, lead).catch(() => {
    });
  }
  get leads() {
    return this.#release !== void 0;
  }
  /** Asks the tab that leads for what this one missed. */
  catchUp() {
    if (this.leads) return;
    this.#asking = true;
    this.#say({ kind: "ask", tab: this.#name, position: this.#tab.position });
  }
  /** Passes on what happened to the connection, if it is this tab's. */
  pass(message) {
    if (this.leads || message.kind === "wake") this.#say(message);
  }
  /** Remembers what was told here, and the position of this tab before it. */
  keep(notification, before) {
    if (this.#recent.length === 0) this.#before = before;
    this.#recent.push(notification);
    if (this.#recent.length > KEPT) this.#before = this.#recent.shift()?.id;
  }
  close() {
    this.#waiting.abort();
    this.#release?.();
    this.#release = void 0;
    this.#channel.close();
  }
  #say(message) {
    this.#channel.postMessage(message);
  }
  #hear(message) {
    if (this.leads) {
      if (message.kind === "ask") {
        this.#say({ kind: "answer", tab: message.tab, ...this.#answer(message.position) });
      } else if (message.kind === "wake") {
        this.#tab.wake();
      }
      return;
    }
    switch (message.kind) {
      case "lead":
        return this.catchUp();
      case "answer":
        if (message.tab === this.#name) this.#catchUpWith(message);
        return;
      case "told":
        if (!this.#asking) this.#tab.notification(message.notification);
        return;
      case "status":
        return this.#tab.setStatus(message.status);
      case "incomplete":
        this.#tab.incomplete();
    }
  }
  #answer(position) {
    const { position: newest, status } = this.#tab;
    const at = this.#recent.findIndex(({ id }) => id === position);
    const complete = position === void 0 || position === newest || position === this.#before || at >= 0;
    const missed = position === void 0 ? [] : this.#recent.slice(at + 1);
    return { missed, complete, position: newest, status };
  }
  #catchUpWith({ missed, complete, position, status }) {
    this.#asking = false;
    this.#tab.setStatus(status);
    if (!complete) this.#tab.incomplete();
    for (const notification of missed) this.#tab.notification(notification);
    if (position !== void 0) this.#tab.startsAt(position);
  }
};

// ws-gateway/client/src/client.ts
function connect(options) {
  return new Client(options);
}
function is(notification, event) {
  return notification.event === event;
}
var Client = class {
  #url;
  #memory;
  #connection;
  #tabs;
  #listeners = /* @__PURE__ */ new Map();
  #ends = new AbortController();
  #categories;
  #status = { state: "connecting" };
  constructor(options) {
    this.#url = new URL(options.url, globalThis.location?.href);
    this.#categories = options.categories ?? [];
    const { storage = tabStorage(), shareAs } = options;
    this.#memory = new Memory(this.#url.href, storage ?? void 0, shareAs);
    this.#connection = new Connection({
      token: options.token,
      address: (token) => this.#address(token),
      notification: (notification) => this.#tell(notification),
      status: (status) => this.#setStatus(status),
      startsAt: (position) => this.#memory.moveTo(position),
      incomplete: () => this.#incomplete()
    });
    if (shareAs !== void 0 && Tabs.canShare()) this.#tabs = this.#share(`${this.#url} ${shareAs}`);
    else void this.#connection.open();
    this.#watchPage();
  }
  /** How things stand now. */
  get status() {
    return this.#status;
  }
  on(event, listener) {
    return this.#listen(`event ${event}`, listener);
  }
  /** Listens to every notification. */
  onAny(listener) {
    return this.#listen("any", listener);
  }
  /** Is told the status now and whenever it changes. */
  onStatus(listener) {
    listener(this.#status);
    return this.#listen("status", listener);
  }
  /** Is told when something was missed that will not come: load the state through the API. */
  onIncomplete(listener) {
    return this.#listen("incomplete", listener);
  }
  /** Receives only these categories from now on; none: all. */
  filter(categories) {
    this.#categories = categories;
    if (this.#tabs) return;
    if (this.#status.state === "connecting") void this.#connection.open();
    else this.#connection.say({ type: "filter", categories: [...categories] });
  }
  /** Tries now instead of waiting; does no harm to a connection that lives. */
  retry() {
    if (this.#status.state === "stopped") return;
    if (!this.#tabs || this.#tabs.leads) this.#connection.wake();
    else {
      this.#tabs.pass({ kind: "wake" });
      this.#tabs.catchUp();
    }
  }
  /** Ends it for good, as when the user signs out. */
  close() {
    this.#ends.abort();
    this.#tabs?.close();
    this.#connection.stop("closed by the app");
  }
  #address(token) {
    this.#memory.recall(token);
    const address = new URL(this.#url);
    const { position } = this.#memory;
    if (position !== void 0) address.searchParams.set("last_event_id", position);
    if (this.#categories.length > 0 && !this.#tabs) {
      address.searchParams.set("categories", this.#categories.join());
    }
    return address;
  }
  #share(name) {
    const client = this;
    return new Tabs(`live-notifications ${name}`, {
      get position() {
        return client.#memory.position;
      },
      get status() {
        return client.#status;
      },
      lead: () => void this.#connection.open(),
      wake: () => this.#connection.wake(),
      notification: (notification) => this.#tell(notification),
      setStatus: (status) => this.#setStatus(status),
      startsAt: (position) => this.#memory.moveTo(position),
      incomplete: () => this.#incomplete()
    });
  }
  /** Looks after the connection whenever the network or the tab may have been away. */
  #watchPage() {
    if (typeof window === "undefined") return;
    const { signal } = this.#ends;
    const wake = () => this.retry();
    const seen = () => document.visibilityState === "visible" && wake();
    window.addEventListener("online", wake, { signal });
    window.addEventListener("pageshow", wake, { signal });
    document.addEventListener("visibilitychange", seen, { signal });
    window.addEventListener("offline", () => this.#connection.doubt(), { signal });
  }
  #tell(notification) {
    const { event, id, category } = notification;
    const before = this.#memory.position;
    const name = notification.event_id ?? id;
    if (name === void 0 || this.#memory.isNew(name)) {
      this.#tabs?.keep(notification, before);
      this.#tabs?.pass({ kind: "told", notification });
      const wanted = this.#categories.length === 0 || !category || this.#categories.includes(category);
      if (wanted) {
        this.#call(`event ${event}`, notification);
        this.#call("any", notification);
      }
    }
    if (id !== void 0) this.#memory.moveTo(id);
  }
  #setStatus(status) {
    this.#status = status;
    this.#tabs?.pass({ kind: "status", status });
    this.#call("status", status);
  }
  #incomplete() {
    this.#tabs?.pass({ kind: "incomplete" });
    this.#call("incomplete", void 0);
  }
  #listen(topic, listener) {
    const listeners = this.#listeners.get(topic) ?? /* @__PURE__ */ new Set();
    this.#listeners.set(topic, listeners);
    const own = (value) => listener(value);
    listeners.add(own);
    return () => void listeners.delete(own);
  }
  /** A listener that fails must not keep others from hearing. */
  #call(topic, value) {
    for (const listener of this.#listeners.get(topic) ?? []) {
      try {
        listener(value);
      } catch (error) {
        globalThis.reportError?.(error);
      }
    }
  }
};

// ws-gateway/client/src/countdown.ts
function countdown(deadline, now = Date.now()) {
  const left = Math.max(0, Math.ceil((Date.parse(deadline) - now) / 1e3) || 0);
  const hours = Math.floor(left / 3600);
  const minutes = Math.floor(left / 60) % 60;
  const seconds = left % 60;
  const text = [hours, minutes, seconds].map((part) => String(part).padStart(2, "0")).join(":");
  return { over: left === 0, hours, minutes, seconds, text };
}

// tests/demo/words.ts
var words = {
  /** `cj_assessment_failed` as people read it. */
  name(name) {
    const text = name.replaceAll("_", " ");
    const capital = text.charAt(0).toUpperCase() + text.slice(1);
    return capital.replace(/^Cj /, "CJ ");
  },
  status(status) {
    switch (status.state) {
      case "connecting":
        return "Connecting";
      case "open":
        return status.resume === "complete" ? "Live, nothing missed" : "Live";
      case "waiting":
        return `${status.offline ? "Offline" : "Disconnected"}, trying again`;
      case "stopped":
        return status.message ? `Stopped: ${status.message}` : "Stopped";
    }
  },
  wait(status, now) {
    if (status.state !== "waiting") return "";
    return `in ${Math.max(0, Math.ceil((status.retryAt - now) / 1e3))} s`;
  },
  /** What a notification says to people; some say only which file they are about. */
  message(data) {
    const { message, filename } = data;
    return String(message ?? filename ?? "");
  },
  latency(milliseconds, late) {
    if (milliseconds <= late) return `${Math.round(milliseconds)} ms`;
    return `caught up after ${(milliseconds / 1e3).toFixed(1)} s`;
  }
};

// tests/demo/page.ts
var KEPT2 = 500;
var LATE_MS = 2e3;
var element = (id) => document.getElementById(id);
var list = element("notifications");
var sentAt = /* @__PURE__ */ new Map();
var early = /* @__PURE__ */ new Map();
var hidden = /* @__PURE__ */ new Set();
var received = 0;
async function session() {
  return (await fetch("/session")).json();
}
async function start() {
  const { url, user, events } = await session();
  const token = async () => (await session()).token;
  const client = connect({ url, token, shareAs: user });
  client.onStatus(showStatus);
  client.onAny(show);
  client.onIncomplete(() => note("Something was missed: an app would load its state again now."));
  showEvents(events);
  showFilters();
  wire(client, events);
  setInterval(() => {
    showStatus(client.status);
    countDown();
  }, 1e3);
}
function wire(client, events) {
  element("retry").onclick = () => client.retry();
  element("all").onclick = () => events.forEach((_, number) => void send(number));
  element("clear").onclick = () => {
    list.replaceChildren();
    received = 0;
    count();
  };
  const toggle = element("switch");
  toggle.onclick = async () => {
    const cut = toggle.ariaChecked === "true";
    await fetch(cut ? "/network/cut" : "/network/mend", { method: "POST" });
    toggle.ariaChecked = String(!cut);
    element("hint").hidden = !cut;
    client.retry();
  };
}
function showStatus(status) {
  const state = element("state");
  state.dataset.state = status.state;
  element("retry").hidden = status.state !== "waiting";
  const text = words.status(status);
  if (state.textContent !== text) state.textContent = text;
  element("wait").textContent = words.wait(status, Date.now());
  if (status.state === "open") state.dataset.connection = status.connectionId;
}
function note(text) {
  const hint = element("hint");
  hint.textContent = text;
  hint.hidden = false;
}
function showEvents(events) {
  if (matchMedia("(max-width: 48rem)").matches) element("choose").removeAttribute("open");
  for (const category of CATEGORIES) {
    const title = document.createElement("h3");
    title.textContent = words.name(category);
    colour(title, category);
    const buttons = document.createElement("div");
    events.forEach((event, number) => {
      if (event.category === category) buttons.append(button(words.name(event.name), () => send(number)));
    });
    const group = document.createElement("section");
    group.append(title, buttons);
    element("events").append(group);
  }
}
function showFilters() {
  for (const category of CATEGORIES) {
    const filter = button(words.name(category), () => {
      if (!hidden.delete(category)) hidden.add(category);
      filter.ariaPressed = String(!hidden.has(category));
      for (const item of list.querySelectorAll(`[data-category="${category}"]`)) {
        item.hidden = hidden.has(category);
      }
    });
    filter.ariaPressed = "true";
    colour(filter, category);
    element("filters").append(filter);
  }
}
function button(text, press) {
  const button2 = document.createElement("button");
  button2.type = "button";
  button2.textContent = text;
  button2.onclick = press;
  return button2;
}
function colour(element2, category) {
  element2.style.setProperty("--of", `var(--${category})`);
}
async function send(number) {
  const pressed = performance.now();
  const answer = await fetch(`/events/${number}`, { method: "POST" });
  const id = await answer.text();
  if (!answer.ok) return note(id);
  const shown = early.get(id);
  if (!shown) {
    sentAt.set(id, pressed);
    return;
  }
  early.delete(id);
  showLatency(shown.item, shown.at - pressed);
}
function show(notification) {
  const at = performance.now();
  const template = element("notification");
  const item = template.content.cloneNode(true).firstElementChild;
  const text = (selector, value) => {
    item.querySelector(selector).textContent = value;
  };
  const { event, category, priority, event_id, data, timestamp } = notification;
  item.dataset.category = category;
  item.dataset.eventId = event_id ?? "";
  item.hidden = hidden.has(category);
  colour(item, category);
  text(".title", words.name(event));
  text(".priority", priority);
  item.querySelector(".priority").dataset.priority = priority;
  text(".category", words.name(category));
  text(".message", words.message(data));
  text("time", new Date(timestamp).toLocaleTimeString());
  text("pre", JSON.stringify(notification, null, 2));
  if (is(notification, "student_matches_suggested")) {
    item.dataset.deadline = notification.data.confirmation_deadline;
  }
  list.prepend(item);
  while (list.childElementCount > KEPT2) list.lastElementChild?.remove();
  received += 1;
  count();
  countDown();
  if (event_id) measure(item, event_id, at);
}
function measure(item, event, at) {
  const pressed = sentAt.get(event);
  if (pressed === void 0) {
    early.set(event, { item, at });
  } else {
    sentAt.delete(event);
    showLatency(item, at - pressed);
  }
}
function showLatency(item, milliseconds) {
  const latency = item.querySelector(".latency");
  latency.textContent = words.latency(milliseconds, LATE_MS);
  latency.toggleAttribute("data-late", milliseconds > LATE_MS);
  latency.title = "from the click to this page";
}
function countDown() {
  for (const item of list.querySelectorAll("[data-deadline]")) {
    const shown = item.querySelector(".countdown");
    const left = countdown(item.dataset.deadline ?? "");
    shown.textContent = left.over ? "The time to confirm is over" : `${left.text} left to confirm`;
    shown.hidden = false;
  }
}
function count() {
  element("count").textContent = String(received);
  element("empty").hidden = received > 0;
}
void start();
