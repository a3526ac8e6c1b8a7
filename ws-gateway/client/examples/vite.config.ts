// Serves both examples with the mock gateway: `npm run example`. With the address that a running
// `make demo` printed, requests are proxied to it: `DEMO=http://127.0.0.1:PORT npm run example`.

import { fileURLToPath } from "node:url";
import { svelte } from "@sveltejs/vite-plugin-svelte";
import { defineConfig, type ProxyOptions, type UserConfig } from "vite";

const resolvePath = (path: string) => fileURLToPath(new URL(path, import.meta.url));
const name = "@huleedu/live-notifications";

/** Sets the demo's own origin, the only one that it accepts. */
async function proxy(demo: string): Promise<Record<string, ProxyOptions>> {
  const { url } = await (await fetch(`${demo}/session`)).json();
  const headers = { origin: demo };
  return {
    "/session": { target: demo },
    "/events": { target: demo, headers },
    "/ws": { target: new URL(url).origin, ws: true, headers },
  };
}

export default defineConfig(async ({ command, mode }): Promise<UserConfig> => {
  const demo = process.env["DEMO"];
  return {
    root: resolvePath("."),
    mode: command === "serve" && !demo ? "mock" : mode,
    plugins: [svelte({ configFile: false })],
    esbuild: { jsx: "automatic" },
    resolve: {
      // Longest first: an alias also matches as a prefix.
      alias: {
        [`${name}/mock`]: resolvePath("../src/mock.ts"),
        [`${name}/react`]: resolvePath("../src/react.ts"),
        [`${name}/svelte`]: resolvePath("../src/svelte.ts"),
        [name]: resolvePath("../src/index.ts"),
      },
    },
    server: demo ? { open: "/react/", proxy: await proxy(demo) } : {},
    build: {
      rollupOptions: { input: [resolvePath("react/index.html"), resolvePath("svelte/index.html")] },
    },
  };
});
