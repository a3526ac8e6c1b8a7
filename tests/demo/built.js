// Generated from page.ts by `npm run page` in ws-gateway/client. Do not edit.

// ws-gateway/client/src/contract.ts
var CATEGORIES = ["batch_progress", "processing_results", "file_operations", "class_management", "student_workflow", "system_alerts"];
var STATE_EVENT = "connection_state";
var SUBPROTOCOL = "huleedu.v1";
var TOKEN_PREFIX = "huleedu.token.";
var STOP_CODES = [1002, 1003, 1007, 1009, 4e3];
var TOKEN_CODES = [1008];

// ws-gateway/client/src/connection.ts
var INITIAL_BACKOFF_MS = 500;
var MAX_BACKOFF_MS = 2e4;
var CONNECT_TIMEOUT_MS = 15e3;
var PONG_TIMEOUT_MS = 5e3;
var STABLE_AFTER_MS = 1e3;
var RENEWAL_FRACTION = 0.2;
var MAX_RENEWAL_LEAD_MS = 6e4;
var MIN_RENEWAL_RETRY_MS = 1e3;
var MAX_TIMER_MS = 2 ** 31 - 1;
var Connection = class {
  #handler;
  #socket;
  /** Incremented by each attempt and close, so that callbacks of earlier sockets are ignored. */
  #generation = 0;
  #failures = 0;
  #tokenReplaced = false;
  #authenticatedAt;
  /** `reconnect_after_ms` of the gateway. */
  #requestedDelay;
  #waiting = false;
  #attemptTimer;
  #pingTimer;
  #pongTimer;
  #renewalTimer;
  constructor(handler) {
    this.#handler = handler;
  }
  /** Connects now; closes the current socket, if any. */
  async open() {
    this.#reset();
    const generation = this.#generation;
    this.#handler.onStatus({ state: "connecting" });
    this.#attemptTimer = setTimeout(() => this.#scheduleRetry(), CONNECT_TIMEOUT_MS);
    try {
      const token = await this.#handler.token();
      if (generation !== this.#generation) return;
      const subprotocols = [SUBPROTOCOL, TOKEN_PREFIX + token];
      const socket = new WebSocket(this.#handler.connectUrl(token), subprotocols);
      socket.onmessage = ({ data }) => {
        if (generation === this.#generation) this.#onMessage(data);
      };
      socket.onclose = ({ code, reason }) => {
        if (generation === this.#generation) this.#onClose(code, reason);
      };
      this.#socket = socket;
    } catch {
      if (generation === this.#generation) this.#scheduleRetry();
    }
  }
  /** Retries now, or pings an open connection: after the network or the tab was suspended. */
  check() {
    if (this.#waiting) void this.open();
    else this.#ping();
  }
  /** Handles the browser's `offline` event: a loopback gateway may still be reachable. */
  checkOffline() {
    if (this.#waiting) this.#scheduleRetry();
    else this.#ping();
  }
  send(message) {
    if (this.#authenticatedAt !== void 0) this.#socket?.send(JSON.stringify(message));
  }
  stop(message, code) {
    this.#reset();
    this.#handler.onStatus({ state: "stopped", message, ...code !== void 0 && { code } });
  }
  #reset() {
    this.#generation += 1;
    const timers = [this.#attemptTimer, this.#pingTimer, this.#pongTimer, this.#renewalTimer];
    for (const timer of timers) clearTimeout(timer);
    this.#pongTimer = this.#requestedDelay = this.#authenticatedAt = void 0;
    this.#waiting = false;
    this.#socket?.close();
    this.#socket = void 0;
  }
  /** Retries after the delay that the gateway requested, else after a random back-off. */
  #scheduleRetry() {
    const requested = this.#requestedDelay;
    this.#reset();
    const backoff = Math.min(INITIAL_BACKOFF_MS * 2 ** this.#failures, MAX_BACKOFF_MS);
    this.#failures += 1;
    const delay = requested ?? Math.random() * backoff;
    this.#waiting = true;
    const offline = globalThis.navigator?.onLine === false;
    this.#handler.onStatus({ state: "waiting", retryAt: Date.now() + delay, offline });
    this.#attemptTimer = setTimeout(() => this.open(), delay);
  }
  #onClose(code, reason) {
    if (this.#authenticatedAt !== void 0 && Date.now() - this.#authenticatedAt >= STABLE_AFTER_MS) {
      this.#failures = 0;
      this.#tokenReplaced = false;
    }
    if (STOP_CODES.includes(code)) return this.stop(closeMessage(reason), code);
    if (!TOKEN_CODES.includes(code)) return this.#scheduleRetry();
    if (this.#tokenReplaced) return this.stop(closeMessage(reason), code);
    this.#tokenReplaced = true;
    void this.open();
  }
  #onMessage(text) {
    clearTimeout(this.#pongTimer);
    this.#pongTimer = void 0;
    let frame;
    try {
      frame = JSON.parse(text);
    } catch {
      return;
    }
    if (frame.event === STATE_EVENT) this.#onState(frame);
    else if (typeof frame.event === "string") this.#handler.onNotification(frame);
  }
  #onState({ data, timestamp }) {
    switch (data.state) {
      case "authenticated":
        this.#onAuthenticated(data);
        return this.#scheduleRenewal(data.token_expires_at, timestamp);
      case "connected":
        return this.#scheduleRenewal(data.token_expires_at, timestamp);
      case "disconnected":
        this.#requestedDelay = data.reconnect_after_ms;
    }
  }
  #onAuthenticated(data) {
    clearTimeout(this.#attemptTimer);
    this.#authenticatedAt ??= Date.now();
    clearInterval(this.#pingTimer);
    this.#pingTimer = setInterval(() => this.#ping(), data.ping_interval_s * 1e3);
    if (data.resume === "none" || data.last_event_id.startsWith("0-")) {
      this.#handler.onStartPosition(data.last_event_id);
    }
    this.#handler.onStatus({ state: "open", connectionId: data.connection_id, resume: data.resume });
    if (data.resume === "incomplete") this.#handler.onIncomplete();
  }
  /** Sends a ping; reconnects unless any frame arrives within the timeout. */
  #ping() {
    if (this.#authenticatedAt === void 0 || this.#pongTimer !== void 0) return;
    this.#pongTimer = setTimeout(() => this.open(), PONG_TIMEOUT_MS);
    this.send({ type: "ping" });
  }
  /** Uses the gateway's clock, as browser clocks are often wrong. */
  #scheduleRenewal(expiresAt, gatewayTime) {
    const lifetime = Date.parse(expiresAt) - Date.parse(gatewayTime);
    const lead = Math.min(lifetime * RENEWAL_FRACTION, MAX_RENEWAL_LEAD_MS);
    this.#setRenewalTimer(lifetime - lead, Date.now() + lifetime);
  }
  #setRenewalTimer(delay, expiry) {
    clearTimeout(this.#renewalTimer);
    this.#renewalTimer = setTimeout(() => this.#renew(expiry), Math.min(delay, MAX_TIMER_MS));
  }
  /** Sends a new token, and schedules a retry that the gateway's confirmation replaces. */
  async #renew(expiry) {
    const generation = this.#generation;
    this.#setRenewalTimer(Math.max((expiry - Date.now()) / 2, MIN_RENEWAL_RETRY_MS), expiry);
    try {
      const token = await this.#handler.token();
      if (generation === this.#generation) this.send({ type: "auth", token });
    } catch {
    }
  }
};
function closeMessage(reason) {
  try {
    return String(JSON.parse(reason).message);
  } catch {
    return reason;
  }
}

// ws-gateway/client/src/resume-state.ts
function tabStorage() {
  try {
    return globalThis.sessionStorage;
  } catch {
    return void 0;
  }
}
var MAX_DELIVERED_IDS = 1024;
var ResumeState = class {
  #storage;
  #url;
  #delivered = /* @__PURE__ */ new Set();
  #key;
  /** The id of the last notification. */
  position;
  /** Without `user`, the user is the subject of the first token. */
  constructor(url, storage, user) {
    this.#url = url;
    this.#storage = storage;
    if (user !== void 0) this.#load(user);
  }
  /** Loads the stored position of the token's subject, once. */
  loadFor(token) {
    if (this.#key === void 0) this.#load(subject(token));
  }
  #load(user) {
    this.#key = `live-notifications ${this.#url} ${user}`;
    try {
      this.position ??= this.#storage?.getItem(this.#key) ?? void 0;
    } catch {
    }
  }
  setPosition(position) {
    this.position = position;
    try {
      if (this.#key !== void 0) this.#storage?.setItem(this.#key, position);
    } catch {
    }
  }
  /** Records the id; returns false if it was recorded before. */
  isFirstDelivery(id) {
    if (this.#delivered.has(id)) return false;
    this.#delivered.add(id);
    if (this.#delivered.size > MAX_DELIVERED_IDS) {
      for (const oldest of this.#delivered) {
        this.#delivered.delete(oldest);
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
var MAX_RECENT = 256;
var Tabs = class {
  #handler;
  #id = String(Math.random());
  #channel;
  #lockRequest = new AbortController();
  #releaseLock;
  /** The latest notifications of this tab, and the position before the first of them. */
  #recent = [];
  #positionBeforeRecent;
  /** Until the leader's answer arrives, which contains them, broadcast notifications are ignored. */
  #catchingUp = true;
  /** Whether this browser and page support a shared connection. */
  static isSupported = () => "BroadcastChannel" in globalThis && globalThis.navigator?.locks !== void 0;
  constructor(name, handler) {
    this.#handler = handler;
    this.#channel = new BroadcastChannel(name);
    this.#channel.onmessage = ({ data }) => this.#onMessage(data);
    this.catchUp();
    const lead = () => new Promise((release) => {
      this.#releaseLock = release;
      this.#catchingUp = false;
      this.#post({ kind: "leader_changed" });
      handler.onLeader();
    });
    navigator.locks.request(name, { signal: this.#lockRequest.signal }, lead).catch(() => {
    });
  }
  get isLeader() {
    return this.#releaseLock !== void 0;
  }
  /** Asks the leader for what this tab missed. */
  catchUp() {
    if (this.isLeader) return;
    this.#catchingUp = true;
    this.#post({ kind: "catch_up", tab: this.#id, position: this.#handler.position });
  }
  /** Broadcasts events of the connection, if this tab owns it; `check` from any tab. */
  broadcast(message) {
    if (this.isLeader || message.kind === "check") this.#post(message);
  }
  /** Keeps a notification for other tabs, with the position before it. */
  remember(notification, previousPosition) {
    if (this.#recent.length === 0) this.#positionBeforeRecent = previousPosition;
    this.#recent.push(notification);
    if (this.#recent.length > MAX_RECENT) this.#positionBeforeRecent = this.#recent.shift()?.id;
  }
  close() {
    this.#lockRequest.abort();
    this.#releaseLock?.();
    this.#releaseLock = void 0;
    this.#channel.close();
  }
  #post(message) {
    this.#channel.postMessage(message);
  }
  #onMessage(message) {
    if (this.isLeader) {
      if (message.kind === "catch_up") {
        this.#post({ kind: "missed", tab: message.tab, ...this.#missedSince(message.position) });
      } else if (message.kind === "check") {
        this.#handler.onCheck();
      }
      return;
    }
    switch (message.kind) {
      case "leader_changed":
        return this.catchUp();
      case "missed":
        if (message.tab === this.#id) this.#onMissed(message);
        return;
      case "notification":
        if (!this.#catchingUp) this.#handler.onNotification(message.notification);
        return;
      case "status":
        return this.#handler.onStatus(message.status);
      case "incomplete":
        this.#handler.onIncomplete();
    }
  }
  #missedSince(position) {
    const { position: newest, status } = this.#handler;
    const index = this.#recent.findIndex(({ id }) => id === position);
    const isKnown = [void 0, newest, this.#positionBeforeRecent].includes(position) || index >= 0;
    const notifications = position === void 0 ? [] : this.#recent.slice(index + 1);
    return { notifications, complete: isKnown, position: newest, status };
  }
  #onMissed({ notifications, complete, position, status }) {
    this.#catchingUp = false;
    this.#handler.onStatus(status);
    if (!complete) this.#handler.onIncomplete();
    for (const notification of notifications) this.#handler.onNotification(notification);
    if (position !== void 0) this.#handler.onStartPosition(position);
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
  #resume;
  #connection;
  #tabs;
  #listeners = /* @__PURE__ */ new Map();
  #closed = new AbortController();
  #categories;
  #status = { state: "connecting" };
  constructor(options) {
    this.#url = new URL(options.url, globalThis.location?.href);
    this.#categories = options.categories ?? [];
    const { storage = tabStorage(), shareAs } = options;
    this.#resume = new ResumeState(this.#url.href, storage ?? void 0, shareAs);
    this.#connection = new Connection({
      token: options.token,
      connectUrl: (token) => this.#connectUrl(token),
      onNotification: (notification) => this.#dispatch(notification),
      onStatus: (status) => this.#setStatus(status),
      onStartPosition: (position) => this.#resume.setPosition(position),
      onIncomplete: () => this.#reportIncomplete()
    });
    if (shareAs !== void 0 && Tabs.isSupported()) {
      this.#tabs = this.#joinTabs(`${this.#url} ${shareAs}`);
    } else void this.#connection.open();
    this.#listenToPage();
  }
  /** The current status. */
  get status() {
    return this.#status;
  }
  on(event, listener) {
    return this.#subscribe(`event ${event}`, listener);
  }
  /** Subscribes to every notification. */
  onAny(listener) {
    return this.#subscribe("any", listener);
  }
  /** Calls the listener with the current status, and with each later one. */
  onStatus(listener) {
    listener(this.#status);
    return this.#subscribe("status", listener);
  }
  /** Subscribes to losses: notifications were missed that history no longer holds; reload. */
  onIncomplete(listener) {
    return this.#subscribe("incomplete", listener);
  }
  /** Replaces the category filter; an empty list selects all. */
  filter(categories) {
    this.#categories = categories;
    if (this.#tabs) return;
    if (this.#status.state === "connecting") void this.#connection.open();
    else this.#connection.send({ type: "filter", categories: [...categories] });
  }
  /** Reconnects now instead of after the back-off; an open connection is only pinged. */
  retry() {
    if (this.#status.state === "stopped") return;
    if (!this.#tabs || this.#tabs.isLeader) this.#connection.check();
    else {
      this.#tabs.broadcast({ kind: "check" });
      this.#tabs.catchUp();
    }
  }
  /** Closes the connection for good, as at sign-out. */
  close() {
    this.#closed.abort();
    this.#tabs?.close();
    this.#connection.stop("closed by the app");
  }
  #connectUrl(token) {
    this.#resume.loadFor(token);
    const url = new URL(this.#url);
    const { position } = this.#resume;
    if (position !== void 0) url.searchParams.set("last_event_id", position);
    if (this.#categories.length > 0 && !this.#tabs) {
      url.searchParams.set("categories", this.#categories.join());
    }
    return url;
  }
  #joinTabs(name) {
    const client = this;
    return new Tabs(`live-notifications ${name}`, {
      get position() {
        return client.#resume.position;
      },
      get status() {
        return client.#status;
      },
      onLeader: () => void this.#connection.open(),
      onCheck: () => this.#connection.check(),
      onNotification: (notification) => this.#dispatch(notification),
      onStatus: (status) => this.#setStatus(status),
      onStartPosition: (position) => this.#resume.setPosition(position),
      onIncomplete: () => this.#reportIncomplete()
    });
  }
  /** Checks the connection whenever the network or the tab may have been suspended. */
  #listenToPage() {
    if (typeof window === "undefined") return;
    const { signal } = this.#closed;
    const retry = () => this.retry();
    const retryIfVisible = () => document.visibilityState === "visible" && retry();
    window.addEventListener("online", retry, { signal });
    window.addEventListener("pageshow", retry, { signal });
    document.addEventListener("visibilitychange", retryIfVisible, { signal });
    window.addEventListener("offline", () => this.#connection.checkOffline(), { signal });
  }
  #dispatch(notification) {
    const { event, id, category } = notification;
    const previousPosition = this.#resume.position;
    const identity = notification.event_id ?? id;
    if (identity === void 0 || this.#resume.isFirstDelivery(identity)) {
      this.#tabs?.remember(notification, previousPosition);
      this.#tabs?.broadcast({ kind: "notification", notification });
      const selected = this.#categories.length === 0 || !category || this.#categories.includes(category);
      if (selected) {
        this.#emit(`event ${event}`, notification);
        this.#emit("any", notification);
      }
    }
    if (id !== void 0) this.#resume.setPosition(id);
  }
  #setStatus(status) {
    this.#status = status;
    this.#tabs?.broadcast({ kind: "status", status });
    this.#emit("status", status);
  }
  #reportIncomplete() {
    this.#tabs?.broadcast({ kind: "incomplete" });
    this.#emit("incomplete", void 0);
  }
  #subscribe(topic, listener) {
    const listeners = this.#listeners.get(topic) ?? /* @__PURE__ */ new Set();
    this.#listeners.set(topic, listeners);
    const wrapped = (value) => listener(value);
    listeners.add(wrapped);
    return () => void listeners.delete(wrapped);
  }
  /** Calls every listener; one that throws does not affect the others. */
  #emit(topic, value) {
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

// tests/demo/labels.ts
var labels = {
  /** `cj_assessment_failed` becomes `CJ assessment failed`. */
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
  /** The message of a notification; some name only their file. */
  message(data) {
    const { message, filename } = data;
    return String(message ?? filename ?? "");
  },
  latency(milliseconds, liveLimit) {
    if (milliseconds <= liveLimit) return `${Math.round(milliseconds)} ms`;
    return `caught up after ${(milliseconds / 1e3).toFixed(1)} s`;
  }
};

// tests/demo/page.ts
var MAX_ITEMS = 500;
var LIVE_LIMIT_MS = 2e3;
var element = (id) => document.getElementById(id);
var list = element("notifications");
var sentAt = /* @__PURE__ */ new Map();
var arrivedEarly = /* @__PURE__ */ new Map();
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
  client.onIncomplete(() => showHint("Notifications were missed: an app would now reload its state."));
  showEvents(events);
  showFilters();
  connectControls(client, events);
  setInterval(() => {
    showStatus(client.status);
    updateCountdowns();
  }, 1e3);
}
function connectControls(client, events) {
  element("retry").onclick = () => client.retry();
  element("all").onclick = () => events.forEach((_, number) => void send(number));
  element("clear").onclick = () => {
    list.replaceChildren();
    received = 0;
    updateCount();
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
  const text = labels.status(status);
  if (state.textContent !== text) state.textContent = text;
  element("wait").textContent = labels.wait(status, Date.now());
  if (status.state === "open") state.dataset.connection = status.connectionId;
}
function showHint(text) {
  const hint = element("hint");
  hint.textContent = text;
  hint.hidden = false;
}
function showEvents(events) {
  if (matchMedia("(max-width: 48rem)").matches) element("choose").removeAttribute("open");
  for (const category of CATEGORIES) {
    const title = document.createElement("h3");
    title.textContent = labels.name(category);
    colour(title, category);
    const buttons = document.createElement("div");
    events.forEach((event, number) => {
      if (event.category === category) buttons.append(button(labels.name(event.name), () => send(number)));
    });
    const group = document.createElement("section");
    group.append(title, buttons);
    element("events").append(group);
  }
}
function showFilters() {
  for (const category of CATEGORIES) {
    const filter = button(labels.name(category), () => {
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
  if (!answer.ok) return showHint(id);
  const shown = arrivedEarly.get(id);
  if (!shown) {
    sentAt.set(id, pressed);
    return;
  }
  arrivedEarly.delete(id);
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
  text(".title", labels.name(event));
  text(".priority", priority);
  item.querySelector(".priority").dataset.priority = priority;
  text(".category", labels.name(category));
  text(".message", labels.message(data));
  text("time", new Date(timestamp).toLocaleTimeString());
  text("pre", JSON.stringify(notification, null, 2));
  if (is(notification, "student_matches_suggested")) {
    item.dataset.deadline = notification.data.confirmation_deadline;
  }
  list.prepend(item);
  while (list.childElementCount > MAX_ITEMS) list.lastElementChild?.remove();
  received += 1;
  updateCount();
  updateCountdowns();
  if (event_id) measureLatency(item, event_id, at);
}
function measureLatency(item, event, at) {
  const pressed = sentAt.get(event);
  if (pressed === void 0) {
    arrivedEarly.set(event, { item, at });
  } else {
    sentAt.delete(event);
    showLatency(item, at - pressed);
  }
}
function showLatency(item, milliseconds) {
  const latency = item.querySelector(".latency");
  latency.textContent = labels.latency(milliseconds, LIVE_LIMIT_MS);
  latency.toggleAttribute("data-late", milliseconds > LIVE_LIMIT_MS);
  latency.title = "from the click to this page";
}
function updateCountdowns() {
  for (const item of list.querySelectorAll("[data-deadline]")) {
    const shown = item.querySelector(".countdown");
    const left = countdown(item.dataset.deadline ?? "");
    shown.textContent = left.over ? "The time to confirm is over" : `${left.text} left to confirm`;
    shown.hidden = false;
  }
}
function updateCount() {
  element("count").textContent = String(received);
  element("empty").hidden = received > 0;
}
void start();
