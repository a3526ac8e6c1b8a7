// Installs the packed client into new projects of three frameworks: `make frameworks`, or with the
// names of some. Each renders on a server without a connection to the gateway, and shows a
// notification in Chromium. A mock gateway answers long polls. `oldest` is a project with the
// oldest supported versions of all, whose bindings run in Node.js. A framework that needs a newer
// Node.js than this one runs with one from npm's registry.

import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { cpSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { delimiter, dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { Chromium, waitFor } from "./chromium.mjs";

const sources = fileURLToPath(new URL(".", import.meta.url));
const client = join(sources, "..");
const target = fileURLToPath(new URL("../../../target/frameworks", import.meta.url));

/**
 * `create`: the generator. Nuxt's does not load its template from npm's registry.
 * `node`: the oldest Node.js that the framework supports.
 */
const FRAMEWORKS = {
  next: {
    create: [
      "create-next-app@latest", "next", "--yes", "--typescript", "--no-eslint", "--no-tailwind",
      "--app", "--no-src-dir", "--import-alias", "@/*", "--use-npm", "--skip-install",
      "--disable-git",
    ],
    packages: [],
    version: "next",
    node: "20.9",
    serve: ["node_modules/next/dist/bin/next", "start", "--hostname", "127.0.0.1", "--port"],
  },
  sveltekit: {
    create: [
      "sv@latest", "create", "sveltekit", "--template", "minimal", "--types", "ts", "--no-add-ons",
      "--no-install",
    ],
    packages: [],
    version: "@sveltejs/kit",
    node: "20.19",
    serve: ["node_modules/vite/bin/vite.js", "preview", "--host", "127.0.0.1", "--port"],
  },
  nuxt: {
    create: undefined,
    packages: ["nuxt@latest", "vue@latest"],
    version: "nuxt",
    node: "22.19",
    serve: [".output/server/index.mjs"],
  },
};

/** Runs a program, and the scripts that it starts, with a Node.js; returns its output. */
function run({ folder, node = process.execPath }, program, ...args) {
  const PATH = [dirname(node), process.env.PATH].join(delimiter);
  const CI = { CI: "1", NEXT_TELEMETRY_DISABLED: "1", NUXT_TELEMETRY_DISABLED: "1" };
  const stdio = ["ignore", "pipe", "inherit"];
  const options = { cwd: folder, env: { ...process.env, ...CI, PATH }, stdio, encoding: "utf8" };
  try {
    return execFileSync(program, args, options);
  } catch (error) {
    console.error(error.stdout);
    throw error;
  }
}

/** Installs packages; fails if one of them does not support the Node.js. */
function install(context, ...packages) {
  run(context, "npm", "install", "--engine-strict", "--no-audit", "--no-fund", ...packages);
}

/** Returns the program of this Node.js, or of one from npm's registry if this one is older. */
function nodejs(oldest) {
  const { node: version } = process.versions;
  if (version.localeCompare(oldest, "en", { numeric: true }) >= 0) return process.execPath;
  const folder = join(target, `node-${oldest}`);
  mkdirSync(folder, { recursive: true });
  // The script of the package `node` installs the program for this platform.
  const manifest = { private: true, allowScripts: { node: true } };
  writeFileSync(join(folder, "package.json"), JSON.stringify(manifest));
  install({ folder }, `node@^${oldest}`);
  return join(folder, "node_modules/node/bin/node");
}

/** The module that each page imports. */
const live = (port) => `import { connect, Feed, longPoll } from "@huleedu/live-notifications";

const url = "ws://127.0.0.1:${port}/ws";
export const feed = new Feed(connect({ url, token: () => "token", transports: longPoll }));
`;

/** Listens on loopback and counts connections. */
async function listen(handler) {
  const server = createServer(handler);
  server.count = 0;
  server.on("connection", () => (server.count += 1));
  await once(server.listen(0, "127.0.0.1"), "listening");
  return server;
}

/** Creates, installs and builds a project that connects to the port. */
function build(name, node, tarball, port) {
  const { create, packages } = FRAMEWORKS[name];
  const project = join(target, name);
  rmSync(project, { recursive: true, force: true });
  if (create) run({ folder: target, node }, "npx", "--yes", ...create);
  cpSync(join(sources, name), project, { recursive: true });
  writeFileSync(join(project, "live.ts"), live(port));
  install({ folder: project, node }, tarball, ...packages);
  run({ folder: project, node }, "npm", "run", "build");
  return project;
}

/** Starts the server of a built project; returns its process and URL. */
async function serve(name, node, project) {
  const [program, ...args] = FRAMEWORKS[name].serve;
  const free = await listen(() => {});
  const { port } = free.address();
  await new Promise((closed) => free.close(closed));
  const env = { ...process.env, HOST: "127.0.0.1", PORT: String(port) };
  const options = { cwd: project, env, stdio: ["ignore", "ignore", "inherit"] };
  const parameters = args.length > 0 ? [...args, String(port)] : [];
  const server = spawn(node, [program, ...parameters], options);
  return { server, url: `http://127.0.0.1:${port}/` };
}

async function check(name, tarball) {
  let gateway;
  const polls = await listen(async (request, response) => {
    response.setHeader("Access-Control-Allow-Origin", "*");
    response.setHeader("Access-Control-Allow-Headers", "Authorization");
    if (request.method === "OPTIONS") return response.writeHead(204).end();
    const url = `http://${request.headers.host}${request.url}`;
    const answer = await gateway.respond(new Request(url));
    response.writeHead(answer.status, { "Content-Type": "application/json" });
    response.end(await answer.text());
  });
  const node = nodejs(FRAMEWORKS[name].node);
  const project = build(name, node, tarball, polls.address().port);
  const mock = "node_modules/@huleedu/live-notifications/dist/mock.js";
  gateway = new (await import(join(project, mock))).MockGateway();
  const { server, url } = await serve(name, node, project);
  let browser;
  try {
    await waitFor(`${name} serves`, 200, () => fetch(url).then((r) => r.status, () => undefined));
    browser = new Chromium();
    const html = await (await fetch(url)).text();
    if (!/<p id="state">idle/.test(html)) throw new Error(`${name}: not rendered: ${html}`);
    if (polls.count > 0) throw new Error(`${name}: the server connected to the gateway`);
    const page = await browser.open(url);
    const value = (selector) => () =>
      page(`document.querySelector(${JSON.stringify(selector)})?.textContent`);
    await waitFor(`${name} connects`, "open", value("#state"));
    gateway.send("class_created", { data: { class_designation: "9B" } });
    await waitFor(`${name} shows it`, "The class 9B was created", value("li"));
  } finally {
    await browser?.close();
    server.kill();
    polls.closeAllConnections();
    polls.close();
  }
  const manifest = join(project, "node_modules", FRAMEWORKS[name].version, "package.json");
  const { version } = JSON.parse(readFileSync(manifest, "utf8"));
  const runtime = run({ folder: project, node }, "node", "--version").trim();
  console.log(`${name} ${version}, Node.js ${runtime}: passed`);
}

/** The oldest versions that the package's peer dependencies allow. */
const OLDEST = ["react@18.0.0", "svelte@5.0.0", "vue@3.3.0"];
const OLDEST_TOOLS = ["react-dom@18.0.0", "react-test-renderer@18.0.0", "@types/react@18.0.0"];

function checkOldest(tarball) {
  const project = join(target, "oldest");
  rmSync(project, { recursive: true, force: true });
  cpSync(join(sources, "oldest"), project, { recursive: true });
  install({ folder: project }, tarball, ...OLDEST, ...OLDEST_TOOLS, "typescript@5");
  run({ folder: project }, "npx", "tsc");
  run({ folder: project }, "node", "bindings.mjs");
  console.log(`oldest (${OLDEST.join(", ")}): passed`);
}

const all = ["oldest", ...Object.keys(FRAMEWORKS)];
const names = process.argv.slice(2);
const unknown = names.filter((name) => !all.includes(name));
if (unknown.length > 0) {
  console.error(`unknown: ${unknown.join(", ")}; known: ${all.join(", ")}`);
  process.exit(2);
}
mkdirSync(target, { recursive: true });
const packed = run({ folder: client }, "npm", "pack", "--silent", "--pack-destination", target);
const tarball = join(target, packed.trim().split("\n").at(-1));
for (const name of names.length > 0 ? names : all) {
  if (name === "oldest") checkOldest(tarball);
  else await check(name, tarball);
}
