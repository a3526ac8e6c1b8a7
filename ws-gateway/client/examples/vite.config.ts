// Both examples. `DEMO=http://127.0.0.1:PORT npm run example` serves them beside a running
// `make demo`, which prints that address, and passes on what they ask of it.

import { fileURLToPath } from "node:url";
import { svelte } from "@sveltejs/vite-plugin-svelte";
import { defineConfig, type ProxyOptions, type UserConfig } from "vite";

const here = (path: string) => fileURLToPath(new URL(path, import.meta.url));
const name = "@huleedu/live-notifications";

/** As the demo serves its own page alone, what passes looks as if it came from there. */
async function proxy(demo: string): Promise<Record<string, ProxyOptions>> {
  const { url } = await (await fetch(`${demo}/session`)).json();
  const headers = { origin: demo };
  return {
    "/session": { target: demo },
    "/events": { target: demo, headers },
    "/ws": { target: new URL(url).origin, ws: true, headers },
  };
}

export default defineConfig(async (): Promise<UserConfig> => {
  const demo = process.env["DEMO"];
  return {
    root: here("."),
    plugins: [svelte({ configFile: false })],
    esbuild: { jsx: "automatic" },
    resolve: {
      // The longer names first, as each also matches what only begins with it.
      alias: {
        [`${name}/react`]: here("../src/react.ts"),
        [`${name}/svelte`]: here("../src/svelte.ts"),
        [name]: here("../src/index.ts"),
      },
    },
    server: demo ? { open: "/react/", proxy: await proxy(demo) } : {},
    build: { rollupOptions: { input: [here("react/index.html"), here("svelte/index.html")] } },
  };
});
